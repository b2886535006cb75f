"""From program text to eBPF instructions, by BCC, without kernel headers.

BCC compiles with the kernel's headers because programs usually name kernel structs. Ours do not: offsets come from
BTF. So BCC is shown a stub tree of a dozen tiny files in place of the kernel's source (BCC_KERNEL_SOURCE), enough for
its own helper header to compile. Only the instructions are taken from it (as an `image.Image`); loading and attaching
is done in `attach`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import tempfile
from collections.abc import Iterator
from importlib.resources import as_file, files
from typing import Any, Final

from tracer.kernel.bcc_import import import_bcc
from tracer.kernel.image import Image

STUB: Final = "include"
VARIABLE: Final = "BCC_KERNEL_SOURCE"


class CompileError(Exception):
    """BCC refused the text; the message holds the compiler's own words."""


def compile_text(text: str, flags: tuple[str, ...] = ()) -> Image:
    """Compile one C text. Raises `CompileError`, or `BccMissing` when BCC is not there."""
    bcc = import_bcc()

    class Quiet(bcc.BPF):  # type: ignore[misc, name-defined]
        def _trace_autoload(self) -> None:
            """BCC would attach everything called raw_tracepoint__* by itself."""

    with as_file(files("tracer.kernel") / STUB) as folder, _environment(VARIABLE, str(folder)):
        with _stderr_to_text() as complaint:
            try:
                return _image(bcc.lib, Quiet(text=text.encode(), cflags=["-Wno-everything", *flags]))
            except Exception as error:  # BCC raises plain Exception
                failure = str(error)
        raise CompileError(f"{failure}\n{complaint()}".strip())


def _image(lib: Any, bpf: Any) -> Image:
    """All programs and maps of a compiled BPF object; the object and its own maps are let go."""
    # BCC's Python never asks these two, hence has not told ctypes what they take
    lib.bpf_num_tables.argtypes, lib.bpf_num_tables.restype = [ctypes.c_void_p], ctypes.c_size_t
    lib.bpf_table_name.argtypes, lib.bpf_table_name.restype = [ctypes.c_void_p, ctypes.c_size_t], ctypes.c_char_p
    lib.bpf_table_fd_id.argtypes, lib.bpf_table_fd_id.restype = [ctypes.c_void_p, ctypes.c_size_t], ctypes.c_int
    try:
        names = [lib.bpf_function_name(bpf.module, i).decode() for i in range(lib.bpf_num_functions(bpf.module))]
        programs = {name: bytes(bpf.dump_func(name.encode())) for name in names}
        maps = range(lib.bpf_num_tables(bpf.module))
        descriptors = {lib.bpf_table_name(bpf.module, i).decode(): lib.bpf_table_fd_id(bpf.module, i) for i in maps}
        return Image.of(programs, descriptors)
    finally:
        bpf.cleanup()


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
