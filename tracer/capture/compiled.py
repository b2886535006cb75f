"""The same functions, plain or compiled by numba.

``walk``, ``layers`` and ``rows`` are ordinary Python over integers. For a large capture their source is compiled as it
stands: each function is copied with globals in which the functions it calls are already compiled. numba is looked for
only then (its import costs a quarter of a second, its first compilation some seconds, cached on disk), and nothing is
lost but time where it is not installed or its cache cannot be written.
"""

from __future__ import annotations

import functools
import importlib
import types
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tracer.capture import encapsulation, layers, links, rows, tunnels, walk
from tracer.segments import SEGMENT


@dataclass(frozen=True, slots=True)
class Kernels:
    """The loops over packets, in one form."""

    walk_pcap: Callable[..., tuple[int, int, int]]
    walk_pcapng: Callable[..., tuple[int, int, int]]
    locate_all: Callable[..., None]
    extract: Callable[..., None]
    compiled: bool
    """Compiled functions take a numpy array of octets, plain ones a bytearray."""


PLAIN: Final = Kernels(walk.walk_pcap, walk.walk_pcapng, layers.locate_all, rows.extract, False)


_MODULES: Final = (walk, encapsulation, links, tunnels, layers, rows)
"""Modules with functions to compile, each after those it calls."""


def _source_state() -> str:
    """A digest of all that is compiled together."""
    parts: list[object] = []
    for module in _MODULES:
        parts += [(name, value) for name, value in vars(module).items() if isinstance(value, int)]
        for name in module.KERNELS:
            code = vars(module)[name].__code__
            parts += [name, code.co_code, code.co_consts, code.co_names]
    return f"{zlib.crc32(repr(parts).encode()):08x}"


@functools.cache
def compiled() -> Kernels | None:
    """The compiled form; None where numba is not installed or does not work here."""
    try:
        numba: Any = importlib.import_module("numba")
    except Exception:  # an installed numba may still fail to import, for instance beside a newer numpy
        return None
    for cache in (True, False):
        try:
            kernels = _compile(functools.partial(numba.njit, cache=cache))
            _warm(kernels)
        except Exception:  # no directory to cache in can be written, or the disk is full; or numba cannot at all
            continue
        return kernels
    return None


def _compile(njit: Callable[..., Any]) -> Kernels:
    made: dict[str, Any] = {}
    state = _source_state()
    for module in _MODULES:
        namespace = vars(module) | made
        for name in module.KERNELS:
            copy = types.FunctionType(vars(module)[name].__code__, namespace, name)
            # numba names its cache files by this, and does not itself notice a change in a function of another file
            copy.__qualname__ = f"{name}_{state}"
            made[name] = namespace[name] = njit(copy)
    return Kernels(made["walk_pcap"], made["walk_pcapng"], made["locate_all"], made["extract"], True)


def _warm(kernels: Kernels) -> None:
    """Compile, or load from the cache, what decoding will call: with its types, on nothing."""
    octets, none = np.frombuffer(bytearray(8), np.uint8), np.empty(0, np.int64)
    kernels.walk_pcap(octets, 0, 0, 16, True, 0, none)
    kernels.walk_pcapng(octets, 0, 0, True, 0, none, none)
    kernels.locate_all(octets, *[none] * 9)
    kernels.extract(octets, none, none, none, none, np.empty(0, SEGMENT))
