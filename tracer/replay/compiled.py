"""The same rules, compiled: records in arrays instead of objects in lists.

numba compiles the functions of ``flight``, ``rules``, ``lifetimes`` and ``hashing`` as they stand (``jit`` says how),
and only when a capture is large enough to be worth it: the compiled loop then takes the plain one's tables over.
"""

from __future__ import annotations

import types
from dataclasses import fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.replay import flight, hashing, history, lifetimes, rules
from tracer.replay.analysis import ANALYSIS
from tracer.replay.jit import Compiled
from tracer.replay.lifetimes import Tables
from tracer.replay.rows import Book, Direction, Flow, Unacked, layout
from tracer.segments import SEGMENT

BATCH: Final = 4096
"""Segments analysed in one go: as many free rows are made ready before."""

_FUNCTIONS: Final[tuple[tuple[types.ModuleType, tuple[str, ...]], ...]] = (
    (flight, ("remember", "acknowledge", "bytes_in_flight", "timer_started", "forget")),
    (rules, ("before", "handshake", "judge_repeated_ack", "judge_repeated_bytes", "count", "segment")),
    (history, ("note", "scaled", "tell", "likely_responder")),
    (hashing, ("slot_of", "find", "home", "insert", "remove", "blank", "keep")),
    (lifetimes, ("append", "unlink", "retire", "begin", "connection", "settle")),
    (hashing, ("run",)),
)
"""Each after those it calls; ``lifetimes`` finds the functions of ``hashing`` under its own names."""


_LAYOUTS: Final = (
    SEGMENT.descr,
    ANALYSIS.descr,
    [[field.name for field in fields(row)] for row in (Flow, Direction, Unacked, Book)],
)

_LOOP: Final = Compiled(_FUNCTIONS, "tracer.replay.compiled", _LAYOUTS)
loop, ready, compile_aside = _LOOP.load, _LOOP.ready, _LOOP.aside


def warm() -> None:
    """Compile now, by analysing nothing."""
    CompiledTables().run(np.zeros(0, SEGMENT))


def _blank(kind: type, count: int) -> NDArray[Any]:
    rows = np.zeros(count, layout(kind))
    for field in fields(kind):
        rows[field.name] = field.default
    return rows


def _from_objects(objects: list[Any], kind: type) -> NDArray[Any]:
    names = [field.name for field in fields(kind)]
    return np.array([tuple(getattr(row, name) for name in names) for row in objects], layout(kind))


class CompiledTables:
    """The rows of all connections as arrays, empty or taken over from plain ones."""

    def __init__(self, plain: Tables | None = None) -> None:
        if plain is None:
            plain = Tables({}, [Flow()], [Direction(), Direction()], [], [Book()], [], [])
        self._arrays: dict[str, NDArray[Any]] = {
            "places": np.zeros(1 << 13, np.int32),
            "flows": _from_objects(plain.flows, Flow),
            "directions": _from_objects(plain.directions, Direction),
            "pool": _from_objects(plain.pool, Unacked),
            "book": _from_objects(plain.book, Book),
            "ended_flows": _blank(Flow, 0),
            "ended_directions": _blank(Direction, 0),
        }
        self._lost = np.array(sorted({place >> 1 for place in plain.places.values()}), np.int32)
        """Connections to be put into the hash table."""

    def run(self, segments: NDArray[Any]) -> NDArray[Any]:
        """Analyse rows of ``SEGMENT`` in order; as many rows of ``ANALYSIS``."""
        compiled = loop()
        assert compiled is not None
        # one kind of array only: numba would compile anew for one that is read-only, strided or not aligned
        segments = np.require(segments, SEGMENT, ("C", "A", "W"))
        found = np.empty(len(segments), ANALYSIS)
        for start in range(0, max(len(segments), 1), BATCH):
            self._reserve(BATCH)
            tables = Tables(**self._arrays)  # type: ignore[arg-type]
            compiled(tables, self._lost, segments[start : start + BATCH], found[start : start + BATCH])
            self._lost = self._lost[:0]
        return found

    def ended(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Flow rows and direction rows of the connections that gave up theirs since the last call."""
        count = int(self._arrays["book"]["finished"][0])
        self._arrays["book"]["finished"] = 0
        return self._arrays["ended_flows"][:count].copy(), self._arrays["ended_directions"][: 2 * count].copy()

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

    def _reserve(self, segments: int) -> None:
        """See to it that as many segments find free rows, and the hash table a free half."""
        arrays, book = self._arrays, self._arrays["book"]
        if book["free_flows"][0] < segments:
            known = len(arrays["flows"])
            more = max(segments, known // 2)
            arrays["flows"] = np.concatenate((arrays["flows"], _blank(Flow, more)))
            arrays["directions"] = np.concatenate((arrays["directions"], _blank(Direction, 2 * more)))
            _link(arrays["flows"], known, int(book["free_flow"][0]))
            book["free_flow"] = known
            book["free_flows"] += more
        if book["free_count"][0] < segments:
            known = len(arrays["pool"])
            more = max(segments, known // 2)
            arrays["pool"] = np.concatenate((arrays["pool"], _blank(Unacked, more)))
            _link(arrays["pool"], known, int(book["free_unacked"][0]))
            book["free_unacked"] = known
            book["free_count"] += more
        if len(arrays["ended_flows"]) < book["finished"][0] + 2 * segments:
            more = max(2 * segments, len(arrays["ended_flows"]))
            arrays["ended_flows"] = np.concatenate((arrays["ended_flows"], _blank(Flow, more)))
            arrays["ended_directions"] = np.concatenate((arrays["ended_directions"], _blank(Direction, 2 * more)))
        if len(arrays["places"]) < 2 * len(arrays["flows"]):
            self._lost = self._numbers()
            arrays["places"] = np.zeros(1 << (2 * len(arrays["flows"]) - 1).bit_length(), np.int32)
        book["capacity"] = len(arrays["places"])


def _link(rows: NDArray[Any], first: int, behind: int) -> None:
    """Chain the rows from ``first`` on as free ones, before those that were free already."""
    rows["newer"][first:] = np.arange(first + 1, len(rows) + 1)
    rows["newer"][-1] = behind


__all__ = ["BATCH", "CompiledTables", "compile_aside", "loop", "ready", "warm"]
