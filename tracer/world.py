"""The world at a moment: a fold over the events up to it.

Every picture asks the same thing: at this event, which sockets are there and in which states, what waits in which
queue, who sleeps in which call, which descriptor is watched by which epoll. ``World.apply`` takes one event after the
other and keeps the answer. What it keeps are small frozen records: an event replaces a record and never changes one,
so a copy of the world is a copy of a few dicts (tracer.history rewinds by that).

The fold believes what it is told but checks it: a step that the table of states does not have is kept as an anomaly
that names event, side and state. It never raises in the middle of a trace. One *end* of a connection is one socket
here, from request sock to TIME_WAIT object; that the kernel frees the full socket when the TIME_WAIT object takes over
(CLOSE at once after ``timewait:born``) does not end the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from tracer.kinds import Evidence, Lane, Side
from tracer.states import State, Transition, between
from tracer.timeline import Event
from tracer.views import NOWHERE, Anomaly, ConnectionView, Endpoint, EpollView, ListenerView, SocketView, ThreadView
from tracer.words import LIBC, call


@dataclass
class World:
    """Everything known after some event. Read the dicts, do not change them."""

    sockets: dict[int, SocketView] = field(default_factory=dict)
    connections: dict[int, ConnectionView] = field(default_factory=dict)
    listeners: dict[int, ListenerView] = field(default_factory=dict)
    """By socket number."""
    epolls: dict[int, EpollView] = field(default_factory=dict)
    """By kernel address."""
    threads: dict[int, ThreadView] = field(default_factory=dict)
    fds: dict[tuple[int, int], int] = field(default_factory=dict)
    """(process, descriptor) -> socket number."""
    step: Event | None = None
    """The scenario's step under way."""
    lost: int = 0
    """Events lost so far."""
    anomalies: tuple[Anomaly, ...] = ()
    _by_addr: dict[int, int] = field(default_factory=dict)
    """Kernel address -> socket number, the latest tenant."""

    def copy(self) -> World:
        """A world of its own that shares the records."""
        return World(
            dict(self.sockets), dict(self.connections), dict(self.listeners), dict(self.epolls), dict(self.threads),
            dict(self.fds), self.step, self.lost, self.anomalies, dict(self._by_addr),
        )  # fmt: skip

    def end(self, conn: int, side: Side) -> SocketView | None:
        """The socket at one end of a connection, None where it was not seen."""
        connection = self.connections.get(conn)
        return self.sockets.get(connection.sock(side)) if connection else None

    def apply(self, event: Event) -> None:
        """Fold one more event in."""
        if event.sock and event.addr:
            self._by_addr[event.addr] = event.sock
        if event.conn:
            self._meet(event)
        fold = _FOLDS.get(event.name)
        if fold:
            fold(self, event)

    # Connections and sockets

    def _meet(self, event: Event) -> None:
        known = self.connections.get(event.conn)
        packet = event.kind.lane == Lane.WIRE
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

    def _socket(self, event: Event) -> SocketView:
        """The event's socket as known before it, brought up to date with whatever the event says of all sockets."""
        known = self.sockets.get(event.sock)
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
            evidence=event.evidence if moved or event.evidence == Evidence.OBSERVED else known.evidence,
            since=event.time if moved else known.since,
            order=event.order if moved else known.order,
            path=(*known.path, (event.order, new)) if moved else known.path,
            **more,  # type: ignore[arg-type]
        )

    def _state(self, event: Event) -> None:
        known = self._socket(event)
        old, new = _state(event["old"]), _state(event["new"])
        if new == State.LISTEN:
            self.listeners[event.sock] = ListenerView(event.sock, known.local)
        elif old == State.LISTEN and new == State.CLOSE:
            self.listeners.pop(event.sock, None)
        if known.waits and new == State.CLOSE:
            self.sockets[known.sock] = known  # handed over to the TIME_WAIT object: tcp_time_wait()
            return
        if event.evidence == Evidence.OBSERVED and not between(old, new):
            self._strange(event, known, f"{old.name} → {new.name} is not a step of TCP")
        elif known.state not in (State.UNKNOWN, old, new) and event.evidence == Evidence.OBSERVED and not (
            old == State.LISTEN and known.state == State.NEW_SYN_RECV  # the child begins as a copy of its listener
        ):  # fmt: skip
            self._strange(event, known, f"it was in {known.state.name}, yet left {old.name}")
        if not known.path and old not in (State.UNKNOWN, new):
            known = replace(known, state=old, path=((event.order, old),))
        self._to(known, new, event)

    def _strange(self, event: Event, known: SocketView, what: str) -> None:
        who = f"{known.side.name.lower()} of connection {known.conn}" if known.conn else f"socket {known.sock}"
        self.anomalies = (*self.anomalies, Anomaly(event.order, f"event {event.order}, {who}: {what}"))

    def _seen(self, event: Event) -> None:
        known = self._socket(event)
        if known.state == State.UNKNOWN and "state" in event and event["state"]:
            self._to(known, _state(event["state"]), event)
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

    def _request(self, event: Event) -> None:
        known = self._socket(event)
        if event.name == "request:born":
            self._to(known, State.NEW_SYN_RECV, event)
        elif event.name == "request:gone" and known.state == State.NEW_SYN_RECV:
            # Gone although no child was made from it: timed out, reset, or the listener closed. The child's own
            # LISTEN -> SYN_RECV comes before the removal (inet_csk_complete_hashdance()).
            self._to(known, State.CLOSE, event, freed=True)
        else:
            self.sockets[known.sock] = known
        listener = self._by_addr.get(event["listener"], 0)
        if listener:
            self._queues(listener, event, event["ack_backlog"], event["qlen"])

    def _queues(self, sock: int, event: Event, accept: int, syn: int) -> None:
        known = self.listeners.get(sock) or ListenerView(sock, _ends(event)[0])
        limit = event["max_ack_backlog"] or known.limit
        self.listeners[sock] = replace(
            known, syn_queue=max(syn, 0), accept_queue=accept, limit=limit, most=max(known.most, accept)
        )

    def _timewait(self, event: Event) -> None:
        known = self._socket(event)
        if event.name in ("timewait:expired", "timewait:cancelled"):
            self._to(known, State.CLOSE, event, deadline=0, waits=False, freed=True)
        else:
            state = _state(event["substate"]) or State.TIME_WAIT
            self._to(known, state, event, deadline=event.time + event["left"], waits=True)

    # Programs

    def _enter(self, event: Event) -> None:
        thread = self._thread(event)
        bare = LIBC.get(event.call, event.call)
        self.threads[event.tid] = replace(thread, call=call(event), name=bare, running="running")
        self._mark(event)

    def _exit(self, event: Event) -> None:
        self.threads[event.tid] = replace(self._thread(event), call="", name="", running="running")
        result, name = event["ret"], event.call
        if name == "socket" and result >= 0 and event.sock:
            self.fds[event.pid, result] = event.sock
        elif name in ("dup", "dup2", "dup3", "fcntl") and result >= 0 and (event.pid, event.fd) in self.fds:
            if name != "fcntl" or event["arg1"] in (0, 1030):  # F_DUPFD, F_DUPFD_CLOEXEC
                self.fds[event.pid, result] = self.fds[event.pid, event.fd]
        elif name == "close" and event.fd >= 0:
            self._closed(event.pid, event.fd)
        self._mark(event)

    def _mark(self, event: Event) -> None:
        """Remember who works on the socket, and by which descriptor."""
        known = self.sockets.get(event.sock)
        fd = event["ret"] if event.call == "socket" and event.name == "syscall:exit" else event.fd
        if known and fd >= 0 and (known.pid, known.fd) != (event.pid, fd):
            self.sockets[event.sock] = replace(known, pid=event.pid, fd=fd)

    def _closed(self, pid: int, fd: int) -> None:
        """The descriptor is free; what watched it forgets it (eventpoll_release(): no epoll_ctl is needed)."""
        self.fds.pop((pid, fd), None)
        for ep, known in self.epolls.items():
            if known.pid == pid and any(entry[0] == fd for entry in known.interest):
                self.epolls[ep] = _without(known, fd)
            elif known.pid == pid and known.epfd == fd:
                self.epolls = {other: view for other, view in self.epolls.items() if other != ep}
                return

    def _accepted(self, event: Event) -> None:
        self._seen(event)
        child = self._by_addr.get(event["child"], 0)
        if event["child_fd"] >= 0 and child:
            self.fds[event.pid, event["child_fd"]] = child
            if child in self.sockets:
                self.sockets[child] = replace(self.sockets[child], pid=event.pid, fd=event["child_fd"])

    def _thread(self, event: Event) -> ThreadView:
        return self.threads.get(event.tid) or ThreadView(event.tid, event.pid, "", "unknown", event.time)

    def _scheduled(self, event: Event) -> None:
        how = {"thread:running": "running", "thread:woken": "runnable"}.get(event.name, "blocked")
        if how == "blocked" and event["was"] == 0:
            how = "runnable"  # preempted: it left the processor, not its work
        known = self._thread(event)
        since = event.time if how != known.running else known.since
        self.threads[event.tid] = replace(known, pid=event.pid, comm=event["comm"], running=how, since=since)

    def _process_exit(self, event: Event) -> None:
        self.threads.pop(event.tid, None)
        if event.tid == event.pid:
            for pid, fd in [key for key in self.fds if key[0] == event.pid]:
                del self.fds[pid, fd]
            self.epolls = {ep: view for ep, view in self.epolls.items() if view.pid != event.pid}

    # epoll

    def _control(self, event: Event) -> None:
        known = self.epolls.get(event["ep"]) or EpollView(event["ep"], event.pid, event["epfd"])
        known = _without(known, event.fd) if event["op"] != 1 else known
        if event["op"] != 2:
            entry = (event.fd, event["events"], event["data"])
            known = replace(known, interest=tuple(sorted((*known.interest, entry))))
        self.epolls[known.ep] = known

    def _ready(self, event: Event) -> None:
        known = self.epolls.get(event["ep"]) or EpollView(event["ep"], 0, -1)
        if event.fd not in dict(known.ready):
            self.epolls[known.ep] = replace(known, ready=tuple(sorted((*known.ready, (event.fd, 0)))))

    def _waited(self, event: Event) -> None:
        known = self.epolls.get(event["ep"]) or EpollView(event["ep"], event.pid, event["epfd"])
        by_data = {data: fd for fd, _, data in known.interest}
        entries = list(zip(event["data"], event["events"], strict=True))[: max(event["n"], 0)]
        ready = tuple(sorted((by_data.get(data, data & 0xFFFF_FFFF), mask) for data, mask in entries))
        self.epolls[known.ep] = replace(known, pid=event.pid, epfd=event["epfd"], ready=ready)

    # The tracer and the script

    def _stepped(self, event: Event) -> None:
        self.step = event

    def _lose(self, event: Event) -> None:
        self.lost = event["total"]


