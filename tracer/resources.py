"""What one connection takes up, from birth to release: the lifecycle table of its resources.

A connection is many things at once, each with a life of its own. The *descriptor* is a number in a process and goes at
close(). An *epoll item* watches a descriptor and goes with it (eventpoll_release()). A *poll descriptor* is what a
language's runtime keeps for each descriptor between its tasks and epoll; the kernel knows nothing of it. The *request
sock* stands in the SYN queue until the child is made. The *socket* with its two *buffers* lives on without a descriptor
for as long as TCP needs it, until it is destroyed (inet_sock_destruct()). The *TIME_WAIT object* remains when all else
is gone.

The table is a fold over the connection's events. What was there before the trace began has no birth, what is still
there no release, and of what no event speaks there is no row.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from tracer.kinds import KNOWN_BUFFERS, Evidence, Side
from tracer.relevant import Relevant
from tracer.states import State
from tracer.timeline import Event, Timeline
from tracer.words import duration, label, message, size

FD, ITEM, POLL, REQUEST, SOCKET = "descriptor", "epoll item", "poll descriptor", "request sock", "socket"
RECEIVE, SEND, WAIT = "receive buffer", "send buffer", "TIME_WAIT object"
KINDS: Final = (FD, ITEM, POLL, REQUEST, SOCKET, RECEIVE, SEND, WAIT)
"""In the order of the table."""

_DUPS: Final = frozenset({"dup", "dup2", "dup3", "fcntl"})
_F_DUPFD: Final = frozenset({0, 1030})
_MAKES_FD: Final = frozenset({"socket", "accept", "accept4", "epoll_create", "epoll_create1"})
_ADD, _DEL = 1, 2
_ENDS: Final = frozenset({"syscall:exit", "socket:destroy"})
"""What frees a thing of a socket's."""
Key = tuple[object, ...]


@dataclass(slots=True)
class Resource:
    """One row of the table."""

    kind: str
    """One of KINDS."""
    side: Side
    name: str
    """Which one: fd 5 of process 201."""
    born: int = -1
    """Order of the event that it began with; -1: it was there before, or its birth was not seen."""
    freed: int = -1
    """Order of the event that ended it; -1: it is still there, as far as is known."""
    most: list[tuple[int, int]] = field(default_factory=list)
    """Of a buffer: (order, bytes) whenever it took more memory than ever before."""
    limit: int = 0
    """Of a buffer: bytes it may take, as last seen."""

    def before(self, order: int) -> Resource | None:
        """The row as known before event ``order``; None if it was not there yet."""
        if self.born >= order or (self.most and self.most[0][0] >= order and self.born < 0):
            return None
        freed = self.freed if self.freed < order else -1
        most = [step for step in self.most if step[0] < order]
        return Resource(self.kind, self.side, self.name, self.born, freed, most, self.limit)

    @property
    def bytes(self) -> int | None:
        """The most memory that it took; None where no event tells."""
        return self.most[-1][1] if self.most else None


