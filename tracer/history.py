"""Rewind: the world after any event.

Folding from the beginning is exact and, for a long timeline, slow; so a copy of the world is kept every so many events
and a question is answered from the last copy before it. Copies share their records and pages (tracer.pages), so one
costs what has changed since the one before. The distance between copies grows with the timeline, which bounds their
number.

Most of a timeline is packets that change no state; they are left out of the fold beforehand, in bulk. A history may be
that of one connection: then only the events that can matter to it are folded (its own, those of the listener it came
through, and what the processes that own its ends did outside of other connections), and a timeline of a million events
rewinds as fast as the connection is long.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.events import NUMBER, PACKETS
from tracer.kinds import KINDS, Lane
from tracer.segments import ACK, SYN
from tracer.timeline import Timeline
from tracer.world import MATTERS, World

SPACING: Final = 256
"""Events between two kept copies at first."""
COPIES: Final = 512
"""Copies kept at most; past that every second one goes and the spacing doubles."""

Orders = NDArray[np.int64]

_ALWAYS: Final = np.array([NUMBER[kind.name] for kind in KINDS if kind.lane == Lane.TRACE or "actor" in kind.name])
_CALLS: Final = frozenset({NUMBER["syscall:enter"], NUMBER["syscall:exit"]})
_PACKETS: Final = np.array(sorted(PACKETS))
_PACKET_NAMES: Final = tuple(KINDS[number - 1].name for number in _PACKETS)
_REQUESTS: Final = ("request:born", "request:timer", "request:gone")


class _Hits:
    """Orders of the events of one kind that some test lets pass, extended as the timeline grows."""

    def __init__(self, timeline: Timeline, kind: str) -> None:
        self._timeline, self._kind = timeline, kind
        self._done = 0

    def new(self, *names: str) -> tuple[Orders, list[NDArray[Any]]]:
        """Orders of the events of the kind since the last call, and their fields ``names``."""
        orders = self._timeline.indices("kind", NUMBER[self._kind])[self._done :]
        columns = [self._timeline.field(self._kind, name, self._done)[: len(orders)] for name in names]
        self._done += len(orders)
        return orders, columns


class _Everything:
    """Orders of all events that can change a world."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._packets = [_Hits(timeline, name) for name in _PACKET_NAMES]
        self._met: NDArray[np.bool_] = np.zeros(1, np.bool_)
        self._done = 0
        self._orders: Orders = np.zeros(0, np.int64)

    def orders(self) -> Orders:
        """All of them up to now, ascending."""
        count, parts, at = len(self._timeline), [self._orders], self._done
        if at == count:
            return self._orders
        for heads in self._timeline.heads(at, count):
            keep = ~np.isin(heads["kind"], _PACKETS)
            conns, firsts = np.unique(heads["conn"], return_index=True)
            self._met = np.pad(self._met, (0, max(0, int(conns[-1]) + 1 - len(self._met))))
            keep[firsts[~self._met[conns]]] = True
            self._met[conns] = True
            parts.append(np.flatnonzero(keep) + at)
            at += len(heads)
        for hits in self._packets:
            orders, (flags,) = hits.new("flags")
            parts.append(orders[(flags & MATTERS != 0) & (orders < count)])
        fresh = np.unique(np.concatenate(parts[1:]))
        self._orders, self._done = np.concatenate([parts[0], fresh]), count
        return self._orders


class Relevant:
    """Orders of the events that can matter to one connection, extended as the timeline grows."""

    def __init__(self, timeline: Timeline, conn: int) -> None:
        self._timeline, self._conn = timeline, conn
        self._pids: set[int] = set()
        self._listeners: dict[int, tuple[int, int]] = {}
        """Number of each listener -> its address and port."""
        self._done = self._looked = 0
        self._orders: Orders = np.zeros(0, np.int64)

    def orders(self) -> Orders:
        """All of them up to now, ascending. Looked for again from the start when another process joins in."""
        count = len(self._timeline)
        if self._meet():
            self._done, self._orders = 0, np.zeros(0, np.int64)
        if self._done < count:
            parts, at = [], self._done
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
            at_the_door = self._at_the_door()
            parts.append(at_the_door[(at_the_door >= self._done) & (at_the_door < count)])
            self._orders = np.concatenate([self._orders, np.unique(np.concatenate(parts))])
            self._done = count
        return self._orders

    def _at_the_door(self) -> Orders:
        """What other connections do to the listener's queues: their request socks, and the SYNs that knock."""
        parts = [np.zeros(0, np.int64)]
        if self._listeners:
            for name in _REQUESTS:
                orders, (listener,) = _Hits(self._timeline, name).new("listener")
                parts.append(orders[np.isin(listener, [address for address, _ in self._listeners.values()])])
            orders, (port, flags) = _Hits(self._timeline, "packet:received").new("dport", "flags")
            knocks = np.isin(port, [port for _, port in self._listeners.values()]) & (flags & (SYN | ACK) == SYN)
            parts.append(orders[knocks])
        return np.concatenate(parts)

    def _meet(self) -> bool:
        """Find the processes and listeners of the connection; True when there are new ones."""
        before = len(self._pids) + len(self._listeners)
        count = len(self._timeline)
        for order in self._timeline.indices("conn", self._conn).tolist():
            if not self._looked <= order < count:
                continue
            event = self._timeline[order]
            if event.number in _CALLS:
                self._pids.add(event.pid)
            if event.name == "request:born":
                # Addresses are used again: the listener is who lived there last, and has no connection.
                tenants = self._timeline.indices("addr", event["listener"])
                for tenant in reversed(tenants[tenants < order].tolist()):
                    if self._timeline[tenant].conn == 0 and self._timeline[tenant].sock:
                        self._listeners[self._timeline[tenant].sock] = (event["listener"], event["sport"])
                        break
        self._looked = count
        return len(self._pids) + len(self._listeners) > before


class History:
    """The worlds of a timeline, of all of it or of one connection's part. For one thread."""

    def __init__(self, timeline: Timeline, conn: int | None = None) -> None:
        self._timeline = timeline
        self._relevant = _Everything(timeline) if conn is None else Relevant(timeline, conn)
        self._orders: Orders = np.zeros(0, np.int64)
        self._spacing = SPACING
        self._kept: list[tuple[int, World]] = [(0, World())]
        """(events folded, the world after them), ascending."""
        self._last: tuple[int, World] = self._kept[0]
        """The same for the last answer: the next question is most often about the next event."""

    def at(self, order: int) -> World:
        """The world just after event ``order`` (-1: before any). The caller may keep it, but not change it."""
        orders = self._relevant.orders()
        if len(orders) < len(self._orders) or not np.array_equal(orders[: len(self._orders)], self._orders):
            del self._kept[1:]  # another process has joined in: what was folded lacks its events
            self._last = self._kept[0]
        self._orders = orders
        wanted = int(np.searchsorted(orders, order, side="right"))
        folded, base = self._kept[bisect_right(self._kept, wanted, key=lambda kept: kept[0]) - 1]
        if folded < self._last[0] <= wanted:
            folded, base = self._last
        world = base.copy()
        newest = self._kept[-1][0]
        for place, number in enumerate(orders[folded:wanted].tolist(), folded + 1):
            world.apply(self._timeline[number])
            if place >= newest + self._spacing:
                newest = place
                self._keep(newest, world)
        self._last = (wanted, world.copy())
        return world

    def _keep(self, folded: int, world: World) -> None:
        self._kept.append((folded, world.copy()))
        if len(self._kept) > COPIES:
            self._kept[1:] = self._kept[2::2]
            self._spacing *= 2
