"""The part of ``machine_code`` that compiles, once on a machine: what numba makes of plain functions, as a file.

numba compiles each function for itself. All of them are joined to one module, optimised once more, and written twice:
for llvmlite, as an object file, and for the system's own loader, as a shared library, where there is a linker.
"""

from __future__ import annotations

import contextlib
import importlib
import shutil
import subprocess
import tempfile
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from tracer.machine_code import SIZE, Entry, Functions, Group

_OPTIONS: Final = {
    "_nrt": False,  # nothing is allocated, so references to arrays need no counting
    "error_model": "numpy",  # a division by zero is no exception
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}
_INTRINSIC: Final = "llvm."
_LIBRARY: Final = frozenset({"memset", "memcpy", "memmove"})
"""All that compiled code may call that is not its own: the C library is in the process anyway."""


def made(functions: Functions, entries: Mapping[str, Entry], values: Mapping[str, Any]) -> bytes:
    """What is kept of compiled functions: length of the object file, that file, the shared library if it can be made.

    The entries are found in both under their names. Raises whatever numba raises, and ValueError where the code would
    call what is not there.
    """
    numba: Any = importlib.import_module("numba")
    llvm: Any = importlib.import_module("llvmlite.binding")
    scope: dict[str, Any] = dict(values)
    whole: Any = None
    with _from_the_front(numba):
        for module, names in functions:
            for name in names:
                copy = types.FunctionType(vars(module)[name].__code__, vars(module) | scope, name)
                if name in entries:
                    signature = _signature(numba, entries[name])
                    one = _module_of(llvm, numba.njit(signature, **_OPTIONS)(copy), name)
                    if whole is None:
                        whole = one
                    else:
                        whole.link_in(one)
                scope[name] = numba.njit(**_OPTIONS)(copy)
    return _emitted(llvm, whole)


def placed(code: bytes, names: Iterable[str]) -> tuple[dict[str, int], object]:
    """Load an object file by llvmlite: addresses of functions in it, and what owns the memory that they are in."""
    llvm: Any = importlib.import_module("llvmlite.binding")
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine(llvm))
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return {name: engine.get_function_address(name) for name in names}, engine


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


def _emitted(llvm: Any, module: Any) -> bytes:
    """The module, optimised, as what is kept."""
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
    return len(code).to_bytes(SIZE, "little") + code + _linked(_machine(llvm, shared=True).emit_object(module))


def _linked(code: bytes) -> bytes:
    """The object file as a shared library; nothing where there is no linker, or it does not know this format."""
    if shutil.which("ld") is None:
        return b""
    with tempfile.TemporaryDirectory(prefix="synfin-code-") as folder:
        made = Path(folder) / "code.so"
        made.with_suffix(".o").write_bytes(code)
        command = ["ld", "-shared", "-z", "noexecstack", "-z", "text", "-o", str(made), str(made.with_suffix(".o"))]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=60)
        except (OSError, subprocess.SubprocessError):
            return b""
        return made.read_bytes()


def _machine(llvm: Any, *, shared: bool = False) -> Any:
    """This processor, for code that may lie anywhere in memory, or for a shared library."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_default_triple()
    kind = {"reloc": "pic", "codemodel": "small"} if shared else {"jit": True}
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=3, **kind)
