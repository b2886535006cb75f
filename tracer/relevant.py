"""Which events of a timeline can matter: to one connection, or to any world at all.

A connection's own events are few among those of a busy machine, but more than those that carry its number belong to its
story: what was done with its sockets before they were connected, what its listener did, and what the processes at its
ends did outside of other connections (slept, woke, waited on epoll). A busy server does that for thousands of others
too, so it counts only near an event of the connection's own. All is found by columns, in bulk: a timeline of a million
events is searched in milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.events import NUMBER, PACKETS
from tracer.kinds import KINDS, SYSCALLS, Lane, Side
from tracer.segments import ACK, SYN
from tracer.timeline import Timeline
from tracer.world import MATTERS

Orders = NDArray[np.int64]
"""Orders of events, ascending."""


def among(kinds: Iterable[int]) -> NDArray[np.bool_]:
    """For every number of a kind whether it is one of these."""
    table = np.zeros(len(KINDS) + 1, np.bool_)
    table[list(kinds)] = True
    return table


_ALWAYS: Final = [NUMBER[kind.name] for kind in KINDS if kind.lane == Lane.TRACE or "actor" in kind.name]
_CALLS: Final = among([NUMBER["syscall:enter"], NUMBER["syscall:exit"]])
_EXIT, _SOCKET = NUMBER["syscall:exit"], SYSCALLS.index("socket")
_ACTORS: Final = {"client": Side.CLIENT, "server": Side.SERVER}
_PACKETS: Final = sorted(PACKETS)
_IS_PACKET: Final = among(PACKETS)
_BORN, _STEP = NUMBER["request:born"], NUMBER["actor:step"]
_LIFE: Final = among([NUMBER["socket:state"], NUMBER["socket:destroy"]])
_REQUESTS: Final = ("request:born", "request:timer", "request:gone")
_ACCEPTS: Final = among(
    NUMBER[name] for name in ("accept:queued", "accept:taken", "socket:queues", "accept:overflow", "request:overflow")
)

NEAR: Final = 4096
"""Events after one of the connection's own (and before its first) among which its processes are still listened to.
Looking ahead is not possible: what once counted must go on to count as the timeline grows."""


BEFORE: Final = 8192
"""Events at a listener's queues that are looked at before a connection's first: its counts begin there, its lengths
are exact. More would make every change of focus wait on a busy server."""


def _none() -> Orders:
    return np.zeros(0, np.int64)


def once(values: NDArray[Any]) -> NDArray[Any]:
    """Each of the values once, ascending. (np.unique of numpy 2.3 and later hashes, which is slow for millions.)"""
    values = np.sort(values)
    return values[np.concatenate(([True], values[1:] != values[:-1]))] if len(values) else values


def merged(parts: Sequence[Orders]) -> Orders:
    """All of these orders, each once, ascending."""
    return once(np.concatenate([_none(), *parts]))


class _Kind:
    """The events of one kind, a part at a time as the timeline grows."""

    def __init__(self, timeline: Timeline, kind: str) -> None:
        self._timeline, self._kind = timeline, kind
        self._done = 0

    def new(self, count: int, *names: str) -> tuple[Orders, list[NDArray[Any]]]:
        """Orders below ``count`` of what has not been asked for yet, and their fields ``names``."""
        orders = self._timeline.indices("kind", NUMBER[self._kind])
        orders = orders[self._done : np.searchsorted(orders, count)]
        fields = [self._timeline.field(self._kind, name, self._done, len(orders)) for name in names]
        self._done += len(orders)
        return orders, fields


class Changing:
    """Orders of all events that can change a world: all but the packets that merely pass."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._packets = [_Kind(timeline, KINDS[number - 1].name) for number in _PACKETS]
        self._met: NDArray[np.bool_] = np.zeros(1, np.bool_)
        """Connections that have had an event."""
        self._done = 0
        self._orders = _none()

    @property
    def behind(self) -> int:
        """Events that have not been looked at."""
        return len(self._timeline) - self._done

    def orders(self) -> Orders:
        """All of them up to now; what was given before stays, and stays in front."""
        count, at = len(self._timeline), self._done
        if at == count:
            return self._orders
        parts = []
        for heads in self._timeline.heads(at, count):
            keep = ~_IS_PACKET[heads["kind"]]
            conns, firsts = np.unique(heads["conn"], return_index=True)
            self._met = np.pad(self._met, (0, max(0, int(conns[-1]) + 1 - len(self._met))))
            keep[firsts[~self._met[conns]]] = True
            self._met[conns] = True
            parts.append(np.flatnonzero(keep) + at)
            at += len(heads)
        for packets in self._packets:
            orders, (flags,) = packets.new(count, "flags")
            parts.append(orders[flags & MATTERS != 0])
        self._orders = np.concatenate([self._orders, merged(parts)])
        self._done = count
        return self._orders