class Ledger:
    """The resources of one connection. ``refresh``, then read; for one thread."""

    def __init__(self, timeline: Timeline, conn: int) -> None:
        self.timeline, self.conn = timeline, conn
        self._relevant = Relevant(timeline, conn)
        self._joined = 0
        self._restart()

    def _restart(self) -> None:
        self._done = 0
        """Place in the connection's events up to which they are folded."""
        self.rows: list[Resource] = []
        self._open: dict[Key, Resource] = {}
        self._items: dict[Key, tuple[int, int, int]] = {}
        """Open epoll items -> (process, descriptor of the instance, descriptor watched)."""
        self._addrs: set[int] = set()
        self._sides: dict[int, Side] = {}
        self._followed: dict[int, int] = {}
        """Its sockets -> order up to which they were followed into other connections."""

    def refresh(self) -> None:
        """Fold what has come since."""
        orders = self._relevant.orders()
        if self._relevant.joined != self._joined:
            self._joined = self._relevant.joined
            self._restart()  # another process or socket belongs to it, with events that came before
            self._know()
        for order in orders[self._done :].tolist():
            self._apply(self.timeline[order])
        self._done = len(orders)
        for sock in self._relevant.sockets:
            self._follow(sock)

    def _follow(self, sock: int) -> None:
        """Whose socket connects once more (it was refused) has its end among the events of another connection."""
        orders = self.timeline.indices("sock", sock)
        orders = orders[np.searchsorted(orders, self._followed.get(sock, 0)) :]
        if len(orders):
            self._followed[sock] = int(orders[-1]) + 1
        for order in orders.tolist():
            event = self.timeline[order]
            if event.conn not in (0, self.conn) and event.name in _ENDS:
                self._apply(event)

    def at(self, limit: int) -> list[Resource]:
        """The table as known before event ``limit``: by side, the client's first, then by kind, then by birth."""
        known = [row for each in self.rows if (row := each.before(limit)) is not None]
        return sorted(known, key=lambda row: (row.side, KINDS.index(row.kind), row.born))

    def _know(self) -> None:
        """Which end each of its sockets is: a socket is the connection's before an event says so."""
        for order in self.timeline.indices("conn", self.conn).tolist():
            event = self.timeline[order]
            if event.sock and event.side and event.sock not in self._sides:
                self._sides[event.sock] = event.side
                if len(self._sides) >= len(self._relevant.sockets):
                    return

    def _begin(self, key: Key, kind: str, side: Side, name: str, event: Event | None) -> Resource:
        row = self._open[key] = Resource(kind, side, name, event.order if event else -1)
        self.rows.append(row)
        return row

    def _end(self, key: Key, event: Event) -> None:
        row = self._open.pop(key, None)
        if row is not None:
            row.freed = event.order

    # The fold

    def _apply(self, event: Event) -> None:
        if event.evidence not in (Evidence.OBSERVED, Evidence.REPORTED):
            return  # packets and readings tell states; when an object was made or freed they do not
        mine = event.sock in self._relevant.sockets
        if mine and event.addr:
            self._addrs.add(event.addr)
        fold = _FOLDS.get(event.name)
        if fold is not None:
            fold(self, event, mine)
        if mine and event.get("known", 0) & KNOWN_BUFFERS:
            self._measure(event)

    def _side(self, event: Event) -> Side:
        return event.side or self._sides.get(event.sock, Side.NONE)

    def _descriptor(self, pid: int, fd: int, side: Side, event: Event | None) -> None:
        if (FD, pid, fd) not in self._open:
            self._begin((FD, pid, fd), FD, side, f"fd {fd} of process {pid}", event)

    def _enter(self, event: Event, mine: bool) -> None:
        if mine and event.fd >= 0 and not event.ctx and event.call not in _MAKES_FD:
            self._descriptor(event.pid, event.fd, self._side(event), None)  # in use before its birth was seen

    def _exit(self, event: Event, mine: bool) -> None:
        name, result = event.call, event["ret"]
        if name == "close" and event.fd >= 0 and result != -errno.EBADF:
            self._close(event, event.pid, event.fd)
        elif name == "socket" and result >= 0 and mine:
            self._descriptor(event.pid, result, self._side(event), event)
            self._socket(event, event)
        elif name in _DUPS and result >= 0 and (name != "fcntl" or event["arg1"] in _F_DUPFD):
            behind = self._open.get((FD, event.pid, event.fd))
            if name in ("dup2", "dup3") and result != event.fd:
                self._close(event, event.pid, result)
            if behind is not None:
                self._descriptor(event.pid, result, behind.side, event)

    def _close(self, event: Event, pid: int, fd: int) -> None:
        self._end((FD, pid, fd), event)
        for key, (owner, epfd, watched) in list(self._items.items()):
            if owner == pid and fd in (epfd, watched):
                self._forget(key, event)

    def _forget(self, key: Key, event: Event) -> None:
        self._items.pop(key, None)
        self._end(key, event)

    def _taken(self, event: Event, mine: bool) -> None:
        if event["child"] in self._addrs and event["child_fd"] >= 0:
            self._descriptor(event.pid, event["child_fd"], Side.SERVER, event)

    def _forked(self, event: Event, mine: bool) -> None:
        if event["child_pid"] != event.pid:
            for key, row in list(self._open.items()):
                if key[:2] == (FD, event.pid):
                    self._descriptor(event["child_pid"], int(str(key[2])), row.side, event)

    def _ended(self, event: Event, mine: bool) -> None:
        if event.tid == event.pid:
            for key in [key for key in self._open if key[:2] in ((FD, event.pid), (POLL, event.pid))]:
                self._end(key, event)
            for key in [key for key, (owner, _, _) in self._items.items() if owner == event.pid]:
                self._forget(key, event)

    def _control(self, event: Event, mine: bool) -> None:
        key = (ITEM, event["ep"], event.fd)
        if event["op"] == _DEL:
            self._forget(key, event)
        elif mine and key not in self._open:
            self._items[key] = (event.pid, event["epfd"], event.fd)
            began = event if event["op"] == _ADD else None
            self._begin(key, ITEM, self._side(event), f"fd {event.fd} in epoll {event['epfd']}", began)

    def _polled(self, event: Event, mine: bool) -> None:
        key, descriptor = (POLL, event.pid, event.fd), self._open.get((FD, event.pid, event.fd))
        if event["why"] == "close":
            self._end(key, event)
        elif descriptor is not None and key not in self._open:
            began = event if event["why"] == "open" else None
            self._begin(key, POLL, descriptor.side, f"fd {event.fd}, {event['runtime']}", began)

    def _requested(self, event: Event, mine: bool) -> None:
        if event.name == "request:born":
            self._begin((REQUEST, event.sock), REQUEST, event.side, "in SYN queue", event)
        else:
            self._end((REQUEST, event.sock), event)

    def _state(self, event: Event, mine: bool) -> None:
        if not mine or event["new"] == State.CLOSE:
            return
        child = event["old"] == State.LISTEN or (event["old"] == State.SYN_RECV and event["new"] == State.SYN_RECV)
        self._socket(event, event if child else None)

    def _socket(self, event: Event, born: Event | None) -> None:
        if (SOCKET, event.sock) not in self._open and not self._was(event.sock):
            side, born_at = self._side(event), born
            self._begin((SOCKET, event.sock), SOCKET, side, f"socket {event.sock}", born_at)
            for kind in (RECEIVE, SEND):
                self._begin((kind, event.sock), kind, side, f"of socket {event.sock}", born_at)

    def _was(self, sock: int) -> bool:
        return any(row.kind == SOCKET and row.name == f"socket {sock}" for row in self.rows)

    def _destroyed(self, event: Event, mine: bool) -> None:
        for kind in (SOCKET, RECEIVE, SEND):
            self._end((kind, event.sock), event)

    def _measure(self, event: Event) -> None:
        for kind, used, limit in ((RECEIVE, "rmem", "rcvbuf"), (SEND, "wmem", "sndbuf")):
            row = self._open.get((kind, event.sock))
            if row is None:
                continue
            row.limit = event[limit] or row.limit
            if event[used] > (row.bytes if row.bytes is not None else -1):
                row.most.append((event.order, event[used]))

    def _wait(self, event: Event, mine: bool) -> None:
        key = (WAIT, event.sock)
        if event.name in ("timewait:expired", "timewait:cancelled"):
            if key not in self._open:
                self._begin(key, WAIT, event.side, label(event["substate"]), None)
            self._end(key, event)
        elif key not in self._open:
            born = event if event.name == "timewait:born" else None
            self._begin(key, WAIT, event.side, label(event["substate"]), born)


