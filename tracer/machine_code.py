"""Plain Python functions over integers and arrays as machine code: compiled once on a machine, then loaded from disk.

numba compiles the functions as they stand: each is copied with globals in which the functions it calls are compiled
ones. One thing is not as in Python: an index below zero does not count from the end, so none may be used. What comes
out is optimised once more as a whole (numba compiles each function for itself, and passes a table of seven arrays as
forty-nine numbers) and kept as an object file. To run that, numba is not needed, only llvmlite, which is there in a
tenth of numba's time and memory. So numba is imported by whoever compiles, and by nobody else.

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import subprocess

_OPTIONS: Final = {
    "_nrt": False,  # nothing is allocated, so references to arrays need no counting
    "error_model": "numpy",  # a division by zero is no exception
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}
_FORM: Final = 2
"""Goes up when the same functions are compiled in another way than before."""
_FINE: Final = (0, -2)
"""What a function compiled by numba returns when nothing was raised: a value, or None."""
_INTRINSIC: Final = "llvm."
_LIBRARY: Final = frozenset({"memset", "memcpy", "memmove"})
"""All that compiled code may call that is not its own: the C library is in the process anyway."""
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
                code = self._made()
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
        llvm: Any = importlib.import_module("llvmlite.binding") if _has_llvm() else None
        if llvm is None:
            return "none"
        parts: list[object] = [_FORM, sys.version, sys.modules["llvmlite"].__version__, np.__version__]
        parts += [sorted(self._values)]
        parts += [llvm.get_host_cpu_name(), sorted(llvm.get_host_cpu_features().items())]
        parts += [(name, _spelled(entry.arguments), entry.results) for name, entry in self._entries.items()]
        for module, names in self._functions:
            parts += [(name, value) for name, value in vars(module).items() if isinstance(value, (int, tuple))]
            parts += [(c.co_code, c.co_consts, c.co_names) for c in (vars(module)[name].__code__ for name in names)]
        return f"{self._prefix}{zlib.crc32(repr(parts).encode()):08x}.o"

    @property
    def _prefix(self) -> str:
        return f"{self._name}.{sys.implementation.cache_tag}-"

    def _made(self) -> bytes:
        """Compile: an object file in which the entries are found under their names."""
        numba: Any = importlib.import_module("numba")
        llvm: Any = importlib.import_module("llvmlite.binding")
        scope: dict[str, Any] = dict(self._values)
        whole: Any = None
        with _from_the_front(numba):
            for module, names in self._functions:
                for name in names:
                    copy = types.FunctionType(vars(module)[name].__code__, vars(module) | scope, name)
                    if name in self._entries:
                        signature = _signature(numba, self._entries[name])
                        one = _module_of(llvm, numba.njit(signature, **_OPTIONS)(copy), name)
                        if whole is None:
                            whole = one
                        else:
                            whole.link_in(one)
                    scope[name] = numba.njit(**_OPTIONS)(copy)
        return _optimised(llvm, whole)

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
        llvm: Any = importlib.import_module("llvmlite.binding")
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine(llvm))
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        self._loaded = {name: _caller(engine, name, entry) for name, entry in self._entries.items()}


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


def _has_llvm() -> bool:
    return importlib.util.find_spec("llvmlite") is not None


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


def _signature(numba: Any, entry: Entry) -> Any:
    """The entry's types, as numba names them."""

    def array(kind: Any) -> Any:
        return numba.types.Array(numba.from_dtype(np.dtype(kind)), 1, "C")

    kinds = [
        numba.int64 if kind is int
        else numba.types.NamedTuple([array(one) for one in kind.dtypes], kind.kind) if isinstance(kind, Group)
        else array(kind) for kind in entry.arguments
    ]  # fmt: skip
    results = (numba.void, numba.int64)[entry.results] if entry.results < 2 else numba.types.UniTuple(
        numba.int64, entry.results)  # fmt: skip
    return results(*kinds)


@contextlib.contextmanager
def _from_the_front(numba: Any) -> Iterator[None]:
    """Have numba take every index as it is.

    In Python a negative one counts from the end, which numba pays for with a comparison in front of every byte that is
    read; no function compiled here uses that. Where another numba has no such place, compiled code is only slower.
    """

    def as_it_is(context: Any, builder: Any, kind: Any, index: Any, size: Any) -> Any:
        return context.cast(builder, index, kind, numba.types.intp if kind.signed else numba.types.uintp)

    arrays = importlib.import_module("numba.np.arrayobj")
    usual = getattr(arrays, "fix_integer_index", None)
    if usual is None:
        yield
        return
    arrays.fix_integer_index = as_it_is  # type: ignore[attr-defined]
    try:
        yield
    finally:
        arrays.fix_integer_index = usual  # type: ignore[attr-defined]


def _module_of(llvm: Any, function: Any, name: str) -> Any:
    """The LLVM module of a function compiled by numba, in which only it is visible, as ``name``."""
    module = llvm.parse_assembly(function.inspect_llvm(function.signatures[0]))
    for one in module.functions:
        if not one.is_declaration:
            if one.linkage == llvm.Linkage.external:
                one.name = name
            else:
                one.linkage = llvm.Linkage.internal
    for one in module.global_variables:
        if not one.is_declaration:
            one.linkage = llvm.Linkage.internal
    return module


def _optimised(llvm: Any, module: Any) -> bytes:
    """An object file of the module; raises ValueError where it would call what is not there."""
    machine = _machine(llvm)
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    strange = {
        one.name for one in module.functions if one.is_declaration and not one.name.startswith(_INTRINSIC)
    } - _LIBRARY
    if strange:
        raise ValueError(f"compiled code calls {', '.join(sorted(strange))}")
    code: bytes = machine.emit_object(module)
    return code


def _machine(llvm: Any) -> Any:
    """This processor."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=3, jit=True)


def _caller(engine: Any, name: str, entry: Entry) -> Callable[..., Any]:
    """Call a compiled function; other threads run meanwhile.

    numba's calling convention: where to put the result, where to put an exception, then the arguments, an array as
    seven (two that are about its owner, items, bytes of an item, address, length, stride); back comes a status.
    """
    expected: list[Any] = []
    for kind in entry.arguments:
        expected += [np.dtype(one) for one in kind.dtypes] if isinstance(kind, Group) else [kind]
    words = sum(1 if kind is int else 7 for kind in expected)
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * words)
    function = prototype(engine.get_function_address(name))
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
        for value, kind in zip(flat, kinds, strict=True):
            if kind is None:
                numbers.append(value)
                continue
            if not (value.dtype is kind or value.dtype == kind) or value.ndim != 1 or not value.flags.c_contiguous:
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

    compiled.engine = engine  # type: ignore[attr-defined]  # the code is there for as long as it is
    return compiled


def compile_all(names: Sequence[str]) -> int:
    """Compile what modules have as ``CODE``; an exit code."""
    return max(importlib.import_module(name).CODE.compile() is None for name in names)


if __name__ == "__main__":
    sys.exit(compile_all(sys.argv[1:]))