def _ends(event: Event) -> tuple[Endpoint, Endpoint]:
    return ((event["saddr"][0], event["saddr"][1]), event["sport"]), (
        (event["daddr"][0], event["daddr"][1]),
        event["dport"],
    )


def _state(number: int) -> State:
    return State(number) if number in State._value2member_map_ else State.UNKNOWN


def _without(view: EpollView, fd: int) -> EpollView:
    return replace(
        view,
        interest=tuple(entry for entry in view.interest if entry[0] != fd),
        ready=tuple(entry for entry in view.ready if entry[0] != fd),
    )


def step_taken(before: SocketView | None, after: SocketView | None) -> tuple[Transition, ...]:
    """The rows of the table that lead from one view of an end to a later one; empty when it has not moved."""
    if after is None or (before is not None and before.state == after.state):
        return ()
    return between(before.state if before else State.CLOSE, after.state)


_FOLDS: Final[dict[str, Callable[[World, Event], None]]] = {
    "trace:lost": World._lose,
    "actor:step": World._stepped,
    "process:exit": World._process_exit,
    "syscall:enter": World._enter,
    "syscall:exit": World._exit,
    **dict.fromkeys(("thread:blocked", "thread:woken", "thread:running"), World._scheduled),
    "epoll:ctl": World._control,
    "epoll:ready": World._ready,
    "epoll:wait": World._waited,
    "socket:state": World._state,
    "socket:destroy": World._destroyed,
    **dict.fromkeys(("socket:readable", "socket:queues", "accept:queued"), World._seen),
    "accept:taken": World._accepted,
    **dict.fromkeys(("request:born", "request:timer", "request:gone"), World._request),
    **dict.fromkeys(("timewait:born", "timewait:rearmed", "timewait:expired", "timewait:cancelled"), World._timewait),
}  # fmt: skip
"""Which kinds change the world, and how; packets alone do not."""
