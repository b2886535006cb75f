"""The loops of a recording as machine code."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tracer.machine_code import Entry, Group, MachineCode
from tracer.recording import arrivals, digits, loops

_U8, _INT, _U64 = np.dtype(np.uint8), np.dtype(np.int64), np.dtype(np.uint64)


def _dtype(note: str) -> np.dtype[Any]:
    return _U8 if "Bytes" in note else _U64 if "uint64" in note else _INT


def _group(kind: Any) -> Group:
    """Arrays of integers as they are annotated."""
    notes = kind.__annotations__
    return Group(kind, tuple(_dtype(str(notes[name])) for name in kind._fields))


_FLAT: Final = Group(loops.Flat, (_U8, np.dtype(np.uint16), np.dtype(np.uint32), np.dtype(np.uint64)))
_TABLES, _PHRASES = _group(loops.Tables), _group(loops.Phrases)
_EVENTS, _CONSTANTS = _group(loops.Events), _group(loops.Constants)

CODE: Final = MachineCode(
    __name__,
    ((digits, digits.FUNCTIONS), (loops, loops.FUNCTIONS), (arrivals, arrivals.FUNCTIONS)),
    {
        "blocks": Entry((int, int, _U8, _INT, _EVENTS, _CONSTANTS, _FLAT, _TABLES, _PHRASES), 1),
        "look_up": Entry((_INT, _INT, _INT, _INT, _FLAT, _PHRASES), 1),
        "flatten": Entry((_U8, _U8, _INT, int, int, int, _FLAT, _INT)),
        "first_sights": Entry((_INT, _INT, _INT, _INT, int), 1),
    },
)
