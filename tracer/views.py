"""What is known of one thing at one moment: the records that a World is made of.

All are small and frozen. The fold (tracer.world) replaces a record when an event changes what is known; whoever holds
an older one keeps an older moment.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from tracer.kinds import Evidence, Side
from tracer.pages import Pages
from tracer.states import State
from tracer.timeline import Event

Endpoint = tuple[tuple[int, int], int]
"""Address (two halves, see tracer.segments) and port."""
NOWHERE: Final[Endpoint] = ((0, 0), 0)
"""Not known yet."""


@dataclass(frozen=True, slots=True)
class SocketView:
    """One socket: an end of a connection, or a listener."""

    sock: int
    conn: int
    side: Side
    state: State
    evidence: Evidence
    """How the state is known."""
    since: int
    """ns, when the state began (or was first seen)."""
    order: int
    """Of the event that brought the state."""
    path: tuple[tuple[int, State], ...]
    """Every state so far with the order of its event."""
    local: Endpoint
    peer: Endpoint
    snapshot: Event | None = None
    """The last event that carries the socket's queues and windows (tracer.kinds.SNAPSHOT)."""
    pid: int = 0
    """Process that last made a call on it; 0 not seen."""
    fd: int = -1
    deadline: int = 0
    """ns, when its TIME_WAIT timer fires as armed; 0 where none is known."""
    waits: bool = False
    """A TIME_WAIT object has taken over."""
    freed: bool = False
    """The full socket is gone."""
    listener: int = 0
    """Number of the listener it came through; 0 for none, or not seen."""


@dataclass(frozen=True, slots=True)
class ConnectionView:
    """One connection: its two ends, as far as seen."""

    conn: int
    began: int
    """ns, of its first event."""
    client: Endpoint
    server: Endpoint
    sockets: tuple[tuple[Side, int], ...] = ()

    def sock(self, side: Side) -> int:
        """Number of the socket at that end, 0 where it was not seen."""
        return dict(self.sockets).get(side, 0)


@dataclass(frozen=True, slots=True)
class ListenerView:
    """A listener's two queues."""

    sock: int
    local: Endpoint
    syn_queue: int = 0
    accept_queue: int = 0
    limit: int = 0
    """Of both queues: listen()'s backlog, capped by somaxconn. 0: not seen."""
    most: int = 0
    """The longest accept queue so far (in the history of one connection: since tracer.relevant.BEFORE)."""
    evidence: Evidence = Evidence.OBSERVED
    """How the lengths are known."""
    overflows: int = 0
    """SYNs dropped because one of the two queues was full (tcp_conn_request()): by the probe's word, and without it
    where the accept queue was seen over its limit and nothing was made of the SYN."""


@dataclass(frozen=True, slots=True)
class EpollView:
    """An epoll instance."""

    ep: int
    pid: int
    epfd: int
    watched: Pages[int, tuple[int, int]] = field(default_factory=Pages)
    """fd -> (events asked for, the program's data). Replaced, never changed."""
    ready: tuple[tuple[int, int], ...] = ()
    """(fd, events) reported or known to be ready; events 0 where only the readiness was seen."""

    @property
    def interest(self) -> tuple[tuple[int, int, int], ...]:
        """(fd, events asked for, the program's data) of everything watched, by fd."""
        return tuple((fd, *self.watched[fd]) for fd in sorted(self.watched))

    def watching(self, fd: int, events: int, data: int) -> EpollView:
        """The same, watching ``fd`` too, or for other events."""
        watched = self.watched.copy()
        watched[fd] = (events, data)
        return replace(self, watched=watched)

    def without(self, fd: int) -> EpollView:
        """The same, no longer watching ``fd``."""
        watched = self.watched.copy()
        watched.pop(fd, None)
        return replace(self, watched=watched, ready=tuple(entry for entry in self.ready if entry[0] != fd))

    def fd_of(self, data: int) -> int:
        """The descriptor for which the program wants ``data`` back; most give the descriptor itself (epoll_data_t)."""
        guess = data & 0xFFFF_FFFF
        if self.watched.get(guess, (0, data))[1] == data:
            return guess
        return next((fd for fd, (_, wanted) in self.watched.items() if wanted == data), guess)


@dataclass(frozen=True, slots=True)
class ThreadView:
    """A thread."""

    tid: int
    pid: int
    comm: str
    running: str
    """running, runnable, blocked or unknown."""
    since: int
    """ns."""
    call: str = ""
    """The system call it is in, as strace would begin it; "" outside."""
    name: str = ""
    """The call's bare name."""
    entered: int = 0
    """ns, when it entered the call; 0 outside."""
    fd: int = -1
    """The descriptor the call is about."""


@dataclass(frozen=True, slots=True)
class TaskView:
    """A goroutine, an asyncio task, a task of a netpoller."""

    task: int
    """Its number in its process."""
    pid: int
    runtime: str
    name: str
    """The function that it runs; "" not known."""
    state: str
    """One of tracer.task_fields.TASK_STATES."""
    since: int
    """ns, when the state began (or was first seen)."""
    order: int
    """Of the event that brought the state."""
    why: str = ""
    """For what it waits."""
    fd: int = -1
    """The descriptor that it waits for."""
    by: int = 0
    """The task in whose turn it came to this state; 0 the runtime itself."""
    tid: int = 0
    """The thread on which that was."""
    evidence: Evidence = Evidence.OBSERVED


@dataclass(frozen=True, slots=True)
class PollView:
    """A poll descriptor: between a task that looks blocked and the epoll instance."""

    pid: int
    fd: int
    desc: int
    rg: str
    """Who reads: nil, ready, wait or the number of the parked task (tracer.task_fields)."""
    wg: str
    """Who writes."""
    why: str
    """What has brought it to this."""
    since: int
    """ns."""
    runtime: str
    evidence: Evidence = Evidence.OBSERVED


@dataclass(frozen=True, slots=True)
class Anomaly:
    """Something that the rules do not allow."""

    order: int
    text: str