_FOLDS: Final[dict[str, Callable[[Ledger, Event, bool], None]]] = {
    "syscall:enter": Ledger._enter,
    "syscall:exit": Ledger._exit,
    "accept:taken": Ledger._taken,
    "process:fork": Ledger._forked,
    "process:exit": Ledger._ended,
    "epoll:ctl": Ledger._control,
    "polldesc:change": Ledger._polled,
    "request:born": Ledger._requested,
    "request:gone": Ledger._requested,
    "socket:state": Ledger._state,
    "socket:destroy": Ledger._destroyed,
    **dict.fromkeys(("timewait:born", "timewait:rearmed", "timewait:expired", "timewait:cancelled"), Ledger._wait),
}


def resources(timeline: Timeline, conn: int) -> list[Resource]:
    """The whole table of one connection."""
    ledger = Ledger(timeline, conn)
    ledger.refresh()
    return ledger.at(len(timeline))


def by(event: Event) -> str:
    """By what something is born or freed, in a word."""
    if event.name == "polldesc:change":
        return str(event["why"])
    return f"{event.call}()" if event.call else event.name


def record(timeline: Timeline, conn: int, row: Resource) -> dict[str, Any]:
    """A row as plain data, ready for JSON; null where it is not known. Times in ns since the Unix epoch."""

    def moment(order: int) -> dict[str, Any] | None:
        if order < 0:
            return None
        event = timeline[order]
        known = event.evidence.name.lower()
        return {"order": order, "time": event.time, "event": event.name, "words": message(event), "evidence": known}

    return {
        "conn": conn, "resource": row.kind, "side": row.side.name.lower(), "name": row.name, "born": moment(row.born),
        "freed": moment(row.freed), "bytes": row.bytes, "limit": row.limit or None,
    }  # fmt: skip


def table(timeline: Timeline, conn: int, width: int = 0) -> Iterator[str]:
    """The table as text, times since the connection's first event: one line a resource, or two where a buffer's bytes
    would not fit into ``width`` columns (0: as many as it takes)."""
    rows = resources(timeline, conn)
    own = timeline.indices("conn", conn).tolist()
    start = timeline[own[0]].time if own else 0
    told = (event.ends for order in own if (event := timeline[order]).side == Side.CLIENT and event.get("dport"))
    ends = next((words for words in told if "*" not in words), "")

    def moment(order: int, otherwise: str) -> str:
        if order < 0:
            return f"{otherwise:>7}"
        event = timeline[order]
        return f"{duration(event.time - start):>7} {by(event)}"

    yield f"connection {conn}{f', {ends}' if ends else ''}: {len(rows)} resources seen"
    side = Side.NONE
    for row in rows:
        if row.side is not side or row is rows[0]:
            side = row.side
            yield f" {side.name.lower() if side else 'either end':<16} {'':<15} {'born':<21} freed"
        born, freed = moment(row.born, "before the trace"), moment(row.freed, "still there")
        line = f" {row.kind:<16} {row.name.replace(' of process ', ', pid '):<15} {born:<21} {freed:<24}"
        of = f" of {size(row.limit)}" if row.limit else ""
        took = "" if row.bytes is None else f"at most {size(row.bytes)}{of}"
        if took and 0 < width < len(line) + 1 + len(took):
            yield line.rstrip()
            yield f"{'':<18}{took}"
        else:
            yield f"{line} {took}".rstrip()
