"""Rewind: the world after any event.

Folding from the beginning is exact and, for a long timeline, slow; so a copy of the world is kept every so many events
and a question is answered from the last copy before it. Copies share their records and pages (tracer.pages), so one
costs what has changed since the one before. The distance between copies grows with the timeline, which bounds their
number. Only events that can change the answer are folded at all (tracer.relevant): a history of one connection rewinds
as fast as the connection is long, however much else is on the timeline.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

import numpy as np

from tracer.relevant import Beside, Changing, Orders, merged
from tracer.relevant import Relevant as Relevant
from tracer.timeline import Timeline
from tracer.world import World

SPACING: Final = 256
"""Events between two kept copies at first."""
COPIES: Final = 512
"""Copies kept at most; past that every second one goes and the spacing doubles."""


class History:
    """The worlds of a timeline, of all of it or of one connection's part. For one thread."""

    def __init__(self, timeline: Timeline, conn: int | None = None, changing: Changing | None = None) -> None:
        """``changing``: what changes any world, where somebody follows that already."""
        self._timeline = timeline
        self._changing = changing or Changing(timeline)
        self._relevant = None if conn is None else Relevant(timeline, conn)
        self._beside = None if self._relevant is None else Beside(timeline, self._relevant)
        self._orders: Orders = np.zeros(0, np.int64)
        self._count = 0
        """Length of the timeline when ``_orders`` were found."""
        self._spacing = SPACING
        self._kept: list[tuple[int, World]] = [(0, World())]
        """(events folded, the world after them), ascending."""
        self._last: tuple[int, World] = self._kept[0]
        """The same for the last answer: the next question is most often about the next event."""

    def at(self, order: int) -> World:
        """The world just after event ``order`` (-1: before any). The caller may keep it, but not change it."""
        if self._count < len(self._timeline):
            self._extend()
        orders = self._orders
        wanted = int(np.searchsorted(orders, order, side="right"))
        folded, base = self._nearest(wanted)
        world = base.copy()
        newest = self._kept[-1][0]
        for place, number in enumerate(orders[folded:wanted].tolist(), folded + 1):
            world.apply(self._timeline[number])
            if place >= newest + self._spacing:
                newest = place
                self._keep(newest, world)
        self._last = (wanted, world.copy())
        return world

    def stages(self, order: int, every: int) -> list[int]:
        """Orders on the way to the world after ``order``, ``every`` so many events to fold from one to the next."""
        if self._count < len(self._timeline):
            self._extend()
        wanted = int(np.searchsorted(self._orders, order, side="right"))
        return list(map(int, self._orders[self._nearest(wanted)[0] + every - 1 : wanted : every]))

    def _nearest(self, wanted: int) -> tuple[int, World]:
        """The last world that is known up to so many events."""
        kept = self._kept[bisect_right(self._kept, wanted, key=lambda kept: kept[0]) - 1]
        return self._last if kept[0] < self._last[0] <= wanted else kept

    def _extend(self) -> None:
        count = len(self._timeline)
        orders = self._changing.orders()
        if self._relevant is not None and self._beside is not None:
            mine = self._relevant.orders()
            beside = self._beside.orders(count)
            mine = merged([mine, beside]) if len(beside) else mine
            # Of a transfer nearly all is packets that change nothing: what is left is folded, however long it was.
            places = np.searchsorted(orders, mine)
            orders = mine[orders[np.minimum(places, len(orders) - 1)] == mine] if len(orders) else mine
        if len(orders) < len(self._orders) or not np.array_equal(orders[: len(self._orders)], self._orders):
            del self._kept[1:]  # another process has joined in: what was folded lacks its events
            self._last, self._spacing = self._kept[0], SPACING
        self._orders, self._count = orders, count

    def _keep(self, folded: int, world: World) -> None:
        self._kept.append((folded, world.copy()))
        if len(self._kept) > COPIES:
            self._kept[1:] = self._kept[2::2]
            self._spacing *= 2
