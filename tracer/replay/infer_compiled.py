"""The same inference, compiled: the functions of ``infer_rules`` and ``infer_book`` on arrays of records.

They are compiled as they stand (``tracer.machine_code``). The few functions below touch containers: they take the place
of those of ``infer_tables``, while connections are found as in ``hashing``. The log is an array too, so the loop stops
where it might not hold the changes of one more segment, and goes on when they have been taken out.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.machine_code import Entry, Group, MachineCode
from tracer.replay import hashing, infer_book, infer_rows, infer_rules, infer_sequence, life_rows, lifetimes
from tracer.replay.hashing import insert
from tracer.replay.infer_book import advance, judge
from tracer.replay.infer_rows import End
from tracer.replay.infer_tables import Book, Known, Tables, Timer
from tracer.replay.life_rows import SHELF, Lives, Shelf
from tracer.replay.lived import LIVED
from tracer.replay.rows import layout
from tracer.segments import SEGMENT

ROOM: Final = 1024
"""Rows by which a table grows at least."""

ENOUGH = 32
"""Free log entries and timers below which the loop stops: more than one segment can take."""

LOG: Final = 8192
"""Entries in the log."""

ENTRY: Final = np.dtype(
    [
        (name, "i8")
        for name in (
            "place", "number", "stream", "time", "row", "old", "new", "trigger", "certainty",
            "src_hi", "src_lo", "sport", "dst_hi", "dst_lo", "dport", "client",
        )
    ]
)  # fmt: skip
"""infer_tables.Entry as a record."""

_M64: Final = (1 << 64) - 1
_ADDRESSES: Final = ("src_hi", "src_lo", "dst_hi", "dst_lo")

wide: Any = np.int64
"""Signed and 64 bits wide, as the rules want their numbers."""


def note(tables: Any, time: int, row: int, old: int, new: int, trigger: int, certainty: int) -> None:
    """Log a change of the connection being judged."""
    book = tables.book[0]
    flow = tables.flows[book.number]
    entry = tables.log[book.logged]
    book.logged += 1
    entry.place = book.place
    entry.number = book.number
    entry.stream = flow.stream
    entry.time = time
    entry.row = row
    entry.old = old
    entry.new = new
    entry.trigger = trigger
    entry.certainty = certainty
    entry.src_hi = flow.src_hi
    entry.src_lo = flow.src_lo
    entry.sport = flow.sport
    entry.dst_hi = flow.dst_hi
    entry.dst_lo = flow.dst_lo
    entry.dport = flow.dport
    entry.client = flow.client


def note_late(tables: Any, timer: Any, trigger: int, certainty: int, closed: int) -> None:
    """Log that the timer ran out of a connection that was given up."""
    book = tables.book[0]
    entry = tables.log[book.logged]
    book.logged += 1
    entry.place = -1
    entry.number = 0
    entry.stream = timer.stream
    entry.time = timer.due
    entry.row = timer.place
    entry.old = timer.state
    entry.new = closed
    entry.trigger = trigger
    entry.certainty = certainty
    entry.src_hi = timer.src_hi
    entry.src_lo = timer.src_lo
    entry.sport = timer.sport
    entry.dst_hi = timer.dst_hi
    entry.dst_lo = timer.dst_lo
    entry.dport = timer.dport
    entry.client = timer.client


def logged(tables: Any) -> int:
    """How many entries the log has."""
    count: int = tables.book[0].logged
    return count


def room(tables: Any) -> bool:
    """Whether the log and the timers take the changes of one more segment."""
    book = tables.book[0]
    enough: bool = book.logged + ENOUGH <= len(tables.log) and book.free_timers >= ENOUGH
    return enough


def blank(tables: Any, number: int) -> None:
    """Make a connection's three rows new."""
    tables.flows[number] = tables.flows[0]
    tables.ends[2 * number] = tables.ends[0]
    tables.ends[2 * number + 1] = tables.ends[1]


