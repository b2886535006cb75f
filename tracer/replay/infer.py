"""The states of both ends of every connection, from packets alone.

The rules (``infer_rules``) judge a segment between two rows; ``infer_book`` finds the rows, keeps the time and gives
up what is over; this module tells what came of it. Time is whatever the segments say, or an argument: TIME_WAIT ends
when a segment of any connection, or ``advance``, passes its end.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from numpy.typing import NDArray

from tracer.replay import infer_book, infer_tables
from tracer.replay.infer_lives import Life
from tracer.replay.infer_rows import Change
from tracer.replay.infer_rules import CORRECTED
from tracer.replay.infer_tables import FORGOTTEN, Entry, Tables

_COLUMNS: Final = (
    "src_hi", "src_lo", "sport", "dst_hi", "dst_lo", "dport",
    "time", "seq", "ack", "flags", "length", "window", "wscale",
)  # fmt: skip
_M64: Final = (1 << 64) - 1

Endpoint = tuple[int, int, int]
"""Address (two halves) and port."""


class Ending(NamedTuple):
    """Where an end is, or was when its connection was given up."""

    state: int
    """tracer.states.State"""
    certainty: int
    """tracer.kinds.Certainty"""


class Pair:
    """Both ends of one connection. Row 0 is the end whose address and port sort first, whoever opened."""

    __slots__ = ("_inference", "client", "left", "lives", "number", "points", "stream", "told")

    def __init__(
        self, inference: Inference, number: int, stream: int, points: tuple[Endpoint, Endpoint], client: int
    ) -> None:
        self._inference = inference
        self.left: tuple[Ending, Ending] | None = None
        """Where both ends were when it was given up."""
        self.number = number
        """Where the inference keeps its rows, while it does."""
        self.stream = stream
        self.points = points
        self.client = client
        """The row that opened, or was seen first."""
        self.lives = (Life(), Life())
        self.told = False
        """Whether its lives have been told of, for who keeps the pair until then."""

    @property
    def ends(self) -> tuple[Ending, Ending]:
        """Both ends as they are now, or were when the connection was given up."""
        return self.left or self._inference.ends(self.number)

    def leave(self, last: tuple[Ending, Ending]) -> None:
        """The rows have been given up."""
        self.left = last


class Found(NamedTuple):
    """One change of state and where it belongs."""

    place: int
    """Number of the segment that led to it, as given; -1 for a timer."""
    pair: Pair
    change: Change


class Inference:
    """Infers states; feed it all segments in the order of the capture."""

    def __init__(self) -> None:
        self._tables: Tables = infer_tables.empty()
        self._pairs: dict[int, Pair] = {}

    def __len__(self) -> int:
        """Connections remembered."""
        return self._tables.book[0].kept

    def pair(self, stream: int) -> Pair | None:
        """A connection of which anything was inferred; None when it is not (or no longer) known."""
        return self._pairs.get(stream)

    def ends(self, number: int) -> tuple[Ending, Ending]:
        """Both ends of the connection with these rows."""
        one, other = self._tables.ends[2 * number], self._tables.ends[2 * number + 1]
        return Ending(one.state, one.certainty), Ending(other.state, other.certainty)

    def segment(
        self, index: int, stream: int, source: Endpoint, target: Endpoint, time: int, seq: int, ack: int, flags: int,
        length: int, window: int, wscale: int,
    ) -> list[Found]:  # fmt: skip
        """Judge one segment of connection ``stream``, seen at ``time`` (ns since the Unix epoch).

        ``window`` is as in the header, ``wscale`` the SYN's shift or -1. Returns the changes in order; those of timers
        that ran out before ``time`` come first. ``index`` is handed back with each change.
        """
        tables = self._tables
        book = tables.book[0]
        if book.free_flows < 1 or book.free_timers < 16:
            infer_tables.reserve(tables)
        if book.armed or book.listed:
            infer_book.advance(tables, time)
        if source <= target:
            infer_book.judge(
                tables, index, stream, 0, *source, *target, time, seq, ack, flags, length, window, wscale
            )  # fmt: skip
        else:
            infer_book.judge(
                tables, index, stream, 1, *target, *source, time, seq, ack, flags, length, window, wscale
            )  # fmt: skip
        return self._take() if tables.log else []

    def feed(self, rows: NDArray[Any], streams: NDArray[Any], first: int = 0) -> list[Found]:
        """Judge rows of SEGMENT that belong to the connections ``streams``; ``first`` is the index of the first row."""
        columns = [rows[name].tolist() for name in _COLUMNS]
        found: list[Found] = []
        for index, (stream, row) in enumerate(zip(streams.tolist(), zip(*columns, strict=True), strict=True), first):
            found += self.segment(index, stream, row[0:3], row[3:6], *row[6:])
        return found

    def advance(self, now: int) -> list[Found]:
        """Let time pass: the changes of timers that run out up to ``now`` (ns), oldest first."""
        infer_tables.reserve(self._tables, 0)
        infer_book.advance(self._tables, now)
        return self._take()

    def _take(self) -> list[Found]:
        found = self._told(self._tables.log)
        self._tables.log.clear()
        return found

    def _told(self, entries: Iterable[Entry]) -> list[Found]:
        """What the log says, in terms of pairs."""
        found: list[Found] = []
        pairs = self._pairs
        for (
            place, number, stream, time, row, old, new, trigger, certainty, a_hi, a_lo, a_port, b_hi, b_lo, b_port,
            client,
        ) in entries:  # fmt: skip
            pair = pairs.get(stream)
            if trigger == FORGOTTEN:
                if pair is not None:
                    pair.leave((Ending(old, certainty & 3), Ending(new, certainty >> 2)))
                    del pairs[stream]
                continue
            if pair is None:
                points = ((a_hi & _M64, a_lo & _M64, a_port), (b_hi & _M64, b_lo & _M64, b_port))
                pair = Pair(self, number, stream, points, client)
                if number:  # else only its timer was left
                    pairs[stream] = pair
            pair.lives[row].change(time, old, new, corrected=certainty == CORRECTED)
            found.append(Found(place, pair, Change(time, row, old, new, trigger, certainty)))
        return found
