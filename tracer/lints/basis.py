"""What all lints stand on: a finding, the limits from which on something is worth a word, ways to read a timeline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from tracer.events import NUMBER
from tracer.kinds import Evidence
from tracer.timeline import Event, Timeline

SECOND: Final = 1_000_000_000


class Finding(NamedTuple):
    """One thing found."""

    lint: str
    """Name of the row."""
    order: int
    """Of the event that shows it."""
    conn: int
    """Its connection; 0 where it is about a listener or a process."""
    words: str
    """What is so, one sentence."""
    evidence: Evidence


@dataclass(frozen=True)
class Limits:
    """From when on something is more than the ordinary course of things. Times in ns."""

    close_wait: int = 5 * SECOND
    """In CLOSE-WAIT: a program that has been told end-of-file normally closes within milliseconds."""
    leak: int = 10
    """Descriptors of one process that are in CLOSE-WAIT for longer than that, all at once."""
    zero_window: int = SECOND
    unaccepted: int = 2 * SECOND
    """In the accept queue."""
    timewait_pile: int = 2000
    """TIME_WAIT objects at once towards one address and port; ports for clients are 28,232 by default."""
    stall: int = 30_000_000
    """Small data held back: TCP_DELACK_MIN is 40 ms (include/net/tcp.h), no program wants that between two writes."""
    spin: int = 100
    """Returns of epoll_wait() in a row for a socket that nobody touches."""
    lost_edge: int = SECOND
    """Bytes unread while the reader waits for an edge."""


def events(timeline: Timeline, *names: str) -> Iterator[Event]:
    """All events of these kinds, in order."""
    parts = [timeline.indices("kind", NUMBER[name]) for name in names]
    for order in np.sort(np.concatenate(parts)).tolist():
        yield timeline[order]


def end_of(timeline: Timeline) -> int:
    """ns, of the last event."""
    return timeline[len(timeline) - 1].time if len(timeline) else 0


def found(name: str, event: Event, words: str) -> Finding:
    """A finding that the event shows."""
    return Finding(name, event.order, event.conn, words, event.evidence)
