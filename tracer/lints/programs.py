"""Lints of programs: what their calls do to their sockets, descriptors and epoll instances.

Who owns a socket is known by its cookie, from the calls that were made on it or the accept() that brought it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from errno import EADDRNOTAVAIL, EMFILE, ENFILE
from typing import Final

from tracer.kinds import KINDS, KNOWN_SEQUENCE, KNOWN_WINDOW
from tracer.lints.basis import Finding, Limits, end_of, events, found
from tracer.states import State
from tracer.timeline import Event, Timeline
from tracer.words import duration, ends, result, size, unread

_READS: Final = frozenset({"read", "readv", "recvfrom", "recvmsg", "recvmmsg", "splice"})
_WAITS: Final = frozenset({"epoll_wait", "epoll_pwait", "epoll_pwait2"})
_EPOLLIN, _EPOLLOUT, _EPOLLET, _EPOLLONESHOT = 1, 4, 1 << 31, 1 << 30
_ADD, _DELETE = 1, 2
_SNAPSHOTS: Final = tuple(
    kind.name for kind in KINDS if {"known", "snd_wnd"} <= {f.name for f in kind.fields} and kind.name[:7] == "socket:"
)


def leak(timeline: Timeline, limits: Limits) -> Iterator[Finding]:
    """Descriptors of connections that the peer has closed, kept; or no descriptor left at all."""
    owner: dict[int, int] = {}
    since: dict[int, Event] = {}
    told: set[tuple[int, str]] = set()
    for event in events(timeline, "socket:state", "syscall:exit", "accept:taken"):
        if event.name == "accept:taken":
            owner[event["child_cookie"]] = event.pid
            continue
        if event.name == "syscall:exit":
            if event.cookie:
                owner.setdefault(event.cookie, event.pid)
            if event["ret"] in (-EMFILE, -ENFILE) and (event.pid, "full") not in told:
                told.add((event.pid, "full"))
                waiting = sum(owner.get(cookie) == event.pid for cookie in since)
                words = f"{event.call}() = {result(event['ret'])}: process {event.pid} has no descriptor left"
                yield found("fd-leak", event, f"{words}; {waiting} of its connections are in CLOSE-WAIT")
            continue
        yield from _kept(since, owner, event.time, told, limits)  # first: this event may be what ends the waiting
        if event["new"] == State.CLOSE_WAIT:
            since[event.cookie] = event
        elif event["old"] == State.CLOSE_WAIT:
            since.pop(event.cookie, None)
    yield from _kept(since, owner, end_of(timeline), told, limits)


def _kept(
    since: dict[int, Event], owner: dict[int, int], now: int, told: set[tuple[int, str]], limits: Limits
) -> Iterator[Finding]:
    if len(since) < limits.leak:
        return
    kept: dict[int, list[Event]] = defaultdict(list)
    for cookie, begun in since.items():
        if now - begun.time > limits.close_wait and cookie in owner:
            kept[owner[cookie]].append(begun)
    for pid, begun_ones in kept.items():
        if len(begun_ones) >= limits.leak and (pid, "kept") not in told:
            told.add((pid, "kept"))
            first = begun_ones[0]
            words = f"process {pid} keeps {len(begun_ones)} descriptors of connections that their peers have closed"
            yield found("fd-leak", first, f"{words}, the first since {duration(now - first.time)}: {ends(first)}")


def port_pressure(timeline: Timeline, limits: Limits) -> Iterator[Finding]:
    """connect() or bind() that found no local port free."""
    waiting: set[int] = set()
    for event in events(timeline, "syscall:exit", "timewait:born", "timewait:cancelled", "timewait:expired"):
        if event.name == "timewait:born":
            waiting.add(event.sock)
        elif event.name[:9] == "timewait:":
            waiting.discard(event.sock)
        elif event["ret"] == -EADDRNOTAVAIL and event.call in ("connect", "bind"):
            more = f"; {len(waiting)} connections are in TIME-WAIT" if waiting else ""
            yield found("port-pressure", event, f"{event.call}() = EADDRNOTAVAIL: no local port was left{more}")


def stall(timeline: Timeline, limits: Limits) -> Iterator[Finding]:
    """Less than a segment, held back while an earlier one is not acknowledged (RFC 9293 section 3.7.4, Nagle)."""
    held: dict[int, Event] = {}
    delayed: dict[int, int] = {}
    told: set[int] = set()
    for event in events(timeline, *_SNAPSHOTS):
        if event.name == "socket:timer" and event["timer"] == 4:
            delayed[event.conn] = event.time
        if not event.sock or event["known"] & 3 != KNOWN_SEQUENCE | KNOWN_WINDOW:
            continue
        begun = held.get(event.sock)
        if begun is None:
            if _small_is_held(event):
                held[event.sock] = event
            continue
        if (event["snd_nxt"] - begun["snd_nxt"]) & 0xFFFF_FFFF == 0 and not event["retransmits"]:
            continue  # still held
        del held[event.sock]
        waited = event.time - begun.time
        if waited < limits.stall or event["retransmits"] or event["ca_state"] or event.sock in told:
            continue
        told.add(event.sock)
        why = "its peer's delayed ACK" if delayed.get(event.conn, 0) > begun.time else "an ACK of what was before"
        rest = size((begun["write_seq"] - begun["snd_nxt"]) & 0xFFFF_FFFF)
        yield found("small-write-stall", begun, f"{ends(begun)}: {rest} waited {duration(waited)} for {why}")


def _small_is_held(event: Event) -> bool:
    rest = (event["write_seq"] - event["snd_nxt"]) & 0xFFFF_FFFF
    open_enough = event["packets_out"] < event["snd_cwnd"] and event["snd_wnd"] > event["mss"]
    return (
        event["state"] in (State.ESTABLISHED, State.CLOSE_WAIT) and 0 < rest < event["mss"]
        and event["packets_out"] > 0 and open_enough and not event["retransmits"] and not event["ca_state"]
    )  # fmt: skip


@dataclass
class _Interest:
    """A socket that a program waits for with epoll."""

    sock: int
    fd: int
    events: int
    idle: int = 0
    """Returns in a row that named it while nobody touched it."""
    first: Event | None = None
    """The first of them."""


@dataclass
class _Epolls:
    """Who waits for what: kept up to date from epoll_ctl()."""

    by_data: dict[tuple[int, int], _Interest] = field(default_factory=dict)
    by_sock: dict[int, list[_Interest]] = field(default_factory=lambda: defaultdict(list))

    def control(self, event: Event) -> None:
        """An epoll_ctl() that has succeeded."""
        if not event.sock:
            return
        mine = self.by_sock[event.sock]
        mine[:] = [one for one in mine if one.fd != event.fd]
        if event["op"] == _DELETE:
            self.by_data = {key: one for key, one in self.by_data.items() if one.sock != event.sock}
            return
        interest = _Interest(event.sock, event.fd, event["events"])
        mine.append(interest)
        self.by_data[event["ep"], event["data"]] = interest


def spinning(timeline: Timeline, limits: Limits) -> Iterator[Finding]:
    """epoll_wait() that returns at once, again and again, for a socket that nobody reads or writes."""
    epolls = _Epolls()
    told: set[int] = set()
    for event in events(timeline, "epoll:ctl", "epoll:wait", "syscall:exit"):
        if event.name == "epoll:ctl":
            epolls.control(event)
        elif event.name == "syscall:exit":
            if event.call not in ("epoll_ctl", *_WAITS):
                for one in epolls.by_sock.get(event.sock, ()):
                    one.idle, one.first = 0, None
        else:
            for data, ready in list(zip(event["data"], event["events"], strict=True))[: max(event["n"], 0)]:
                interest = epolls.by_data.get((event["ep"], data))
                if interest is None or interest.events & (_EPOLLET | _EPOLLONESHOT):
                    continue
                interest.idle += 1
                interest.first = interest.first or event
                if interest.idle >= limits.spin and interest.sock not in told:
                    told.add(interest.sock)
                    took = duration(event.time - interest.first.time)
                    what = "readable" if ready & _EPOLLIN else "writable" if ready & _EPOLLOUT else "in error"
                    words = f"epoll_wait() said {interest.idle} times in {took} that fd {interest.fd} is {what}"
                    nobody = f"{words}, and process {event.pid} did nothing about it"
                    yield Finding("spinning-epoll", event.order, _conn_of(timeline, interest), nobody, event.evidence)


def _conn_of(timeline: Timeline, interest: _Interest) -> int:
    orders = timeline.indices("sock", interest.sock)
    return max((timeline[int(order)].conn for order in orders[:8]), default=0)


def lost_edge(timeline: Timeline, limits: Limits) -> Iterator[Finding]:
    """Bytes that were left unread by a program that waits for the next edge, which only new bytes bring."""
    epolls = _Epolls()
    left: dict[int, Event] = {}
    reading: dict[int, tuple[int, bool]] = {}
    for event in events(timeline, "epoll:ctl", "syscall:enter", "syscall:exit", "socket:queues", "socket:state"):
        if event.name == "epoll:ctl":
            epolls.control(event)
            left.pop(event.sock, None)  # EPOLL_CTL_MOD looks anew
        elif event.name == "syscall:exit":
            reading[event.tid] = event.sock, event.call in _READS and event["ret"] > 0
        elif event.name == "syscall:enter":
            if event.sock in left and event.call not in _WAITS:
                yield from _edge(left.pop(event.sock), event.time, limits)
        elif event.name == "socket:state":
            if event["new"] == State.CLOSE and event.sock in left:
                yield from _edge(left.pop(event.sock), event.time, limits)
        elif reading.get(event.tid) == (event.sock, True) and event["known"] & KNOWN_SEQUENCE:
            edge = any(one.events & _EPOLLET and one.events & _EPOLLIN for one in epolls.by_sock.get(event.sock, ()))
            if edge and not event.ctx and unread(event) > 0:
                left.setdefault(event.sock, event)
    for begun in left.values():
        yield from _edge(begun, end_of(timeline), limits)


def _edge(begun: Event, until: int, limits: Limits) -> Iterator[Finding]:
    waited = until - begun.time
    if waited > limits.lost_edge:
        words = f"{ends(begun)}: {size(unread(begun))} were left unread for {duration(waited)}"
        yield found("lost-edge", begun, f"{words}: its edge was used up, and epoll_wait() tells of new bytes only")
