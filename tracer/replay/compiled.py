"""The same rules, compiled: records in arrays instead of objects in lists.

numba compiles the functions of ``flight``, ``rules``, ``lifetimes`` and ``hashing`` as they stand (``machine_code``),
and only when a capture is large enough to be worth it: the compiled loop then takes the plain one's tables over.
"""

from __future__ import annotations

import types
from dataclasses import fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.machine_code import Entry, Group, MachineCode
from tracer.replay import flight, hashing, history, lifetimes, reuse, rules
from tracer.replay.analysis import ANALYSIS
from tracer.replay.lifetimes import Tables
from tracer.replay.reuse import PLACES, Closed
from tracer.replay.rows import Book, Direction, Flow, Unacked, layout
from tracer.segments import SEGMENT

ROOM: Final = 4096
"""Rows by which a table grows at least."""

_FUNCTIONS: Final[tuple[tuple[types.ModuleType, tuple[str, ...]], ...]] = (
    (flight, ("remember", "acknowledge", "bytes_in_flight", "timer_started", "forget")),
    (rules, ("before", "handshake", "judge_repeated_ack", "judge_repeated_bytes", "count", "segment")),
    (history, ("note", "scaled", "tell", "likely_responder")),
    (hashing, ("slot_of", "find", "home", "insert", "remove", "blank", "keep", "recalled", "remember")),
    (reuse, ("mixed", "fingerprint", "was_closed", "note_closed")),
    (lifetimes, ("append", "unlink", "retire", "part_with", "begin", "connection", "settle")),
    (hashing, ("run",)),
)
"""Each after those it calls; ``lifetimes`` finds the functions of ``hashing`` under its own names."""


_ROWS: Final = tuple(layout(kind) for kind in (Flow, Direction, Unacked, Book, Flow, Direction, Closed))

CODE: Final = MachineCode(
    __name__,
    _FUNCTIONS,
    {"run": Entry((Group(Tables, (np.dtype(np.int32), *_ROWS)), np.dtype(np.int32), SEGMENT, ANALYSIS), 1)},
)


def _from_objects(objects: list[Any], kind: type) -> NDArray[Any]:
    names = [field.name for field in fields(kind)]
    return np.array([tuple(getattr(row, name) for name in names) for row in objects], layout(kind))


class CompiledTables:
    """The rows of all connections as arrays, empty or taken over from plain ones."""

    def __init__(self, plain: Tables | None = None) -> None:
        if plain is None:
            plain = Tables({}, [Flow()], [Direction(), Direction()], [], [Book()], [], [], {})
        self._arrays: dict[str, NDArray[Any]] = {
            "places": np.zeros(1, np.int32),
            "flows": _from_objects(plain.flows, Flow),
            "directions": _from_objects(plain.directions, Direction),
            "pool": _from_objects(plain.pool, Unacked),
            "book": _from_objects(plain.book, Book),
            "ended_flows": np.zeros(ROOM, layout(Flow)),
            "ended_directions": np.zeros(2 * ROOM, layout(Direction)),
            "closed": np.zeros(PLACES, layout(Closed)),
        }
        places = list(plain.closed)
        self._arrays["closed"][places] = _from_objects(list(plain.closed.values()), Closed)
        self._lost = np.array(sorted({place >> 1 for place in plain.places.values()}), np.int32)
        """Connections to be put into the hash table."""

    def run(self, segments: NDArray[Any]) -> NDArray[Any]:
        """Analyse rows of ``SEGMENT`` in order; as many rows of ``ANALYSIS``."""
        code = CODE.load()
        assert code is not None
        compiled = code["run"]
        segments = np.require(segments, SEGMENT, ("C", "A"))
        found = np.empty(len(segments), ANALYSIS)
        done = 0
        while done < len(segments):
            self._reserve()
            tables = Tables(**self._arrays)  # type: ignore[arg-type]
            done += compiled(tables, self._lost, segments[done:], found[done:])
            self._lost = self._lost[:0]
        return found

    @property
    def waiting(self) -> int:
        """How many rows ``ended`` would give."""
        return int(self._arrays["book"]["finished"][0])

    def ended(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Flow rows and direction rows of the connections that gave up theirs since the last call.

        They are what they are until the next ``run``.
        """
        count = self.waiting
        self._arrays["book"]["finished"] = 0
        return self._arrays["ended_flows"][:count], self._arrays["ended_directions"][: 2 * count]

    def kept(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Flow rows and direction rows of all other connections, by stream number."""
        numbers = self._numbers()
        flows = self._arrays["flows"][numbers]
        order = np.argsort(flows["stream"])
        places = 2 * numbers[order].astype(np.int64)
        return flows[order], self._arrays["directions"][np.stack((places, places + 1), axis=1).ravel()]

    @property
    def streams(self) -> int:
        """Connections seen so far."""
        return int(self._arrays["book"]["streams"][0])

    def _numbers(self) -> NDArray[Any]:
        places = self._arrays["places"]
        return np.concatenate((places[places > 0], self._lost))

    def _reserve(self) -> None:
        """See to it that the next segment finds free rows, and the hash table a free half."""
        arrays, book = self._arrays, self._arrays["book"]
        if book["free_flows"][0] < 1:
            known = len(arrays["flows"])
            more = max(ROOM, known // 2)
            _grow(arrays["flows"], more, int(book["free_flow"][0]))
            arrays["directions"].resize(2 * (known + more), refcheck=False)
            book["free_flow"] = known
            book["free_flows"] += more
        if book["free_count"][0] < 1:
            known = len(arrays["pool"])
            more = max(ROOM, known // 2)
            _grow(arrays["pool"], more, int(book["free_unacked"][0]))
            book["free_unacked"] = known
            book["free_count"] += more
        if len(arrays["ended_flows"]) < book["finished"][0] + 2:
            more = len(arrays["ended_flows"]) // 2
            arrays["ended_flows"].resize(len(arrays["ended_flows"]) + more, refcheck=False)
            arrays["ended_directions"].resize(2 * len(arrays["ended_flows"]), refcheck=False)
        if len(arrays["places"]) < 2 * len(arrays["flows"]):
            self._lost = self._numbers()
            arrays["places"] = np.zeros(1 << (2 * len(arrays["flows"]) - 1).bit_length(), np.int32)
        book["capacity"] = len(arrays["places"])


def _grow(rows: NDArray[Any], more: int, behind: int) -> None:
    """Add rows in place (whoever begins to use one makes it new), chained as free ones before those free already."""
    known = len(rows)
    rows.resize(known + more, refcheck=False)
    rows["newer"][known:] = np.arange(known + 1, known + more + 1)
    rows["newer"][-1] = behind
