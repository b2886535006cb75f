"""From program text to eBPF instructions, by BCC, without kernel headers, in a process of its own.

BCC compiles with the kernel's headers because programs usually name kernel structs. Ours do not: offsets come from
BTF. So BCC is shown a stub tree of a dozen tiny files in place of the kernel's source (BCC_KERNEL_SOURCE), enough for
its own helper header to compile. Only the instructions are taken from it (as an `image.Image`); loading and attaching
is done in `attach`.

The compiler runs in a child (``python -m tracer.kernel.compile``, text in, image out): BCC changes the working
directory of its process and clang writes to descriptor 2, neither of which a program with threads and a screen can
have, and LLVM keeps 110 MB afterwards.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

import tracer
from tracer.kernel.bcc_import import BccMissing, import_bcc
from tracer.kernel.image import Image

STUB: Final = "include"
VARIABLE: Final = "BCC_KERNEL_SOURCE"
_MISSING: Final = 3
"""Exit status of the child: there is no BCC."""
_PATIENCE: Final = 300
"""Seconds; usually one, but a minute where the machine itself is emulated."""


class CompileError(Exception):
    """BCC refused the text; the message holds the compiler's own words."""


def compile_text(text: str, flags: tuple[str, ...] = ()) -> Image:
    """Compile one C text. Raises `CompileError`, or `BccMissing` when BCC is not there."""
    with as_file(files("tracer.kernel") / STUB) as folder:
        home = str(Path(tracer.__file__).parent.parent)
        path = os.pathsep.join(part for part in (home, os.environ.get("PYTHONPATH", "")) if part)
        command = [sys.executable, "-P", "-m", __spec__.name, *flags]
        environment = os.environ | {VARIABLE: str(folder), "PYTHONPATH": path}
        try:
            done = subprocess.run(
                command, input=text.encode(), capture_output=True, env=environment, timeout=_PATIENCE, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise CompileError(f"the compiler did not end within {_PATIENCE} seconds") from error
    words = done.stderr.decode(errors="replace").strip()
    if done.returncode == _MISSING:
        raise BccMissing(words)
    if done.returncode:
        raise CompileError(words or f"the compiler ended with status {done.returncode}")
    return Image.from_json(done.stdout)


def _compile(text: bytes, flags: list[str]) -> Image:
    bcc = import_bcc()

    class Quiet(bcc.BPF):  # type: ignore[misc, name-defined]
        def _trace_autoload(self) -> None:
            """BCC would attach everything called raw_tracepoint__* by itself."""

    bpf = Quiet(text=text, cflags=["-Wno-everything", *flags])
    lib, module = bcc.lib, bpf.module
    # BCC's Python never asks these, hence has not told ctypes what they take
    arguments: dict[str, tuple[list[Any], Any]] = {
        "bpf_num_tables": ([ctypes.c_void_p], ctypes.c_size_t),
        "bpf_table_name": ([ctypes.c_void_p, ctypes.c_size_t], ctypes.c_char_p),
        "bpf_table_fd_id": ([ctypes.c_void_p, ctypes.c_size_t], ctypes.c_int),
    }
    for name, (takes, gives) in arguments.items():
        function = getattr(lib, name)
        function.argtypes, function.restype = takes, gives
    names = [lib.bpf_function_name(module, i).decode() for i in range(lib.bpf_num_functions(module))]
    programs = {name: bytes(bpf.dump_func(name.encode())) for name in names}
    maps = range(lib.bpf_num_tables(module))
    return Image.of(programs, {lib.bpf_table_name(module, i).decode(): lib.bpf_table_fd_id(module, i) for i in maps})


def main() -> int:
    """The child: C text on standard input, the image as JSON on standard output, complaints on standard error."""
    try:
        image = _compile(sys.stdin.buffer.read(), sys.argv[1:])
    except BccMissing as error:
        print(error, file=sys.stderr)
        return _MISSING
    except Exception as error:  # BCC raises plain Exception; clang has written its words already
        print(error, file=sys.stderr)
        return 1
    sys.stdout.write(image.to_json())
    sys.stdout.flush()
    # BCC's and LLVM's ends take a while and have nothing to say
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
