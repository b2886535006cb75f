"""Rewind: the world after any event.

Folding from the beginning is exact and, for a long timeline, slow; so a copy of the world is kept every so many events
and a question is answered from the last copy before it. Records are shared between copies (tracer.world), so a copy
costs what its dicts weigh. The distance between copies grows with the timeline, which bounds their number.

A history may be that of one connection: then only the events that can matter to it are folded (its own, those of the
listener it came through, and what the processes that own its ends did outside of other connections), and a timeline of
a million events rewinds as fast as the connection is long.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tracer.events import NUMBER
from tracer.kinds import KINDS, Lane, Side
from tracer.states import State
from tracer.timeline import Timeline
from tracer.world import World

SPACING: Final = 256
"""Events between two kept copies at first."""
COPIES: Final = 512
"""Copies kept at most; past that every second one goes and the spacing doubles."""

_ALWAYS: Final = np.array([NUMBER[kind.name] for kind in KINDS if kind.lane == Lane.TRACE or "actor" in kind.name])
_CALLS: Final = frozenset({NUMBER["syscall:enter"], NUMBER["syscall:exit"]})
_ACTORS: Final = {"client": Side.CLIENT, "server": Side.SERVER}


class Relevant:
    """Orders of the events that can matter to one connection, extended as the timeline grows."""

    def __init__(self, timeline: Timeline, conn: int) -> None:
        self._timeline, self._conn = timeline, conn
        self.pids: dict[int, Side] = {}
        """The processes that work on the connection or on its listener, and which end is theirs."""
        self._listeners: set[int] = set()
        self._sockets: set[int] = set()
        """Its own sockets: what was done with them before they were connected belongs to it too."""
        self._done = self._met = 0
        self._orders: NDArray[np.int64] = np.zeros(0, np.int64)

    def orders(self) -> NDArray[np.int64]:
        """All of them up to now, ascending. Looked for again from the start when another process joins in."""
        count = len(self._timeline)
        if self._meet(count):
            self._done, self._orders = 0, np.zeros(0, np.int64)
        if self._done < count:
            parts, at = [self._orders], self._done
            for heads in self._timeline.heads(self._done, count):
                mine = heads["conn"] == self._conn
                free = heads["conn"] == 0
                if self.pids:
                    theirs = np.isin(heads["pid"], list(self.pids))
                    mine |= free & theirs & (heads["sock"] == 0)
                if self._listeners or self._sockets:
                    mine |= free & np.isin(heads["sock"], [*self._listeners, *self._sockets])
                mine |= np.isin(heads["kind"], _ALWAYS)
                parts.append(np.flatnonzero(mine) + at)
                at += len(heads)
            self._orders, self._done = np.concatenate(parts), count
        return self._orders

    def _meet(self, count: int) -> bool:
        """Find the processes and listeners of the connection; True when there are new ones."""
        before = len(self.pids) + len(self._listeners) + len(self._sockets)
        listening: set[int] = set()
        for order in self._new(self._timeline.indices("conn", self._conn)):
            event = self._timeline[order]
            if event.sock:
                self._sockets.add(event.sock)
            if event.number in _CALLS and event.ctx == 0 and event.side:
                self.pids.setdefault(event.pid, event.side)
            elif event.name == "request:born":
                listening.add(event["listener"])
        for order in self._new(self._timeline.indices("kind", NUMBER["actor:step"])):
            event = self._timeline[order]
            if event["actor"] in _ACTORS:  # what a scenario calls its actors says which end they play
                self.pids.setdefault(event.pid, _ACTORS[event["actor"]])
        if listening:
            self._meet_listeners(listening)
        self._met = count
        return len(self.pids) + len(self._listeners) + len(self._sockets) > before

    def _new(self, orders: NDArray[np.int64]) -> list[int]:
        return [int(order) for order in orders[np.searchsorted(orders, self._met) :]]

    def _meet_listeners(self, addresses: set[int]) -> None:
        """Sockets that listened at those kernel addresses, and the processes that own them."""
        found = set()
        for order in self._timeline.indices("kind", NUMBER["socket:state"]).tolist():
            event = self._timeline[order]
            if event.conn == 0 and event.addr in addresses and event["new"] == State.LISTEN:
                found.add(event.sock)
        for sock in found - self._listeners:
            for order in self._timeline.indices("sock", sock).tolist():
                event = self._timeline[order]
                if event.number in _CALLS:
                    self.pids.setdefault(event.pid, Side.SERVER)
        self._listeners |= found


class History:
    """The worlds of a timeline, of all of it or of one connection's part."""

    def __init__(self, timeline: Timeline, conn: int | None = None) -> None:
        self._timeline = timeline
        self._relevant = None if conn is None else Relevant(timeline, conn)
        self._orders: NDArray[np.int64] = np.zeros(0, np.int64)
        self._spacing = SPACING
        self._kept: list[tuple[int, World]] = [(0, World())]
        """(events folded, the world after them), ascending."""

    def at(self, order: int) -> World:
        """The world just after event ``order`` (-1: before any). The caller may keep it, but not change it."""
        if self._relevant is None:
            wanted = min(order + 1, len(self._timeline))
        else:
            orders = self._relevant.orders()
            if len(orders) < len(self._orders) or not np.array_equal(orders[: len(self._orders)], self._orders):
                del self._kept[1:]  # another process has joined in: what was folded lacks its events
            self._orders = orders
            wanted = int(np.searchsorted(orders, order, side="right"))
        place = bisect_right(self._kept, wanted, key=lambda kept: kept[0]) - 1
        folded, base = self._kept[place]
        world = base.copy()
        newest = self._kept[-1][0]
        for number in range(folded, wanted):
            world.apply(self._timeline[number if self._relevant is None else int(self._orders[number])])
            if number + 1 >= newest + self._spacing:
                newest = number + 1
                self._keep(newest, world)
        return world

    def _keep(self, folded: int, world: World) -> None:
        self._kept.append((folded, world.copy()))
        if len(self._kept) > COPIES:
            self._kept[1:] = self._kept[2::2]
            self._spacing *= 2