class Relevant:
    """Orders of the events that can matter to one connection, extended as the timeline grows."""

    def __init__(self, timeline: Timeline, conn: int) -> None:
        self._timeline, self._conn = timeline, conn
        self.pids: dict[int, Side] = {}
        """The processes that work on the connection or on its listener, and which end is theirs."""
        self.listeners: dict[int, tuple[int, int]] = {}
        """Number of each listener it came through -> its kernel address and its port."""
        self._sockets: set[int] = set()
        """Its own sockets: what was done with them before they were connected belongs to it too."""
        self._done = self._looked = self._found = 0
        self._orders = _none()

    @property
    def sockets(self) -> Set[int]:
        """Numbers of its own sockets."""
        return self._sockets

    @property
    def joined(self) -> int:
        """How many processes, listeners and sockets belong to it: when that grows, earlier orders change too."""
        return len(self.pids) + len(self.listeners) + len(self._sockets)

    def orders(self) -> Orders:
        """All of them up to now. Looked for again from the start when another process or listener joins in.

        A view on what is kept, so that asking again and again while a flood comes in is cheap; do not write to it.
        """
        count = len(self._timeline)
        if self._meet(count):
            self._done, self._found, self._orders = 0, 0, _none()  # earlier answers stay what they were
        if self._done == count:
            return self._orders[: self._found]
        parts = [self._own(self._done, count)]
        if free := [self._all("kind", kind, count) for kind in _ALWAYS]:
            parts.append(self._free(np.concatenate(free)))
        for sock in self._sockets:
            parts.append(self._free(self._all("sock", sock, count)))
        for sock in self.listeners:
            theirs = self._all("sock", sock, count)
            life = theirs[_LIFE[self._timeline.at("kind", theirs)]]
            parts += [self._free(life), self._free(self._near(theirs))]
        for pid in self.pids:
            mine = self._free(self._near(self._all("pid", pid, count)))
            none = self._timeline.at("sock", mine) == 0
            # A call that began without a socket, and counts, must end too: else its thread stays in socket() for ever.
            parts += [mine[none], self._made(mine[~none])]
        self._append(parts[0] if not any(map(len, parts[1:])) else merged(parts))
        self._done = count
        return self._orders[: self._found]

    def first(self) -> int:
        """Order of its first event, the end of the timeline while there is none."""
        own = self._timeline.indices("conn", self._conn)
        return int(own[0]) if len(own) else len(self._timeline)

    def _own(self, start: int, count: int) -> Orders:
        """Its own events in start..count."""
        own = self._timeline.indices("conn", self._conn, start)
        return own[: np.searchsorted(own, count)]

    def _all(self, column: str, value: int, count: int) -> Orders:
        """Events with that value that have not been looked at, below ``count``."""
        found = self._timeline.indices(column, value, self._done)
        return found[: np.searchsorted(found, count)]

    def _free(self, orders: Orders) -> Orders:
        """Those of no connection."""
        return orders[self._timeline.at("conn", orders) == 0] if len(orders) else orders

    def _near(self, orders: Orders) -> Orders:
        """Those that come soon after an event of the connection, or not long before its first."""
        own = self._timeline.indices("conn", self._conn)
        if not len(own) or not len(orders):
            return orders[:0]
        before = np.searchsorted(own, orders, side="right") - 1
        return orders[np.where(before >= 0, orders - own[before] <= NEAR, own[0] - orders <= NEAR)]

    def _made(self, orders: Orders) -> Orders:
        """Those by which socket() returns."""
        ends: Orders = orders[self._timeline.at("kind", orders) == _EXIT]
        if not len(ends):
            return ends
        rows = self._timeline.at("row", ends)
        calls = self._timeline.field("syscall:exit", "call", int(rows[0]), int(rows[-1]) + 1 - int(rows[0]))
        made: Orders = ends[calls[rows - rows[0]] == _SOCKET]
        return made

    def _append(self, orders: Orders) -> None:
        need = self._found + len(orders)
        if need > len(self._orders):
            grown = np.zeros(max(need, 2 * len(self._orders)), np.int64)
            grown[: self._found] = self._orders[: self._found]
            self._orders = grown
        self._orders[self._found : need] = orders
        self._found = need

    def _meet(self, count: int) -> bool:
        """Find the processes and listeners of the connection; True when there are new ones."""
        before, timeline = self.joined, self._timeline
        own = self._own(self._looked, count)
        self._sockets |= set(once(timeline.at("sock", own)).tolist()) - {0}
        kinds = timeline.at("kind", own)
        calls = own[_CALLS[kinds]]
        calls = calls[(timeline.at("ctx", calls) == 0) & (timeline.at("side", calls) > 0)]
        pids, firsts = np.unique(timeline.at("pid", calls), return_index=True)
        for first, pid in sorted(zip(firsts.tolist(), pids.tolist(), strict=True)):
            self.pids.setdefault(pid, timeline[int(calls[first])].side)
        for order in own[kinds == _BORN].tolist():
            event = timeline[order]
            self._meet_listener(event["listener"], event["sport"], order)
        steps = timeline.indices("kind", _STEP, self._looked)
        for order in steps[: np.searchsorted(steps, count)].tolist():
            event = timeline[order]
            if event["actor"] in _ACTORS:  # what a scenario calls its actors says which end they play
                self.pids.setdefault(event.pid, _ACTORS[event["actor"]])
        self._looked = count
        return self.joined > before

    def _meet_listener(self, address: int, port: int, order: int) -> None:
        """The socket that lived at ``address`` last before ``order`` and has no connection, and who calls on it."""
        timeline = self._timeline
        tenants = timeline.indices("addr", address)
        for tenant in reversed(tenants[: np.searchsorted(tenants, order)].tolist()):
            event = timeline[tenant]
            if event.conn == 0 and event.sock:
                break
        else:
            return
        if event.sock in self.listeners:
            return
        self.listeners[event.sock] = (address, port)
        calls = timeline.indices("sock", event.sock)
        calls = calls[_CALLS[timeline.at("kind", calls)]]
        calls = calls[timeline.at("ctx", calls) == 0]
        for pid in once(timeline.at("pid", calls)).tolist():
            self.pids.setdefault(pid, Side.SERVER)