def run(tables: Any, lost: Any, segments: Any, streams: Any, first: int, now: int) -> int:
    """Judge ``segments`` in order, then let time pass up to ``now`` (0 for no more than they say): how many were done,
    and one more if time has passed too. ``lost`` numbers rows that are not in the hash table yet."""
    for i in range(len(lost)):
        insert(tables, lost[i])
    for i in range(len(segments)):
        row = segments[i]
        time = row.time
        if not advance(tables, time) or not room(tables) or tables.book[0].free_flows < 1:
            return i
        sender = 0
        if row.src_hi != row.dst_hi:
            sender = 1 if row.src_hi > row.dst_hi else 0
        elif row.src_lo != row.dst_lo:
            sender = 1 if row.src_lo > row.dst_lo else 0
        elif row.sport > row.dport:
            sender = 1
        src_hi, src_lo, sport = wide(row.src_hi), wide(row.src_lo), wide(row.sport)
        dst_hi, dst_lo, dport = wide(row.dst_hi), wide(row.dst_lo), wide(row.dport)
        if sender:
            src_hi, src_lo, sport, dst_hi, dst_lo, dport = dst_hi, dst_lo, dport, src_hi, src_lo, sport
        judge(
            tables, first + i, wide(streams[i]), sender, src_hi, src_lo, sport, dst_hi, dst_lo, dport,
            time, wide(row.seq), wide(row.ack), wide(row.flags), wide(row.length), wide(row.window), wide(row.wscale),
        )  # fmt: skip
    if now and not advance(tables, now):
        return len(segments)
    return len(segments) + 1


_HERE: Final = sys.modules[__name__]
_FUNCTIONS: Final[tuple[tuple[types.ModuleType, tuple[str, ...]], ...]] = (
    (infer_rows, ("before",)),
    (hashing, ("slot_of", "find", "home", "insert", "remove")),
    (lifetimes, ("append", "unlink")),
    (_HERE, ("note", "note_late", "logged", "room", "blank")),
    (infer_sequence, ("keep", "acknowledge", "account", "has_fin_of", "acceptable", "forget")),
    (
        infer_rules,
        (
            "move", "_step", "_hold", "_back", "_missed", "_under_way", "_answered", "_begin", "_past_handshake",
            "_opened", "_emission", "_fin_was_missed", "_syn_arrives", "_arrival", "_closing_trigger",
            "_answers_wrong_ack", "_acceptable_reset", "_reset", "segment",
        ),
    ),
    (
        infer_book,
        (
            "sooner", "put", "take_out", "release", "free_timer", "disarm", "arm", "waits", "_expiry", "settle",
            "give_up", "fire", "advance", "supersede", "begin", "judge",
        ),
    ),
    (_HERE, ("run",)),
    (
        life_rows,
        ("life_home", "life_slot", "leave_slot", "clear", "free_life", "stay", "take_back", "record", "tell"),
    ),
)  # fmt: skip
"""Each after those it calls; the rules find the functions above under the names of ``infer_tables``."""

_ROWS: Final = tuple(layout(kind) for kind in (Known, End, Timer))

_SHELF: Final = Group(Shelf, SHELF)

CODE: Final = MachineCode(
    __name__,
    _FUNCTIONS,
    {
        "run": Entry(
            (
                Group(Tables, (np.dtype(np.int32), *_ROWS, np.dtype(np.int64), layout(Book), ENTRY)),
                np.dtype(np.int32), SEGMENT, np.dtype(np.uint32), int, int,
            ),
            1,
        ),
        "record": Entry((_SHELF, ENTRY), 1),
        "tell": Entry((_SHELF, _ROWS[1], np.dtype(np.uint32), np.dtype(np.int64), int, LIVED)),
    },
    {"NEXT": np.array(infer_rules.NEXT, np.int64)},
)  # fmt: skip


def _from_objects(objects: list[Any], kind: type) -> NDArray[Any]:
    """Records of these; addresses, unsigned until now, wrap."""
    rows = np.zeros(len(objects), layout(kind))
    for field in fields(kind):
        values = [getattr(row, field.name) for row in objects]
        unsigned = field.name in _ADDRESSES
        rows[field.name] = np.array([value & _M64 for value in values], np.uint64).view("i8") if unsigned else values
    return rows


