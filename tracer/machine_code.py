"""Plain Python functions over integers and arrays as machine code: compiled once on a machine, then loaded from disk.

numba compiles the functions as they stand: each is copied with globals in which the functions it calls are compiled
ones. One thing is not as in Python: an index below zero does not count from the end, so none may be used. What comes
out is optimised once more as a whole (numba compiles each function for itself, and passes a table of seven arrays as
forty-nine numbers) and kept: as a shared library where a linker is there (``ld``), which the system loads in less
than a millisecond, and as an object file, for which llvmlite is needed (a tenth of numba's time and memory). So numba
is imported by whoever compiles (``machine_compiler``), and by nobody else.

The first compilation on a machine takes some seconds. Nobody needs to wait for it: ``aside`` has a child process do it
while the plain functions go on. Where no cache directory can be written, a temporary one serves for this run.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import importlib
import importlib.util
import os
import sys
import threading
import types
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import subprocess

_FORM: Final = 3
"""Goes up when the same functions are compiled in another way than before."""
_FINE: Final = (0, -2)
"""What a function compiled by numba returns when nothing was raised: a value, or None."""
SIZE: Final = 4
"""Bytes of the length in front of what is kept: an object file, then the shared library or nothing."""
_TELLING: Final = (b"vendor_id", b"cpu family", b"model", b"flags", b"CPU implementer", b"CPU part", b"Features")
"""Lines of /proc/cpuinfo that say what a processor can do, and do not change while it runs."""
CACHE: Final = "NUMBA_CACHE_DIR"
"""Environment variable that names the directory to keep compiled code in; without it __pycache__, or ~/.cache/synfin"""
BESIDE: Final = Path(__file__).parent / "__pycache__"

Functions = Sequence[tuple[types.ModuleType, Sequence[str]]]
"""Modules and the names of functions in them, each after those it calls."""


class Group(NamedTuple):
    """An argument that is a NamedTuple of arrays."""

    kind: Callable[..., Any]
    dtypes: tuple[Any, ...]


class Entry(NamedTuple):
    """A function to be called from outside."""

    arguments: tuple[Any, ...]
    """``int``, a numpy dtype (a one-dimensional contiguous array of that), or a Group."""
    results: int = 0
    """How many integers it returns: none, one, or a tuple."""


class MachineCode:
    """Functions in compiled form.

    ``name`` is that of the module which holds this object as ``CODE``; ``values`` are globals that the compiled form
    has in another way than the plain one.
    """

    def __init__(
        self, name: str, functions: Functions, entries: Mapping[str, Entry], values: Mapping[str, Any] | None = None
    ) -> None:
        self._name, self._functions, self._entries, self._values = name, functions, entries, dict(values or {})
        self._loaded: dict[str, Callable[..., Any]] | None = None
        self._engine: object = None
        """Owns code that llvmlite has loaded."""

    def load(self) -> Mapping[str, Callable[..., Any]] | None:
        """The entries by name, from disk; None where they are not there (yet)."""
        if self._loaded is None:
            for folder in _folders():
                code = _read(folder / self._file)
                if code is not None:
                    self._link(code)
                    break
        return self._loaded

    def compile(self) -> Mapping[str, Callable[..., Any]] | None:
        """The entries by name, compiled now if need be; None where numba is not installed or does not work here."""
        if self.load() is None:
            try:
                from tracer.machine_compiler import made  # late: for once on a machine

                code = made(self._functions, self._entries, self._values)
            except Exception:  # an installed numba may still fail to import, for instance beside a newer numpy
                return None
            self._write(code)
            self._link(code)
        return self._loaded

    def aside(self) -> subprocess.Popen[bytes] | None:
        """Start to compile in a child process, whose end says whether ``load`` will now succeed; None without numba.

        The child is left to finish if we end first: some seconds, once, for the sake of all later runs.
        """
        if importlib.util.find_spec("numba") is None:
            return None
        import subprocess  # late, as tempfile: seldom needed, and a start-up is counted in hundredths of a second

        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
        if not any(os.access(folder, os.W_OK) for folder in _folders() if _made_sure(folder)):
            environment[CACHE] = str(_temporary())
        quiet = subprocess.DEVNULL
        command = [sys.executable, "-m", __name__, self._name]
        return subprocess.Popen(command, env=environment, stdin=quiet, stdout=quiet, stderr=quiet)

    @functools.cached_property
    def _file(self) -> str:
        """Name of the file: it tells all that the code depends on."""
        if importlib.util.find_spec("llvmlite") is None:
            return "none"
        llvmlite: Any = importlib.import_module("llvmlite")  # its version; what takes its time is ``llvmlite.binding``
        parts: list[object] = [_FORM, sys.version, llvmlite.__version__, np.__version__, sorted(self._values)]
        parts += [_processor()]
        parts += [(name, _spelled(entry.arguments), entry.results) for name, entry in self._entries.items()]
        for module, names in self._functions:
            parts += [(name, value) for name, value in vars(module).items() if isinstance(value, (int, tuple))]
            parts += [(c.co_code, c.co_consts, c.co_names) for c in (vars(module)[name].__code__ for name in names)]
        return f"{self._prefix}{zlib.crc32(repr(parts).encode()):08x}.o"

    @property
    def _prefix(self) -> str:
        return f"{self._name}.{sys.implementation.cache_tag}-"

    def _write(self, code: bytes) -> None:
        """Keep it in the first directory that can be written."""
        import tempfile

        for folder in [*filter(_made_sure, _folders()), None]:
            with contextlib.suppress(OSError):
                target = (folder or _temporary()) / self._file
                handle, name = tempfile.mkstemp(dir=target.parent)
                with os.fdopen(handle, "wb") as file:
                    file.write(zlib.crc32(code).to_bytes(4, "little") + code)
                Path(name).replace(target)
                for old in target.parent.glob(f"{self._prefix}*.o"):
                    if old != target:
                        old.unlink(missing_ok=True)
                return

    def _link(self, code: bytes) -> None:
        """Make the code callable."""
        size = int.from_bytes(code[:SIZE], "little")
        addresses = _opened(code[SIZE + size :], self._entries)
        if addresses is None:
            from tracer.machine_compiler import placed

            addresses, self._engine = placed(code[SIZE : SIZE + size], self._entries)
        self._loaded = {name: _caller(addresses[name], entry) for name, entry in self._entries.items()}


class Background:
    """Gets compiled functions without keeping anybody waiting: ``functions`` is None until they are there.

    Where they have never been compiled on this machine, a child process does it (some seconds).
    """

    def __init__(self, code: MachineCode) -> None:
        self.functions = code.load()
        self.ended = threading.Event()
        """There is nothing more to wait for, for good or ill."""
        if self.functions is None:
            threading.Thread(target=self._compile, args=(code,), name="synfin-compile", daemon=True).start()
        else:
            self.ended.set()

    def _compile(self, code: MachineCode) -> None:
        try:
            child = code.aside()
            if child is not None and child.wait() == 0:
                self.functions = code.load()
        finally:
            self.ended.set()


@functools.cache
def _processor() -> object:
    """What this processor is and can do: code is for one kind only."""
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open("rb", buffering=0) as file:
        lines = file.read(1 << 13).split(b"\n\n")[0].split(b"\n")  # of the first one
        told = [line for line in lines if line.startswith(_TELLING)]
        if told:
            return told
    llvm: Any = importlib.import_module("llvmlite.binding")
    return llvm.get_host_cpu_name(), sorted(llvm.get_host_cpu_features().items())


def _folders() -> Iterator[Path]:
    """Directories in which compiled code may be."""
    if named := os.environ.get(CACHE):
        yield Path(named)
    yield BESIDE
    yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "synfin"
    if _temporary.cache_info().currsize:
        yield _temporary()


def _made_sure(folder: Path) -> bool:
    """Make it; whether it is there."""
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    return folder.is_dir()


@functools.cache
def _temporary() -> Path:
    import shutil
    import tempfile

    directory = tempfile.mkdtemp(prefix="synfin-code-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return Path(directory)


def _read(path: Path) -> bytes | None:
    """The code in a file; None where there is none, or it is damaged, or somebody else may have put it there."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_uid not in (0, os.geteuid()):
                return None
            data = file.read()
    except OSError:
        return None
    return data[4:] if zlib.crc32(data[4:]).to_bytes(4, "little") == data[:4] else None


