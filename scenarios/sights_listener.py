"""A listener of a play, as checks ask it: its two queues over time and what they turned away.

The accept queue is a list of finished connections at the listening socket; its limit is listen()'s backlog, capped by
net.core.somaxconn, and it counts as full when it is *longer* than the limit (sk_acceptq_is_full()). The SYN queue is
only a counter there: the request socks lie in the kernel's hash of all connections (reqsk_queue_len()).
"""

from __future__ import annotations

from itertools import groupby
from typing import Final

from scenarios.sights_basis import Basis, CannotTell
from tracer.states import State
from tracer.timeline import Event

AT_LISTENER: Final = ("accept:queued", "accept:taken", "accept:overflow")
REQUESTS: Final = ("request:born", "request:timer", "request:retransmit", "request:gone")
TABLE: Final = ("socket:queues", "socket:state")


class ListenerSeen:
    """What was seen of one listening socket."""

    def __init__(self, basis: Basis, opened: Event) -> None:
        self.basis = basis
        self.opened = opened
        """The event by which it came to LISTEN."""
        self.port: int = opened["sport"]
        self.sock = opened.sock
        mine = [event for event in basis.events if event.sock == self.sock and event.order > opened.order]
        left = (e for e in mine if e.name == "socket:state" and e["old"] == State.LISTEN and e["new"] == State.CLOSE)
        self.closed = next(left, None)
        """The event by which it left LISTEN, None while it listens."""
        until = self.closed.order if self.closed else len(basis.timeline)
        self.events = [event for event in mine if event.name in (*AT_LISTENER, *TABLE) and event.order < until]
        self.events += [event for event in basis.events[opened.order : until] if self._request(event)]
        self.events.sort(key=lambda event: event.order)

    def _request(self, event: Event) -> bool:
        if event.name not in REQUESTS:
            return False
        return bool(event["listener"] == self.opened.addr if event["listener"] else event["sport"] == self.port)

    def limits(self) -> list[int]:
        """Its backlogs over time, as the kernel keeps them. Raises CannotTell where nothing tells it."""
        self.basis.weigh([self.opened, *self.events])
        told = [event["max_ack_backlog"] for event in [self.opened, *self.events] if event["max_ack_backlog"]]
        if not told:
            raise CannotTell("nothing tells the listener's limit")
        return _changes(told)

    def limit(self) -> int:
        """The last of them."""
        return self.limits()[-1]

    def accept_queue(self) -> list[int]:
        """Lengths of its accept queue over time, each once until it changed, from 0 on. Raises CannotTell."""
        return _changes([0, *(int(event["ack_backlog"]) for event in self._told())])

    def syn_queue(self) -> list[int]:
        """Lengths of its SYN queue over time, each once until it changed, from 0 on. Raises CannotTell."""
        return _changes([0, *(max(int(event["qlen"]), 0) for event in self._told())])

    def _told(self) -> list[Event]:
        if not self.events and not self.basis.probed:
            raise CannotTell("nothing tells the listener's queues")
        self.basis.weigh([self.opened, *self.events])
        return self.events

    def queued(self) -> list[Event]:
        """Each connection that came into the accept queue; `ack_backlog` is its length with it."""
        return self.basis.pick(self.events, ("accept:queued",))

    def taken(self) -> list[Event]:
        """Each connection that accept() took; `child_fd` is its descriptor."""
        return self.basis.pick(self.events, ("accept:taken",))

    def overflows(self) -> list[Event]:
        """Each SYN that found the accept queue full."""
        return self.basis.pick(self.events, ("accept:overflow",))

    def counted(self) -> tuple[int, int]:
        """(ListenOverflows, ListenDrops) of its network since the play began, as the kernel counts them."""
        told = [event for event in self.basis.events if event.name == "counters:listen"]
        return sum(event["overflows"] for event in told), sum(event["drops"] for event in told)


def _changes(values: list[int]) -> list[int]:
    return [value for value, _ in groupby(values)]
