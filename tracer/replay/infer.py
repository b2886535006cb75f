"""The states of both ends of every connection, from packets alone.

The rules (``infer_rules``) judge a segment between two rows; this module finds the rows, keeps the time and tells what
came of it. Time is whatever the segments say, or an argument: TIME_WAIT ends when a segment of any connection, or
``advance``, passes its end. A connection whose ends are both closed is kept for a while, because stragglers would
otherwise look like a connection seen from the middle, and is then forgotten: memory follows what is open.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import Any, Final, NamedTuple

from numpy.typing import NDArray

from tracer.replay.infer_lives import Life
from tracer.replay.infer_rows import UNSEEN, Change, End, before
from tracer.replay.infer_rules import (
    CERTAIN,
    CLOSE,
    CONNECT,
    CORRECTED,
    PROVISIONAL,
    RCV_SYN,
    TIME_WAIT,
    TIMEOUT,
    TIMEWAIT_TIMEOUT,
    UNKNOWN,
    move,
    segment,
)
from tracer.segments import ACK, SYN

LINGER = 120_000_000_000
"""ns that a closed connection is remembered, for segments that come late (the MSL of RFC 9293 section 3.4.2)."""

_COLUMNS: Final = (
    "src_hi", "src_lo", "sport", "dst_hi", "dst_lo", "dport",
    "time", "seq", "ack", "flags", "length", "window", "wscale",
)  # fmt: skip

Endpoint = tuple[int, int, int]
"""Address (two halves) and port."""


class Pair:
    """Both ends of one connection. Row 0 is the end whose address and port sort first, whoever opened."""

    __slots__ = ("client", "closed", "ends", "lives", "points", "stream")

    def __init__(self, stream: int, points: tuple[Endpoint, Endpoint]) -> None:
        self.stream = stream
        self.points = points
        self.ends = (End(0), End(1))
        self.lives = (Life(), Life())
        self.client = 0
        """The row that opened, or was seen first."""
        self.closed = 0
        """When both ends were found closed; 0 while one is not."""


class Found(NamedTuple):
    """One change of state and where it belongs."""

    place: int
    """Number of the segment that led to it, as given; -1 for a timer."""
    pair: Pair
    change: Change


class Inference:
    """Infers states; feed it all segments in the order of the capture."""

    def __init__(self) -> None:
        self._pairs: dict[int, Pair] = {}
        self._latest: dict[tuple[Endpoint, Endpoint], Pair] = {}
        self._timers: list[tuple[int, int, Pair, int]] = []
        self._armed = 0
        self._over: deque[tuple[int, Pair]] = deque()
        self._log: list[Change] = []

    def __len__(self) -> int:
        """Connections remembered."""
        return len(self._pairs)

    def pair(self, stream: int) -> Pair | None:
        """The rows of a connection; None when it is not (or no longer) known."""
        return self._pairs.get(stream)

    def segment(
        self, index: int, stream: int, source: Endpoint, target: Endpoint, time: int, seq: int, ack: int, flags: int,
        length: int, window: int, wscale: int,
    ) -> list[Found]:  # fmt: skip
        """Judge one segment of connection ``stream``, seen at ``time`` (ns since the Unix epoch).

        ``window`` is as in the header, ``wscale`` the SYN's shift or -1. Returns the changes in order; those of timers
        that ran out before ``time`` come first. ``index`` is handed back with each change.
        """
        found = self.advance(time) if self._timers or self._over else []
        points = (source, target) if source <= target else (target, source)
        sender = 0 if source <= target else 1
        pair = self._pairs.get(stream) or self._begin(stream, points, sender, flags)
        log = self._log
        if flags & SYN:
            earlier = self._latest.setdefault(points, pair)
            if earlier is not pair:
                supersede(earlier.ends[sender], earlier.ends[1 - sender], log, time, seq, flags)
                self._take(found, index, earlier, time)
                if earlier.closed:
                    self._latest[points] = pair
        ends = pair.ends
        segment(ends[sender], ends[1 - sender], log, time, seq, ack, flags, length, window, wscale)
        if log:
            self._take(found, index, pair, time)
        return found

    def feed(self, rows: NDArray[Any], streams: NDArray[Any], first: int = 0) -> list[Found]:
        """Judge rows of SEGMENT that belong to the connections ``streams``; ``first`` is the index of the first row."""
        columns = [rows[name].tolist() for name in _COLUMNS]
        found: list[Found] = []
        for index, (stream, row) in enumerate(zip(streams.tolist(), zip(*columns, strict=True), strict=True), first):
            found += self.segment(index, stream, row[0:3], row[3:6], *row[6:])
        return found

    def advance(self, now: int) -> list[Found]:
        """Let time pass: the changes of timers that run out up to ``now`` (ns), oldest first."""
        found: list[Found] = []
        timers, log = self._timers, self._log
        while timers and timers[0][0] <= now:
            due, _, pair, row = heapq.heappop(timers)
            end = pair.ends[row]
            if end.timer > due:
                self._arm(pair, end)
            elif end.timer == due and end.state != CLOSE:
                trigger = TIMEWAIT_TIMEOUT if end.state == TIME_WAIT else TIMEOUT
                move(end, CLOSE, trigger, PROVISIONAL, log, due)
                self._take(found, -1, pair, due)
        while self._over and now - self._over[0][0] > LINGER:
            since, pair = self._over.popleft()
            if pair.closed == since:
                self._pairs.pop(pair.stream, None)
                if self._latest.get(pair.points) is pair:
                    del self._latest[pair.points]
        return found

    def _begin(self, stream: int, points: tuple[Endpoint, Endpoint], sender: int, flags: int) -> Pair:
        pair = self._pairs[stream] = Pair(stream, points)
        pair.client = 1 - sender if flags & SYN and flags & ACK else sender
        earlier = self._latest.setdefault(points, pair)
        if flags & SYN:
            state = earlier.ends[1 - sender].state
            pair.ends[1 - sender].before = 0 if state == CLOSE else state
        return pair

    def _take(self, found: list[Found], index: int, pair: Pair, time: int) -> None:
        """Hand over what the rules have logged, and keep the clocks."""
        for change in self._log:
            found.append(Found(index, pair, change))
            corrected = change.certainty == CORRECTED
            pair.lives[change.row].change(change.time, change.old, change.new, corrected=corrected)
            end = pair.ends[change.row]
            if end.timer and change.new == end.state:
                self._arm(pair, end)
        self._log.clear()
        one, other = pair.ends
        if one.state in (CLOSE, UNKNOWN) and other.state in (CLOSE, UNKNOWN):
            if not pair.closed:
                pair.closed = time
                self._over.append((time, pair))
        else:
            pair.closed = 0

    def _arm(self, pair: Pair, end: End) -> None:
        self._armed += 1  # breaks ties, so that rows are never compared
        heapq.heappush(self._timers, (end.timer, self._armed, pair, end.row))


def supersede(s: End, r: End, log: list[Change], time: int, seq: int, flags: int) -> None:
    """A SYN from ``s`` to ``r`` begins a new connection on the addresses and ports of this one.

    Who sends a SYN or SYN-ACK has no other connection there. Who receives a SYN gives up a TIME_WAIT for it if the SYN
    is new (RFC 9293 section 3.6.1; tcp_timewait_state_process()); in any other state it would send a challenge ACK.
    """
    if s.state not in (CLOSE, UNKNOWN):
        trigger = UNSEEN
        if s.state == TIME_WAIT:
            trigger = RCV_SYN if flags & ACK else CONNECT
        move(s, CLOSE, trigger, CERTAIN, log, time)
    if r.state == TIME_WAIT and not flags & ACK and before(s.top, seq):
        move(r, CLOSE, RCV_SYN, PROVISIONAL, log, time)
