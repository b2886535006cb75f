"""The rows of all connections whose states are inferred, as the rules and their bookkeeping see them.

As it stands this is the plain form: lists of slotted objects, a dictionary, and a log that is a list of tuples. In the
compiled form (``infer_compiled``) the same names are arrays of records, and the functions below are replaced by others
that do the same to arrays. Row 0 of the connections and rows 0 and 1 of the ends are never used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tracer.replay.infer_rows import End
from tracer.replay.lifetimes import Index

FORGOTTEN = -1
"""Trigger of a log entry that says no change: the connection's rows are given up. ``old`` and ``new`` are the last
states of its two ends, ``certainty`` is theirs, the second one shifted left by two."""


@dataclass(slots=True)
class Known:
    """One connection that is remembered; its ends' rows are those of twice its number, and the next."""

    stream: int = 0
    src_hi: int = 0
    src_lo: int = 0
    sport: int = 0
    """Address and port of row 0: the end whose address and port sort first, whoever opened."""
    dst_hi: int = 0
    dst_lo: int = 0
    dport: int = 0
    """Address and port of row 1."""
    client: int = 0
    """The row that opened, or was seen first."""
    closed: int = 0
    """When both ends were found closed; 0 while one is not."""
    earlier: int = 0
    """The connection before on the same addresses and ports, if it is remembered still; else 0."""
    listed: int = 0
    """1 while it is in the list of connections that are not open."""
    older: int = -1
    newer: int = -1
    """Neighbours in that list; ``newer`` links the free rows too."""


@dataclass(slots=True)
class Timer:
    """Something that ends by itself: a TIME_WAIT, or an attempt to open."""

    due: int = 0
    """When, ns since the Unix epoch."""
    tie: int = 0
    """Breaks ties: timers of one moment in the order in which they were set."""
    stream: int = 0
    place: int = 0
    """Row of the end; 0 or 1 where the connection has been given up, and this is all that is left of it, as the kernel
    keeps no more of one in TIME_WAIT than an inet_timewait_sock."""
    state: int = 0
    src_hi: int = 0
    src_lo: int = 0
    sport: int = 0
    dst_hi: int = 0
    dst_lo: int = 0
    dport: int = 0
    client: int = 0
    """Those of such a connection: the state of the end that waits, and what ``Known`` says of the pair."""
    spot: int = 0
    """Where in the heap."""
    newer: int = -1
    """The next free row."""


@dataclass(slots=True)
class Book:
    """What belongs to no connection."""

    place: int = -1
    """Number of the segment being judged; -1 while time passes."""
    number: int = 0
    """The connection being judged."""
    kept: int = 0
    """Connections remembered."""
    free_flow: int = -1
    free_flows: int = 0
    free_timer: int = -1
    free_timers: int = 0
    armed: int = 0
    """Timers in the heap."""
    ties: int = 0
    """Timers ever set."""
    owed: int = 0
    """Timers of connections that have been given up."""
    oldest: int = -1
    newest: int = -1
    listed: int = 0
    """The list of connections that are not open."""
    capacity: int = 0
    """Slots of the compiled hash table, a power of two."""
    logged: int = 0
    """Entries in the compiled log."""


Entry = tuple[int, int, int, int, int, int, int, int, int, int, int, int, int, int, int, int]
"""place, number, stream, time, row, old, new, trigger, certainty; src_hi, src_lo, sport, dst_hi, dst_lo, dport, client
of ``Known``. ``number`` is 0 for a connection that has been given up."""


class Tables(NamedTuple):
    """All rows there are. ``lifetimes`` and ``hashing`` find in it what they know by the same names."""

    places: Index
    """Endpoints -> twice the number of the newest connection between them."""
    flows: list[Known]
    ends: list[End]
    timers: list[Timer]
    heap: list[int]
    """Numbers of timers; the first ``armed`` are a binary heap by ``due``."""
    book: list[Book]
    """One row."""
    log: list[Entry]
    """Changes since it was last emptied."""


def empty() -> Tables:
    """Plain tables without connections."""
    return Tables({}, [Known()], [End(0), End(1)], [], [], [Book()], [])


def reserve(tables: Tables, flows: int = 64, timers: int = 1024) -> None:
    """See to it that so many rows are free."""
    book = tables.book[0]
    while book.free_flows < flows:
        tables.flows.append(Known(newer=book.free_flow))
        tables.ends.extend((End(0), End(1)))
        book.free_flow = len(tables.flows) - 1
        book.free_flows += 1
    while book.free_timers < timers:
        tables.timers.append(Timer(newer=book.free_timer))
        tables.heap.append(0)
        book.free_timer = len(tables.timers) - 1
        book.free_timers += 1


def note(tables: Tables, time: int, row: int, old: int, new: int, trigger: int, certainty: int) -> None:
    """Log a change of the connection being judged."""
    book = tables.book[0]
    flow = tables.flows[book.number]
    tables.log.append(
        (
            book.place, book.number, flow.stream, time, row, old, new, trigger, certainty,
            flow.src_hi, flow.src_lo, flow.sport, flow.dst_hi, flow.dst_lo, flow.dport, flow.client,
        )
    )  # fmt: skip


def note_late(tables: Tables, timer: Timer, trigger: int, certainty: int, closed: int) -> None:
    """Log that the timer ran out of a connection that was given up: its end is now in the state ``closed``."""
    tables.log.append(
        (
            -1, 0, timer.stream, timer.due, timer.place, timer.state, closed, trigger, certainty,
            timer.src_hi, timer.src_lo, timer.sport, timer.dst_hi, timer.dst_lo, timer.dport, timer.client,
        )
    )  # fmt: skip


def logged(tables: Tables) -> int:
    """How many entries the log has."""
    return len(tables.log)


def room(tables: Tables) -> bool:
    """Whether the log takes the changes of one more segment."""
    return True


def blank(tables: Tables, number: int) -> None:
    """Make a connection's three rows new."""
    tables.flows[number] = Known()
    tables.ends[2 * number] = End(0)
    tables.ends[2 * number + 1] = End(1)
