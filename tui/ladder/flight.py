"""What became of a segment, and where it came from, asked of the columns: for rows that are made without all others.

The fold that makes rows keeps the segments that are under way (tui.ladder.rows). Where it did not begin at the
beginning, the same is found by looking back or ahead for segments of the same connection, side and sequence number.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Final

import numpy as np

from tracer.events import NUMBER, PACKETS
from tracer.relevant import Orders, among
from tracer.replay.analysis import RETRANSMISSION
from tracer.timeline import Event, Timeline

REACH: Final = 1 << 16
"""Events looked at to either side: more are not under way between two."""
FIRST: Final = 512
"""Events looked at first; four times as many each time."""
_NAMES: Final = {number: name for name, number in NUMBER.items() if number in PACKETS or name == "network:dropped"}
_TELLS: Final = among(_NAMES)
_KEY: Final = ("seq", "ack", "flags", "length")


class Fate(Enum):
    """What became of a segment that was seen to leave, as far as is known."""

    OPEN = 0
    SETTLED = 1
    """It arrived, or the same left again: nobody can say any more that it was lost."""
    LOST = 2
    """It had to be sent again before it was seen to arrive."""
    DROPPED = 3
    """A wire is known to have lost it."""


def fate(timeline: Timeline, segment: Event, limit: int) -> Fate:
    """What became of a segment that left, by the events below order ``limit``."""
    start, step = segment.order + 1, FIRST
    stop = min(limit, start + REACH)
    while start < stop:
        for order in _alike(timeline, segment, start, min(start + step, stop)).tolist():
            event = timeline[order]
            same = all(event[name] == segment[name] for name in _KEY)
            if same and event.name == "network:dropped":
                return Fate.DROPPED
            if same and event.name == "packet:received":
                return Fate.SETTLED
            if event.number in PACKETS and event["analysis"] & RETRANSMISSION:
                return Fate.LOST
            if same and event.name == "packet:sent":
                return Fate.SETTLED
        start, step = start + step, step * 4
    return Fate.OPEN


def under_way(timeline: Timeline, arrival: Event) -> bool:
    """Whether the segment that arrives was seen to leave, and has not arrived before."""
    for order in _before(timeline, arrival):
        event = timeline[order]
        if all(event[name] == arrival[name] for name in _KEY) and event.name != "packet:captured":
            return event.name == "packet:sent"
    return False


def _before(timeline: Timeline, segment: Event) -> Iterator[int]:
    stop, step, least = segment.order, FIRST, max(segment.order - REACH, 0)
    while stop > least:
        start = max(stop - step, least)
        yield from _alike(timeline, segment, start, stop)[::-1].tolist()
        stop, step = start, step * 4


def _alike(timeline: Timeline, segment: Event, start: int, stop: int) -> Orders:
    """Orders in start..stop of what is told of segments of that connection, side and sequence number."""
    found, seq = [], segment["seq"]
    for heads in timeline.heads(start, stop):
        places = np.flatnonzero((heads["conn"] == segment.conn) & (heads["side"] == segment.side))
        kinds = heads["kind"][places]
        places, kinds = places[_TELLS[kinds]], kinds[_TELLS[kinds]]
        for kind in np.unique(kinds).tolist():
            mine = places[kinds == kind]
            rows = heads["row"][mine].astype(np.int64)
            first = int(rows[0])
            values = timeline.field(_NAMES[kind], "seq", first, int(rows[-1]) + 1 - first)
            found.append(mine[values[rows - first] == seq] + start)
        start += len(heads)
    return np.sort(np.concatenate(found)) if found else np.zeros(0, np.int64)