def _spelled(arguments: tuple[Any, ...]) -> list[object]:
    return [
        "int" if kind is int else [np.dtype(one).descr for one in kind.dtypes] if isinstance(kind, Group)
        else np.dtype(kind).descr for kind in arguments
    ]  # fmt: skip


def _opened(library: bytes, names: Iterable[str]) -> dict[str, int] | None:
    """Addresses of functions in a shared library, which is loaded; None where there is none, or that is not allowed.

    It is loaded from memory: what runs is what was checked, and the file may lie where nothing may be executed. The
    descriptor stays open, for the system takes another library with the same path to be the one that it has.
    """
    if not library or not hasattr(os, "memfd_create"):
        return None
    handle = -1
    try:
        handle = os.memfd_create("synfin-code")
        with open(handle, "wb", buffering=0, closefd=False) as file:
            file.write(library)
        loaded = ctypes.CDLL(f"/proc/self/fd/{handle}")
        return {name: ctypes.cast(loaded[name], ctypes.c_void_p).value or 0 for name in names}
    except (OSError, AttributeError):
        if handle >= 0:
            os.close(handle)
        return None


def _caller(address: int, entry: Entry) -> Callable[..., Any]:
    """Call a compiled function; other threads run meanwhile.

    numba's calling convention: where to put the result, where to put an exception, then the arguments, an array as
    seven (two that are about its owner, items, bytes of an item, address, length, stride); back comes a status.
    """
    expected: list[Any] = []
    for kind in entry.arguments:
        expected += [np.dtype(one) for one in kind.dtypes] if isinstance(kind, Group) else [kind]
    words = sum(1 if kind is int else 7 for kind in expected)
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * words)
    function = prototype(address)
    buffer = ctypes.c_int64 * max(entry.results, 1)
    kinds = [None if kind is int else np.dtype(kind) for kind in expected]

    def compiled(*values: Any) -> Any:
        flat: list[Any] = []
        for value in values:
            if isinstance(value, tuple):
                flat += value
            else:
                flat.append(value)
        numbers: list[int] = []
        for place, (value, kind) in enumerate(zip(flat, kinds, strict=True)):
            if kind is None:
                numbers.append(value)
                continue
            dtype = value.dtype
            if dtype is not kind:
                if dtype != kind:
                    raise TypeError(f"not an array of {kind}")
                kinds[place] = dtype  # the next one is most likely of the very same, which is seen at once
            if value.ndim != 1 or not value.flags.c_contiguous:
                raise TypeError(f"not a contiguous array of {kind}")
            length, size = len(value), kind.itemsize
            numbers += (0, 0, length, size, value.ctypes.data, length, size)
        result, raised = buffer(), ctypes.c_void_p()
        status = function(ctypes.addressof(result), ctypes.addressof(raised), *numbers)
        if status not in _FINE:
            raise RuntimeError(f"compiled code ended with status {status}")
        if entry.results < 2:
            return result[0] if entry.results else None
        return tuple(result)

    return compiled


def compile_all(names: Sequence[str]) -> int:
    """Compile what modules have as ``CODE``; an exit code."""
    return max(importlib.import_module(name).CODE.compile() is None for name in names)


if __name__ == "__main__":
    sys.exit(compile_all(sys.argv[1:]))
