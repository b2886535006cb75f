"""Functions of plain Python compiled by numba as they stand, and kept on disk.

Each function is copied with globals in which the functions it calls are already compiled ones; so one source serves
both ways of running it. Only the outermost function is kept on disk, which holds all the others. The first compilation
on a machine takes some seconds. Nobody waits for it: a child process compiles into the cache while the plain functions
go on, and the compiled one takes over when the child is done. Where no cache directory can be written, a temporary one
serves for this run. numba is imported only when a compiled function is asked for.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import types
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

_OPTIONS: Final = {"nogil": True, "_nrt": False}
"""Other threads run meanwhile; nothing is allocated, so references to arrays need no counting (a third of the time)."""

_TEMPORARY: Final = "synfin-numba-"

Functions = Sequence[tuple[types.ModuleType, tuple[str, ...]]]
"""Modules and the names of functions in them, each after those it calls."""


class Compiled:
    """The last of ``functions``, which calls the others, in compiled form.

    ``values`` are globals that differ from the plain ones (arrays instead of tuples), ``layouts`` what else the
    compiled code depends on, as text. ``warm`` names the module whose ``warm()`` compiles it.
    """

    def __init__(
        self, functions: Functions, warm: str, layouts: object, values: Mapping[str, Any] | None = None
    ) -> None:
        self._functions, self._warm, self._layouts, self._values = functions, warm, layouts, dict(values or {})
        self.load = functools.cache(self._load)

    def _digest(self) -> str:
        """What the compiled code depends on: numba itself notices only changes in the outermost function's file."""
        parts: list[object] = [self._layouts]
        for module, names in self._functions:
            parts += [(name, value) for name, value in vars(module).items() if isinstance(value, int)]
            parts += [(c.co_code, c.co_consts, c.co_names) for c in (vars(module)[name].__code__ for name in names)]
        return f"{zlib.crc32(repr(parts).encode()):08x}"

    def _load(self) -> Callable[..., Any] | None:
        """The compiled function, not necessarily compiled yet; None where numba is not installed or does not work."""
        try:
            numba: Any = importlib.import_module("numba")
        except Exception:  # an installed numba may still fail to import, for instance beside a newer numpy
            return None
        scope: dict[str, Any] = dict(self._values)
        outermost = self._functions[-1][1][-1]
        for module, names in self._functions:
            for name in names:
                copy = types.FunctionType(vars(module)[name].__code__, vars(module) | scope, name)
                if (module, name) != (self._functions[-1][0], outermost):
                    scope[name] = numba.njit(**_OPTIONS)(copy)
        copy.__qualname__ = f"{outermost}_{self._digest()}"
        try:
            made = numba.njit(cache=True, **_OPTIONS)(copy)
        except RuntimeError:  # no directory to cache in can be written
            directory = tempfile.mkdtemp(prefix=_TEMPORARY)
            atexit.register(shutil.rmtree, directory, ignore_errors=True)
            before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, directory
            made = numba.njit(cache=True, **_OPTIONS)(copy)
            numba.config.CACHE_DIR = before
        result: Callable[..., Any] = made
        return result

    def ready(self) -> bool:
        """Whether calling it will not have to compile it first."""
        run: Any = self.load()
        if run is None:
            return False
        if run.signatures:
            return True
        module, (*_, outermost) = self._functions[-1]
        written = Path(str(module.__file__)).stat().st_mtime
        names = Path(run.stats.cache_path).glob(f"*{outermost}_{self._digest()}-*.nbi")
        return any(path.stat().st_mtime >= written for path in names)

    def aside(self) -> subprocess.Popen[bytes] | None:
        """Start to compile into the cache in a child process; its end says whether ``ready`` will now be true.

        The child is left to finish if we end first: some seconds, once, for the sake of all later runs.
        """
        run: Any = self.load()
        if run is None:
            return None
        directory = Path(run.stats.cache_path)
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        if directory.parent.name.startswith(_TEMPORARY):
            environment["NUMBA_CACHE_DIR"] = str(directory.parent)
        return subprocess.Popen(
            [sys.executable, "-c", f"from {self._warm} import warm; warm()"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
