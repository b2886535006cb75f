"""The world at a moment: a fold over the events up to it.

Every picture asks the same thing: at this event, which sockets are there and in which states, what waits in which
queue, who sleeps in which call, which descriptor is watched by which epoll. ``World.apply`` takes one event after the
other and keeps the answer. What it keeps are small frozen records: an event replaces a record and never changes one,
so a copy of the world is cheap (tracer.pages) and rewinding is folding on from a copy (tracer.history).

The fold believes what it is told but checks it: a step that the table of states does not have is kept as an anomaly
that names event, side and state. It never raises in the middle of a trace. One *end* of a connection is one socket
here, from request sock to TIME_WAIT object; that the kernel frees the full socket when the TIME_WAIT object takes over
(its step to CLOSE beside ``timewait:born``) does not end the end. What programs do is folded in tracer.programs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from tracer import programs, tasks
from tracer.events import PACKETS
from tracer.identity import INFERRED_END
from tracer.kinds import Certainty, Evidence, Side
from tracer.pages import Pages
from tracer.readings import overtaken
from tracer.segments import ACK, FIN, SYN
from tracer.states import State, Transition, Trigger, as_state, between
from tracer.timeline import Event
from tracer.views import (
    NOWHERE,
    Anomaly,
    ConnectionView,
    Endpoint,
    EpollView,
    ListenerView,
    PollView,
    SocketView,
    TaskView,
    ThreadView,
)

MOST_ANOMALIES: Final = 1000
"""Kept in words; a trace with more of them has one cause, not a thousand."""
ADDRESS_BITS: Final = 16
"""Kernel objects of one kind lie beside each other, but a few hundred bytes apart."""


@dataclass
class World:
    """Everything known after some event. Read the mappings, do not change them."""

    sockets: Pages[int, SocketView] = field(default_factory=Pages)
    connections: Pages[int, ConnectionView] = field(default_factory=Pages)
    listeners: dict[int, ListenerView] = field(default_factory=dict)
    """By socket number."""
    epolls: dict[int, EpollView] = field(default_factory=dict)
    """By kernel address."""
    threads: Pages[int, ThreadView] = field(default_factory=Pages)
    """By thread id."""
    fds: Pages[tuple[int, int], int] = field(default_factory=Pages)
    """(process, descriptor) -> socket number."""
    tasks: Pages[tuple[int, int], TaskView] = field(default_factory=Pages)
    """By (process, task)."""
    polls: Pages[tuple[int, int], PollView] = field(default_factory=Pages)
    """By (process, descriptor)."""
    step: Event | None = None
    """The scenario's step under way."""
    lost: int = 0
    """Events lost so far."""
    anomalies: tuple[Anomaly, ...] = ()
    _by_addr: Pages[int, int] = field(default_factory=lambda: Pages(ADDRESS_BITS))
    """Kernel address -> socket number, the latest tenant."""
    _dropped: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Processor -> (probe time of the SYN just counted as dropped, the listener it was for)."""

    def copy(self) -> World:
        """A world of its own that shares the records."""
        return World(
            self.sockets.copy(), self.connections.copy(), self.listeners.copy(), self.epolls.copy(),
            self.threads.copy(), self.fds.copy(), self.tasks.copy(), self.polls.copy(), self.step, self.lost,
            self.anomalies, self._by_addr.copy(), self._dropped.copy(),
        )  # fmt: skip

    def end(self, conn: int, side: Side) -> SocketView | None:
        """The socket at one end of a connection, None where it was not seen."""
        connection = self.connections.get(conn)
        return self.sockets.get(connection.sock(side)) if connection else None

    def waiters(self, ep: int) -> list[ThreadView]:
        """Threads that sleep in epoll_wait() on the instance at kernel address ``ep``."""
        view = self.epolls.get(ep)
        if view is None:
            return []
        asleep = (thread for thread in self.threads.values() if thread.running == "blocked" and thread.pid == view.pid)
        return [thread for thread in asleep if thread.name in programs.WAITS_ON_EPOLL and thread.fd == view.epfd]

    def apply(self, event: Event) -> None:
        """Fold one more event in."""
        packet = event.number in PACKETS
        if packet and event.conn in self.connections and not event["flags"] & MATTERS:
            return
        if event.conn:
            self._meet(event, packet)
        if event.sock and event.addr and not packet:
            self._by_addr[event.addr] = event.sock
        fold = _FOLDS.get(event.name)
        if fold:
            fold(self, event)

    # Connections and sockets

    def _meet(self, event: Event, packet: bool) -> None:
        known = self.connections.get(event.conn)
        if known is None:
            here, there = _ends(event) if "saddr" in event else (NOWHERE, NOWHERE)
            client, server = (there, here) if event.side == Side.SERVER else (here, there)
            known = self.connections[event.conn] = ConnectionView(event.conn, event.time, client, server)
        elif known.client[1] == 0 and "saddr" in event and event["sport"] and event["dport"]:
            here, there = _ends(event)
            client, server = (there, here) if event.side == Side.SERVER else (here, there)
            known = self.connections[event.conn] = replace(known, client=client, server=server)
        if event.sock and not packet and (event.side, event.sock) not in known.sockets:
            ends = dict(known.sockets) | {event.side: event.sock}
            self.connections[event.conn] = replace(known, sockets=tuple(sorted(ends.items())))
            if known.sock(event.side) & INFERRED_END:
                self._found(known.sock(event.side), event.sock)

    def _found(self, guessed: int, sock: int) -> None:
        """An end that only its packets spoke of until now turns out to be this socket: its past goes with it."""
        past, seen = self.sockets.pop(guessed, None), self.sockets.get(sock)
        if past is not None:
            self.sockets[sock] = replace(seen or past, sock=sock, state=past.state, evidence=past.evidence,
                                         since=past.since, order=past.order, path=past.path)  # fmt: skip

    def _socket(self, event: Event) -> SocketView:
        """The event's socket as known before it, brought up to date with whatever the event says of all sockets."""
        known: SocketView | None = self.sockets.get(event.sock)
        here, there = _ends(event) if "saddr" in event else (NOWHERE, NOWHERE)
        if known is None:
            how, when = event.evidence, (event.time, event.order)
            known = SocketView(event.sock, event.conn, event.side, State.UNKNOWN, how, *when, (), here, there)
        if event.conn != known.conn:
            known = replace(known, conn=event.conn, side=event.side)
        if event.get("known"):
            known = replace(known, snapshot=event)
        if here[1] and known.local != here:
            known = replace(known, local=here)
        if there[1] and known.peer != there:
            known = replace(known, peer=there)
        return known

    def _to(self, known: SocketView, new: State, event: Event, **more: object) -> None:
        moved = new != known.state
        self.sockets[known.sock] = replace(
            known,
            state=new,
            evidence=event.evidence if moved else min(known.evidence, event.evidence),  # the firmest is the lowest
            since=event.time if moved else known.since,
            order=event.order if moved else known.order,
            path=(*known.path, (event.order, new)) if moved else known.path,
            **more,  # type: ignore[arg-type]
        )

    def _state(self, event: Event) -> None:
        known = self._socket(event)
        old, new = as_state(event["old"]), as_state(event["new"])
        if new == State.LISTEN:
            self.listeners[event.sock] = ListenerView(event.sock, known.local, evidence=event.evidence)
        elif old == State.LISTEN and new == State.CLOSE:
            self.listeners.pop(event.sock, None)
        elif old == State.LISTEN:
            self._uncount(event)
        if known.waits and new == State.CLOSE and event.evidence == Evidence.OBSERVED:
            self.sockets[known.sock] = known  # handed over to the TIME_WAIT object: tcp_time_wait()
            return
        if _outdated(event, known, new):
            self.sockets[known.sock] = known
            return
        self._check(event, known, old, new)
        if not known.path and old not in (State.UNKNOWN, new):
            known = replace(known, state=old, path=((event.order, old),))
        self._to(known, new, event)

    def _check(self, event: Event, known: SocketView, old: State, new: State) -> None:
        """Note a step that no way of the table explains. Readings of a table may skip states, so they are no steps."""
        if event.evidence not in (Evidence.OBSERVED, Evidence.INFERRED) or old == new:
            return
        if event.evidence == Evidence.INFERRED and (event["certainty"] == Certainty.CORRECTED or old == State.UNKNOWN):
            return
        if not between(old, new):
            self._strange(event, known, f"{old.name} → {new.name} is not a step of TCP")
        elif known.state not in (State.UNKNOWN, old, new) and not (
            old == State.LISTEN and known.state == State.NEW_SYN_RECV  # the child begins as a copy of its listener
        ):
            self._strange(event, known, f"it was in {known.state.name}, yet left {old.name}")

    def _strange(self, event: Event, known: SocketView, what: str) -> None:
        who = f"{known.side.name.lower()} of connection {known.conn}" if known.conn else f"socket {known.sock}"
        if len(self.anomalies) < MOST_ANOMALIES:
            self.anomalies = (*self.anomalies, Anomaly(event.order, f"event {event.order}, {who}: {what}"))

    def _seen(self, event: Event) -> None:
        known = self._socket(event)
        if known.state == State.UNKNOWN and "state" in event and event["state"]:
            self._to(known, as_state(event["state"]), event)
        else:
            self.sockets[known.sock] = known
        if event["state"] == State.LISTEN:
            self._queues(event.sock, event, event["ack_backlog"], event["qlen"])

    def _destroyed(self, event: Event) -> None:
        known = self._socket(event)
        if known.waits:
            self.sockets[known.sock] = replace(known, freed=True)
        else:
            self._to(known, State.CLOSE, event, freed=True)

    def _accepted(self, event: Event) -> None:
        self._seen(event)
        child = self._by_addr.get(event["child"], 0)
        if event["child_fd"] >= 0 and child:
            self.fds[event.pid, event["child_fd"]] = child
            if child in self.sockets:
                through = replace(self.sockets[child], pid=event.pid, fd=event["child_fd"], listener=event.sock)
                self.sockets[child] = through

    # Small objects: request socks and TIME_WAIT objects

    def _request(self, event: Event) -> None:
        listener = self._by_addr.get(event["listener"], 0)
        known = replace(self._socket(event), listener=listener)
        if event.name == "request:born":
            self._uncount(event)
            self._to(known, State.NEW_SYN_RECV, event)
        elif event.name == "request:gone" and known.state == State.NEW_SYN_RECV:
            # Gone although no child was made from it: timed out, reset, or the listener closed. The child's own
            # LISTEN -> SYN_RECV comes before the removal (inet_csk_complete_hashdance()).
            self._to(known, State.CLOSE, event, freed=True)
        else:
            self.sockets[known.sock] = known
        if listener:
            self._queues(listener, event, event["ack_backlog"], event["qlen"])

    def _queues(self, sock: int, event: Event, accept: int, syn: int) -> None:
        known = self.listeners.get(sock) or ListenerView(sock, _ends(event)[0])
        limit = event["max_ack_backlog"] or known.limit
        self.listeners[sock] = replace(
            known, syn_queue=max(syn, 0), accept_queue=accept, limit=limit, most=max(known.most, accept),
            evidence=event.evidence,
        )  # fmt: skip

    def _timewait(self, event: Event) -> None:
        known = self._socket(event)
        if event.name in ("timewait:expired", "timewait:cancelled"):
            self._to(known, State.CLOSE, event, deadline=0, waits=False, freed=True)
            return
        if known.state == State.CLOSE and len(known.path) > 1 and _hands_over(known.path[-2][1]):
            # The two records come from two rings, and the step to CLOSE was put first: the end never was closed.
            known = replace(known, state=known.path[-2][1], path=known.path[:-1])
        state = as_state(event["substate"]) or State.TIME_WAIT
        self._to(known, state, event, deadline=event.time + event["left"], waits=True)

    # Packets that change more than themselves

    def _received(self, event: Event) -> None:
        if event["flags"] & FIN:
            end = self.end(event.conn, Side.CLIENT if event.side == Side.SERVER else Side.SERVER)
            if end is not None and end.waits and end.state == State.FIN_WAIT2:
                # Inside the TIME_WAIT object; its timer is only begun anew, and not even that within one tick
                # (tcp_timewait_state_process(), mod_timer()).
                self._to(end, State.TIME_WAIT, event)
                self.sockets[end.sock] = replace(self.sockets[end.sock], evidence=Evidence.INFERRED)
        if event["flags"] & (SYN | ACK) == SYN:
            self._knock(event)

    def _knock(self, event: Event) -> None:
        """A SYN for a listener whose accept queue is over its limit is dropped: sk_acceptq_is_full()."""
        end = self.end(event.conn, Side.SERVER)
        if end is not None and end.state == State.NEW_SYN_RECV:
            return  # again the same SYN: the request sock answers, not the listener
        address, port = (event["daddr"][0], event["daddr"][1]), event["dport"]
        doors = [view for view in self.listeners.values() if view.local[1] == port]
        exact = [view for view in doors if view.local[0] == address]
        doors = exact or [view for view in doors if view.local[0][1] & 0xFFFF_FFFF == 0]  # 0.0.0.0 or ::
        if len(doors) == 1 and doors[0].limit and doors[0].accept_queue > doors[0].limit:
            self._overflow(doors[0].sock, 1)
            self._dropped[event.cpu] = (event.probe_time, doors[0].sock)

    def _uncount(self, event: Event) -> None:
        """Something was made of the SYN after all: accept() on another processor had been quicker."""
        when, sock = self._dropped.get(event.cpu, (0, 0))
        if when and event.ctx == when:
            del self._dropped[event.cpu]
            self._overflow(sock, -1)

    def _turned_away(self, event: Event) -> None:
        """The probe's word for it. The SYN itself came before and was counted, where the table of listeners knew."""
        self._seen(event)
        when, sock = self._dropped.get(event.cpu, (0, 0))
        if when and event.ctx == when:
            del self._dropped[event.cpu]
            self._overflow(sock, -1)
        self._overflow(event.sock, 1)

    def _overflow(self, sock: int, by: int) -> None:
        known = self.listeners.get(sock)
        if known is not None:
            self.listeners[sock] = replace(known, overflows=known.overflows + by)

    # The tracer and the script

    def _stepped(self, event: Event) -> None:
        self.step = event

    def _lose(self, event: Event) -> None:
        self.lost = event["total"]

    def _anomaly(self, event: Event) -> None:
        if len(self.anomalies) < MOST_ANOMALIES:
            self.anomalies = (*self.anomalies, Anomaly(event.order, event["text"]))