class Beside:
    """Orders of what other connections do to the queues of one's listeners: request socks, accepts, SYNs that knock."""

    def __init__(self, timeline: Timeline, relevant: Relevant) -> None:
        self._timeline, self._relevant = timeline, relevant
        self._doors: dict[int, tuple[int, int]] = {}
        self._begin()

    def _begin(self) -> None:
        self._kinds = {name: _Kind(self._timeline, name) for name in (*_REQUESTS, "packet:received")}
        self._done, self._orders = 0, _none()

    def orders(self, count: int) -> Orders:
        """All of them below ``count``, which does not shrink."""
        if self._doors != self._relevant.listeners:
            self._doors = dict(self._relevant.listeners)
            self._begin()
        if not self._doors:
            return self._orders
        parts = []
        for name in _REQUESTS:
            orders, (listener,) = self._kinds[name].new(count, "listener")
            parts.append(orders[np.isin(listener, [address for address, _ in self._doors.values()])])
        for sock in self._doors:
            mine = self._timeline.indices("sock", sock, self._done)
            mine = mine[: np.searchsorted(mine, count)]
            parts.append(mine[_ACCEPTS[self._timeline.at("kind", mine)]])
        orders, (port, flags) = self._kinds["packet:received"].new(count, "dport", "flags")
        parts.append(orders[np.isin(port, [port for _, port in self._doors.values()]) & (flags & (SYN | ACK) == SYN)])
        self._orders, self._done = np.concatenate([self._orders, merged(parts)]), count
        began = int(np.searchsorted(self._orders, self._relevant.first()))
        return self._orders[max(0, began - BEFORE) :]
