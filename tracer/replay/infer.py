"""The states of both ends of every connection, from packets alone.

The rules (``infer_rules``) judge a segment between two rows; this module finds the rows, keeps the time and tells what
came of it. Time is whatever the segments say, or an argument: TIME_WAIT ends when a segment of any connection, or
``advance``, passes its end. A connection whose ends are both closed is kept for a while, because stragglers would
otherwise look like a connection seen from the middle, and then forgotten: memory follows what is open, not what was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from tracer.replay.infer_rows import Change, End, before
from tracer.replay.infer_rules import (
    CERTAIN,
    CLOSE,
    CONNECT,
    PROVISIONAL,
    RCV_SYN,
    TIME_WAIT,
    TIMEWAIT_TIMEOUT,
    UNKNOWN,
    UNSEEN,
    _move,
    segment,
)
from tracer.segments import ACK, SYN

LINGER = 120_000_000_000
"""ns that a closed connection is remembered, for segments that come late (RFC 9293 section 3.4.2: MSL)."""


class Found(NamedTuple):
    """One change of state and where it belongs."""

    index: int
    """Number of the segment that led to it, as given to ``segment``; -1 for a timer."""
    stream: int
    """Number of the connection, as given."""
    change: Change
    pair: Pair


class Pair:
    """Both ends of one connection."""

    __slots__ = ("closed", "ends", "key", "stream")

    def __init__(self, stream: int, key: object) -> None:
        self.stream, self.key = stream, key
        self.ends = (End(0), End(1))
        self.closed = 0
        """When both ends were found closed; 0 while one is not."""


class Inference:
    """Infers states; feed it all segments in the order of the capture."""

    def __init__(self) -> None:
        self._pairs: dict[int, Pair] = {}
        self._by_key: dict[object, Pair] = {}
        self._timers: deque[tuple[int, Pair, End]] = deque()
        self._over: deque[tuple[int, Pair]] = deque()
        self._log: list[Change] = []

    def __len__(self) -> int:
        """Connections remembered."""
        return len(self._pairs)

    def pair(self, stream: int) -> Pair | None:
        """The rows of a connection, None when it is not (or no longer) known."""
        return self._pairs.get(stream)

    def segment(
        self, index: int, stream: int, sender: int, key: object, time: int, seq: int, ack: int, flags: int,
        length: int, window: int, wscale: int,
    ) -> list[Found]:  # fmt: skip
        """Judge one segment that end ``sender`` (0 or 1) of connection ``stream`` has sent at ``time`` (ns).

        ``key`` names the addresses and ports, the same for both directions and for every connection that uses them.
        Returns the changes in order, those of timers that ran out before ``time`` first.
        """
        found = self.advance(time) if self._timers or self._over else []
        pair = self._pairs.get(stream)
        if pair is None:
            pair = self._begin(stream, key)
        log = self._log
        before_it = self._by_key.get(key)
        if before_it is not pair and before_it is not None and flags & SYN:
            self._supersede(before_it, sender, time, seq, flags, found, index)
            if flags & ACK or not before_it.closed:
                pass
        ends = pair.ends
        segment(ends[sender], ends[1 - sender], log, time, seq, ack, flags, length, window, wscale)
        if log:
            found += [Found(index, stream, change, pair) for change in log]
            log.clear()
            self._watch(pair, time)
        return found
