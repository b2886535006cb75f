"""The loops of a recording as machine code (tracer.machine_code), loaded without keeping anybody waiting."""

from __future__ import annotations

import threading
from typing import Any, Final

import numpy as np

from tracer.machine_code import Entry, Group, MachineCode
from tracer.recording import arrivals, digits, loops
from tracer.recording.bulk import Bulk

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
        "look_up": Entry((_INT, _INT, _INT, _INT, _INT, _FLAT, _PHRASES), 1),
        "flatten": Entry((_U8, _U8, _INT, int, int, int, _FLAT, _INT)),
        "first_sights": Entry((_INT, _INT, _INT, _INT, int), 1),
    },
)


class Loading:
    """Gets the compiled loops: ``bulk`` is None until they are there.

    Where they have never been compiled on this machine, a child process does it (some seconds) while the writer goes on
    event by event.
    """

    def __init__(self) -> None:
        self.bulk: Bulk | None = None
        self.ended = threading.Event()
        """There is nothing more to wait for, for good or ill."""
        code = CODE.load()
        if code is not None:
            self.bulk = Bulk(code)
            self.ended.set()
        else:
            threading.Thread(target=self._compile, name="synfin-compile", daemon=True).start()

    def _compile(self) -> None:
        try:
            child = CODE.aside()
            if child is not None and child.wait() == 0 and (code := CODE.load()) is not None:
                self.bulk = Bulk(code)
        finally:
            self.ended.set()