class CompiledRows:
    """The rows of all connections as arrays, taken over from plain ones."""

    def __init__(self, plain: Tables) -> None:
        self._arrays: dict[str, NDArray[Any]] = {
            "places": np.zeros(1, np.int32),
            "flows": _from_objects(plain.flows, Known),
            "ends": _from_objects(plain.ends, End),
            "timers": _from_objects(plain.timers, Timer),
            "heap": np.array(plain.heap, np.int64),
            "book": _from_objects(plain.book, Book),
            "log": np.zeros(LOG, ENTRY),
        }
        self._lost = np.array(sorted({place >> 1 for place in plain.places.values()}), np.int32)
        """Connections to be put into the hash table."""

    def feed(self, segments: NDArray[Any], streams: NDArray[Any], first: int, now: int) -> NDArray[Any]:
        """The log (ENTRY) of judging rows of SEGMENT, numbered from ``first``, and of time passing up to ``now``."""
        return np.concatenate([log.copy() for log in self._logs(segments, streams, first, now)])

    def follow(self, lives: Lives, segments: NDArray[Any], streams: NDArray[Any], first: int) -> None:
        """The same for who wants to know the lives only."""
        code = CODE.load()
        assert code is not None
        for log in self._logs(segments, streams, first, 0):
            lives.record(code, log)

    def take_over(self, lives: Lives, log: list[tuple[int, ...]]) -> None:
        """Lives that were kept as objects, as the log that brings them about."""
        code = CODE.load()
        assert code is not None
        lives.record(code, np.array(log, ENTRY))

    def tell(self, lives: Lives, streams: NDArray[Any], lasts: NDArray[Any], until: int) -> NDArray[Any]:
        """Rows of LIVED for connections, whose lives are given up."""
        code = CODE.load()
        assert code is not None
        return lives.tell(code, self._arrays["ends"], streams, lasts, until)

    def _logs(self, segments: NDArray[Any], streams: NDArray[Any], first: int, now: int) -> Iterator[NDArray[Any]]:
        """The log part by part, each of which is there until the next is asked for."""
        code = CODE.load()
        assert code is not None
        compiled = code["run"]
        segments = np.require(segments, SEGMENT, ("C", "A"))
        streams = np.require(streams, np.uint32, ("C", "A"))
        done = 0
        while done <= len(segments):
            self._reserve()
            tables = Tables(**self._arrays)  # type: ignore[arg-type]
            done += compiled(tables, self._lost, segments[done:], streams[done:], first + done, now)
            self._lost = self._lost[:0]
            book = self._arrays["book"]
            yield self._arrays["log"][: int(book["logged"][0])]
            book["logged"] = 0

    def ends(self, number: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """State and certainty of both ends of a connection."""
        states, certainties = self._arrays["ends"]["state"], self._arrays["ends"]["certainty"]
        return (
            (int(states[2 * number]), int(certainties[2 * number])),
            (int(states[2 * number + 1]), int(certainties[2 * number + 1])),
        )

    @property
    def kept(self) -> int:
        """Connections remembered."""
        return int(self._arrays["book"]["kept"][0])

    def _reserve(self) -> None:
        """See to it that the next segment finds free rows, and the hash table a free half."""
        arrays, book = self._arrays, self._arrays["book"]
        if book["free_flows"][0] < 1:
            known = len(arrays["flows"])
            more = max(ROOM, known // 4)
            _grow(arrays["flows"], more, int(book["free_flow"][0]))
            arrays["ends"].resize(2 * (known + more), refcheck=False)
            book["free_flow"] = known
            book["free_flows"] += more
        if book["free_timers"][0] < ENOUGH:
            known = len(arrays["timers"])
            more = max(ROOM, known // 4)
            _grow(arrays["timers"], more, int(book["free_timer"][0]))
            arrays["heap"].resize(known + more, refcheck=False)
            book["free_timer"] = known
            book["free_timers"] += more
        if len(arrays["places"]) < 2 * len(arrays["flows"]):
            places = arrays["places"]
            self._lost = np.concatenate((places[places > 0], self._lost))
            arrays["places"] = np.zeros(1 << (2 * len(arrays["flows"]) - 1).bit_length(), np.int32)
        book["capacity"] = len(arrays["places"])


def _grow(rows: NDArray[Any], more: int, behind: int) -> None:
    """Add rows in place (whoever begins to use one makes it new), chained as free ones before those free already."""
    known = len(rows)
    rows.resize(known + more, refcheck=False)
    rows["newer"][known:] = np.arange(known + 1, known + more + 1)
    rows["newer"][-1] = behind
