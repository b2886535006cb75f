"""The two queues of every listener over time, from the events that tell their lengths.

A SYN puts a request sock into the SYN queue, the last ACK of the handshake moves the connection into the accept queue,
accept() takes it out. Each such event tells both lengths as they were then, and the limit; that is all the graph in a
listener's row of the overview needs. A listener is known by its port here: request socks tell no more of it.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.batch import Table
from tracer.events import NUMBER
from tracer.flow import Column
from tracer.states import State
from tracer.timeline import Timeline

_REQUESTS: Final = ("request:born", "request:gone")
_SOCKETS: Final = ("accept:queued", "accept:taken", "accept:overflow", "request:overflow", "socket:queues")
"""Of these what a listener tells: they carry a socket's state."""
_FIELDS: Final = ("sport", "ack_backlog", "max_ack_backlog", "qlen")


class Door:
    """One listener's queues."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.times, self.accept, self.syn, self.limits = Column("i8"), Column("u4"), Column("u4"), Column("u4")
        """At `times[i]` (ns) the queues held so many, and might hold so many."""

    def most(self, edges: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Longest SYN queue, longest accept queue and the limit in each bucket; the bounds are ``edges``, ascending.

        Lengths go on until the next event tells others.
        """
        buckets = len(edges) - 1
        at = np.searchsorted(edges, self.times.values, side="right") - 1
        found = []
        last = np.searchsorted(self.times.values, edges[:-1], side="right") - 1
        for column in (self.syn, self.accept, self.limits):
            values = column.values[: len(at)].astype(np.int64)
            before = np.where(last >= 0, values[np.maximum(last, 0)], 0) if len(values) else np.zeros(buckets, np.int64)
            inside = (at >= 0) & (at < buckets)
            np.maximum.at(before, at[inside], values[inside])
            found.append(before)
        return found[0], found[1], found[2]


class Doors:
    """All listeners of a timeline of which something was told."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self.by_port: dict[int, Door] = {}

    def read(self, heads: Table) -> None:
        """Take in a part of the timeline's heads, each once and in order."""
        places, columns = [], []
        for name in (*_REQUESTS, *_SOCKETS):
            mine = np.flatnonzero(heads["kind"] == NUMBER[name])
            if not len(mine):
                continue
            found = self._fields(name, heads, mine, "state" if name in _SOCKETS else "")
            keep = found[2] > 0
            if name in _SOCKETS:
                keep &= found[4] == State.LISTEN
            places.append(mine[keep])
            columns.append(np.stack(found[:4])[:, keep])
        if not places:
            return
        order = np.argsort(np.concatenate(places), kind="stable")
        at = np.concatenate(places)[order]
        ports, accept, limits, syn = np.concatenate(columns, axis=1)[:, order]
        for port in np.unique(ports).tolist():
            mine = ports == port
            door = self.by_port.setdefault(port, Door(port))
            door.accept.extend(accept[mine])
            door.syn.extend(syn[mine])
            door.limits.extend(limits[mine])
            door.times.extend(heads["time"][at[mine]])

    def _fields(self, name: str, heads: Table, mine: NDArray[np.int64], state: str) -> list[NDArray[Any]]:
        first = int(heads["row"][mine[0]])
        names = (*_FIELDS, state) if state else _FIELDS
        return [self._timeline.field(name, field, first, len(mine)).astype(np.int64) for field in names]
