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
from tracer.kinds import KINDS, Lane
from tracer.timeline import Timeline
from tracer.world import World

SPACING: Final = 256
"""Events between two kept copies at first."""
COPIES: Final = 512
"""Copies kept at most; past that every second one goes and the spacing doubles."""

_ALWAYS: Final = np.array([NUMBER[kind.name] for kind in KINDS if kind.lane == Lane.TRACE or "actor" in kind.name])
_CALLS: Final = np.array([NUMBER["syscall:enter"], NUMBER["syscall:exit"]])


class Relevant:
    """Orders of the events that can matter to one connection, extended as the timeline grows."""

    def __init__(self, timeline: Timeline, conn: int) -> None:
        self._timeline, self._conn = timeline, conn
        self._pids: set[int] = set()
        self._listeners: set[int] = set()
        self._done = 0
        self._orders: NDArray[np.int64] = np.zeros(0, np.int64)

    def orders(self) -> NDArray[np.int64]:
        """All of them up to now, ascending. Looked for again from the start when another process joins in."""
        count = len(self._timeline)
        if self._meet():
            self._done, self._orders = 0, np.zeros(0, np.int64)
        if self._done < count:
            parts, at = [self._orders], self._done
            for heads in self._timeline.heads(self._done, count):
                mine = heads["conn"] == self._conn
                free = heads["conn"] == 0
                if self._pids:
                    mine |= free & np.isin(heads["pid"], list(self._pids)) & (heads["sock"] == 0)
                if self._listeners:
                    mine |= free & np.isin(heads["sock"], list(self._listeners))
                mine |= np.isin(heads["kind"], _ALWAYS)
                parts.append(np.flatnonzero(mine) + at)
                at += len(heads)
            self._orders, self._done = np.concatenate(parts), count
        return self._orders

    def _meet(self) -> bool:
        """Find the processes and listeners of the connection; True when there are new ones."""
        before = len(self._pids) + len(self._listeners)
        ports: set[int] = set()
        for order in self._timeline.indices("conn", self._conn).tolist():
            if order < self._done:
                continue
            event = self._timeline[order]
            if event.number in _CALLS:
                self._pids.add(event.pid)
            if event.name == "request:born":
                ports.add(event["listener"])
        if ports:
            for name in ("accept:queued", "accept:taken", "socket:state"):
                for order in self._timeline.indices("kind", NUMBER[name]).tolist():
                    event = self._timeline[order]
                    if event.conn == 0 and event.addr in ports:
                        self._listeners.add(event.sock)
        return len(self._pids) + len(self._listeners) > before


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
