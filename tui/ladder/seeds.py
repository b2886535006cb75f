"""What the lanes of a ladder say at any event of a connection, without all the rows before it.

A row carries on what was said last: both states, the number a sequence counts from, what a buffer held. Few events tell
of that, and columns find them, so they alone are folded, once. From such a seed rows can be made anywhere.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.events import NUMBER, PACKETS
from tracer.kinds import Evidence, Side
from tracer.relevant import Orders, Relevant, among
from tracer.segments import SYN
from tracer.timeline import Timeline
from tui.ladder.parts import End, Memory, Row
from tui.ladder.placing import other
from tui.ladder.rows import Rows

OPENING: Final = 64
"""First segments of a connection among which its SYNs are looked for: from them the sequence numbers are counted."""
BEFORE: Final = 8
"""Events before one that are asked for the time: in a capture it may step back."""
LISTENED: Final = 4
"""Looks at a buffer that are asked what it held."""
_RECEIVED: Final = NUMBER["packet:received"]
_STATES: Final = among(
    NUMBER[kind] for kind in ("socket:state", "request:born", "timewait:born", "timewait:expired", "timewait:cancelled")
)
_IS_PACKET: Final = among(PACKETS)
_BUFFERS: Final = among([NUMBER["socket:readable"], NUMBER["socket:queues"]])
_BOTH: Final = (Side.CLIENT, Side.SERVER)


class Seeds:
    """Memories of a connection, by order."""

    def __init__(self, timeline: Timeline, relevant: Relevant) -> None:
        self._timeline, self._relevant = timeline, relevant
        self.restart()

    def restart(self) -> None:
        """Other events belong to it now."""
        self._done = self._packets = 0
        self._fold = Rows(self._relevant.pids)
        self._orders: list[int] = []
        self._known: list[Memory] = []
        """What is known behind each of these events."""
        self._buffers: dict[Side, list[Orders]] = {side: [] for side in _BOTH}
        self._watched: dict[Side, int] = {}

    def refresh(self, orders: Orders) -> None:
        """Take in the connection's events that are new; earlier ones are what they were."""
        new = orders[self._done :]
        if not len(new):
            return
        kinds, sides = self._timeline.at("kind", new), self._timeline.at("side", new)
        packets = np.flatnonzero(_IS_PACKET[kinds])[: max(OPENING - self._packets, 0)]
        states = np.flatnonzero(_STATES[kinds])
        self._watch(new, kinds, sides, states)
        for side in _BOTH:
            looks = new[_BUFFERS[kinds] & (sides == side)]
            if len(looks):
                self._buffers[side].append(looks)
        for at in np.union1d(packets, states).tolist():
            event = self._timeline[int(new[at])]
            if event.number in PACKETS:
                self._packets += 1
                if self._packets > 1 and not event["flags"] & SYN:
                    continue  # the first one counts, whatever it is: the connection may be older than the trace
            self._fold.add(event)
            self._orders.append(event.order)
            self._known.append(_lasting(self._fold.memory))
        self._done = len(orders)

    def _watch(self, new: Orders, kinds: NDArray[Any], sides: NDArray[Any], states: NDArray[Any]) -> None:
        """Which ends somebody watches, and from when on (tui.ladder.rows)."""
        if len(self._watched) == len(_BOTH):
            return
        seen = states[self._timeline.at("evidence", new[states]) == Evidence.OBSERVED]
        for side in _BOTH:
            came = np.flatnonzero((kinds == _RECEIVED) & (sides == other(side)))[:1]
            moved = seen[(sides[seen] == side) | ((sides[seen] == Side.NONE) & (side == Side.SERVER))][:1]
            if len(came) or len(moved):
                self._watched.setdefault(side, int(new[min([*came.tolist(), *moved.tolist()])]))

    def watched(self, side: Side, limit: int) -> bool:
        """Whether that end is known to be watched by the events below order ``limit``."""
        return self._watched.get(side, limit) < limit

    def states(self, order: int) -> Memory:
        """What is known of states and sequence numbers just before event ``order``."""
        at = bisect_left(self._orders, order) - 1
        return self._known[at].copy() if at >= 0 else Memory()

    def at(self, place: int, orders: Orders) -> Memory:
        """What is known just before the event that has that place among the connection's ``orders``."""
        order = int(orders[place])
        memory = self.states(order)
        if place:
            memory.last = int(self._timeline.at("time", orders[max(place - BEFORE, 0) : place]).max())
        for side in _BOTH:
            self._recall(memory, side, order)
        return memory

    def _recall(self, memory: Memory, side: Side, order: int) -> None:
        """What that side's buffers held."""
        asked, nothing = Rows(self._relevant.pids), "?"
        for looks in reversed(self._buffers[side]):
            for found in looks[: np.searchsorted(looks, order)][: -LISTENED - 1 : -1].tolist():
                asked.memory.queues[side] = nothing
                asked.add(self._timeline[found])
                if asked.memory.queues[side] != nothing:
                    memory.queues[side] = asked.memory.queues[side]
                    return

    def present(self, now: int) -> Row | None:
        """What is going on at ``now`` (ns) behind all events (tui.ladder.placing)."""
        return self._fold.present(now)


def _lasting(memory: Memory) -> Memory:
    """What goes on: states, numbers, timers; not what was said in one row alone."""
    client, server = (End(state=end.state, mark=end.mark) for end in (memory.client, memory.server))
    return replace(memory.copy(), client=client, server=server, segments={}, calls={}, queues={}, last=0)