MATTERS: Final = SYN | FIN
"""Packets of a known connection without these bits change nothing here."""


def _ends(event: Event) -> tuple[Endpoint, Endpoint]:
    local, peer = event["saddr"], event["daddr"]
    return ((local[0], local[1]), event["sport"]), ((peer[0], peer[1]), event["dport"])


def _outdated(event: Event, known: SocketView, new: State) -> bool:
    """Whether a reading of the table shows a state that the end has left meanwhile."""
    if event.evidence != Evidence.SAMPLED:
        return False
    left = {state for _, state in known.path[:-1]}
    return overtaken(new, event.time, state=known.state, evidence=known.evidence, since=known.since, left=left)


def _hands_over(state: State) -> bool:
    return any(row.trigger == Trigger.HANDOVER for row in between(state, State.CLOSE))


def step_taken(before: SocketView | None, after: SocketView | None) -> tuple[Transition, ...]:
    """The rows of the table that lead from one view of an end to a later one; empty when it has not moved."""
    if after is None or (before is not None and before.state == after.state):
        return ()
    return between(before.state if before else State.CLOSE, after.state)


_FOLDS: Final[dict[str, Callable[[World, Event], None]]] = {
    **programs.FOLDS,
    **tasks.FOLDS,
    "trace:lost": World._lose,
    "trace:anomaly": World._anomaly,
    "actor:step": World._stepped,
    "socket:state": World._state,
    "socket:destroy": World._destroyed,
    **dict.fromkeys(("socket:readable", "socket:writable", "socket:queues", "accept:queued"), World._seen),
    **dict.fromkeys(("socket:retransmit", "socket:timer", "socket:congestion", "reset:received"), World._seen),
    "accept:taken": World._accepted,
    **dict.fromkeys(("accept:overflow", "request:overflow"), World._turned_away),
    **dict.fromkeys(("request:born", "request:timer", "request:gone"), World._request),
    **dict.fromkeys(("timewait:born", "timewait:rearmed", "timewait:expired", "timewait:cancelled"), World._timewait),
    "packet:received": World._received,
}
"""Which kinds change the world, and how."""
