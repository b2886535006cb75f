"""From program text to eBPF instructions, by BCC, without kernel headers.

BCC compiles with the kernel's headers because programs usually name kernel structs. Ours do not: offsets come from
BTF. So BCC is shown a stub tree of a dozen tiny files in place of the kernel's source (BCC_KERNEL_SOURCE), enough for
its own helper header to compile. Only the instructions are taken from it; loading and attaching is done in `attach`.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from importlib.resources import as_file, files
from typing import Any, Final

from tracer.kernel.bcc_import import import_bcc

STUB: Final = "include"
VARIABLE: Final = "BCC_KERNEL_SOURCE"


class CompileError(Exception):
    """BCC refused the text; the message holds the compiler's own words."""


class Module:
    """A compiled text: its programs as instructions, its maps as file descriptors. `close` frees both."""

    def __init__(self, bpf: Any) -> None:
        self._bpf = bpf

    def program(self, name: str) -> bytes:
        """Instructions of a program, with map descriptors already in place. Raises KeyError."""
        try:
            return bytes(self._bpf.dump_func(name.encode()))
        except Exception as error:  # BCC raises plain Exception
            raise KeyError(name) from error

    def table(self, name: str) -> Any:
        """BCC's own view of a map."""
        return self._bpf[name.encode()]

    def map_fd(self, name: str) -> int:
        """File descriptor of a map."""
        return int(self.table(name).map_fd)

    def close(self) -> None:
        """Forget the module: its maps go when nothing else holds them."""
        if self._bpf is not None:
            self._bpf.cleanup()
            self._bpf = None


def compile_text(text: str, flags: tuple[str, ...] = ()) -> Module:
    """Compile one C text. Raises `CompileError`, or `BccMissing` when BCC is not there."""
    bcc = import_bcc()

    class Quiet(bcc.BPF):  # type: ignore[misc, name-defined]
        def _trace_autoload(self) -> None:
            """BCC would attach everything called raw_tracepoint__* by itself."""

    with as_file(files("tracer.kernel") / STUB) as folder, _environment(VARIABLE, str(folder)):
        with _stderr_to_text() as complaint:
            try:
                return Module(Quiet(text=text.encode(), cflags=["-Wno-everything", *flags]))
            except Exception as error:  # BCC raises plain Exception
                failure = str(error)
        raise CompileError(f"{failure}\n{complaint()}".strip())


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextlib.contextmanager
def _stderr_to_text() -> Iterator[Any]:
    """Catch what clang writes to descriptor 2: a screen program owns the terminal. Yields a reader of the text."""
    with tempfile.TemporaryFile() as catcher:
        kept = os.dup(2)
        os.dup2(catcher.fileno(), 2)

        def read() -> str:
            catcher.seek(0)
            return catcher.read().decode(errors="replace")

        text = ""
        try:
            yield lambda: text
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            text = read()
