"""A netpoller: tasks that look as if they blocked, over one epoll that never does.

A task is a function with a stack of its own (a greenlet), which says `connection = listener.accept()` or
`data = connection.read()` and simply goes on with the next line. Underneath, nothing blocks but the scheduler itself:

- Every descriptor is told to epoll once, edge-triggered, for reading and writing.
- Beside it lies a *poll descriptor* with two places, `rg` and `wg`: who waits to read, who waits to write. A place is
  empty, or holds the task that is parked there, or holds READY: an edge came while nobody waited.
- read() tries recv() first. On EAGAIN the task parks: it writes itself into `rg` and hands the processor to the
  scheduler. If READY is there already, it takes it and tries again instead: between the EAGAIN and the parking an edge
  may have come, and no second one will. This is why no wake-up is lost.
- The scheduler runs whoever is in the run queue. When nobody is, it sleeps in epoll_wait until the next deadline; for
  every edge it takes the waiting task out of its place and puts it into the run queue.

A deadline is a moment after which a parked reader or writer is woken with TimeoutError. Go's runtime works the same way
(runtime/netpoll.go: pollDesc, netpollblock, netpollready), with threads where we have one.
"""

from __future__ import annotations

import errno
import heapq
import itertools
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Literal, TypeVar

try:
    from greenlet import greenlet
except ImportError:
    raise SystemExit("the netpoller needs the package greenlet: pip install 'synfin[servers]'") from None

Mode = Literal["r", "w"]
Result = TypeVar("Result")
READY: Final = "ready"
"""In a place of a poll descriptor: an edge has come and nobody has seen it yet."""
IDLE: Final = 1.0
"""Seconds in epoll_wait at most."""
FAIRNESS: Final = 61
"""Tasks that run before the scheduler looks at epoll although somebody is still in the run queue."""


class Task:
    """A function under way, with its own stack."""

    def __init__(self, poller: Netpoller, number: int, function: Callable[..., object], arguments: tuple[Any, ...]):
        self.number = number
        self.name = f"{function.__name__}-{number}"
        self.greenlet = greenlet(lambda: poller.live(self, function, arguments), poller.scheduler)


class PollDesc:
    """A descriptor under epoll and who waits for it."""

    __slots__ = ("armed", "closing", "deadline", "fd", "rg", "wg")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.rg: Task | Literal["ready"] | None = None
        self.wg: Task | Literal["ready"] | None = None
        self.deadline: dict[Mode, float] = {"r": 0.0, "w": 0.0}
        """Moment (time.monotonic) at which waiting ends; 0: never."""
        self.armed: dict[Mode, float] = {"r": 0.0, "w": 0.0}
        """For when a timer is in the heap: a deadline that only moves on needs no second one."""
        self.closing = False


class Netpoller:
    """The scheduler: a run queue, a table of poll descriptors, one epoll, and a heap of deadlines."""

    def __init__(self) -> None:
        self.scheduler = greenlet.getcurrent()
        self.run_queue: deque[Task] = deque()
        self.table: dict[int, PollDesc] = {}
        self.epoll = select.epoll()
        self.tasks = 0
        self.current: Task | None = None
        self.observer: Callable[..., None] = lambda *what: None
        """Told of every change: ("task", task, "new" | "runnable" | "running" | "parked" | "over", fd, mode) and
        ("table", poll descriptor, why); and ("idle",) before the scheduler sleeps."""
        self._numbers = itertools.count(1)
        self._timers: list[tuple[float, int, PollDesc, Mode]] = []

    # Tasks

    def go(self, function: Callable[..., object], *arguments: Any) -> Task:
        """Start a task; it runs when its turn comes."""
        task = Task(self, next(self._numbers), function, arguments)
        self.tasks += 1
        self.observer("task", task, "new", -1, "")
        self.unpark(task)
        return task

    def live(self, task: Task, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        """A task's whole life, in its own greenlet."""
        try:
            function(*arguments)
        finally:
            self.tasks -= 1
            self.observer("task", task, "over", -1, "")

    def run(self) -> None:
        """Run tasks until there are none; from the greenlet that made the netpoller."""
        self.run_until(lambda: False)

    def run_until(self, enough: Callable[[], bool]) -> None:
        """Run tasks until there are none or it is enough."""
        while not enough() and self.turn():
            pass

    def turn(self) -> bool:
        """Run those whose turn it is, then look at epoll; False when no task is left."""
        for _ in range(min(len(self.run_queue), FAIRNESS)):
            self.current = self.run_queue.popleft()
            self.observer("task", self.current, "running", -1, "")
            self.current.greenlet.switch()
        self.current = None
        if self.tasks:
            self._poll(block=not self.run_queue)
        return self.tasks > 0

    def park(self, reason: str) -> None:
        """Put the running task aside until somebody calls `unpark` for it."""
        assert self.current is not None
        self.observer("task", self.current, "parked", -1, reason)
        self.scheduler.switch()

    def unpark(self, task: Task) -> None:
        """Into the run queue with it."""
        self.run_queue.append(task)
        self.observer("task", task, "runnable", -1, "")

    # The poll descriptors

    def open(self, fd: int) -> PollDesc:
        """Put a descriptor under epoll, once, for both directions and for edges only."""
        described = self.table[fd] = PollDesc(fd)
        self.epoll.register(fd, select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET)
        self.observer("table", described, "open")
        return described

    def block(self, described: PollDesc, mode: Mode) -> None:
        """Park the running task until the descriptor is ready (Go: netpollblock).

        Raises TimeoutError after the deadline, ConnectionAbortedError when the descriptor is closed meanwhile.
        """
        place = "rg" if mode == "r" else "wg"
        self._check(described, mode)
        if getattr(described, place) is READY:
            setattr(described, place, None)
            self.observer("table", described, "reset")
            return
        task = self.current
        assert task is not None and getattr(described, place) is None, "two tasks cannot wait in one place"
        setattr(described, place, task)
        self.observer("table", described, "park")
        self.observer("task", task, "parked", described.fd, mode)
        self.scheduler.switch()
        self._check(described, mode)

    def ready(self, described: PollDesc, mode: Mode, why: str = "") -> None:
        """An edge has come: wake who waits there, or leave word that it has come (Go: netpollready)."""
        place = "rg" if mode == "r" else "wg"
        waiting = getattr(described, place)
        setattr(described, place, None if isinstance(waiting, Task) else READY)
        self.observer("table", described, why or ("readable" if mode == "r" else "writable"))
        if isinstance(waiting, Task):
            self.unpark(waiting)

    def set_deadline(self, described: PollDesc, mode: Mode, when: float) -> None:
        """Waiting ends at `when` (time.monotonic; 0: never), also for who is parked there already."""
        described.deadline[mode] = when
        if when and not 0 < described.armed[mode] <= when:
            described.armed[mode] = when
            heapq.heappush(self._timers, (when, next(self._numbers), described, mode))

    def close(self, described: PollDesc) -> None:
        """Take a descriptor out of the table and wake who is parked there; the caller closes it."""
        described.closing = True
        self.epoll.unregister(described.fd)
        del self.table[described.fd]
        for mode in ("r", "w"):
            self._unblock(described, mode, "closing")
        self.observer("table", described, "close")

    @staticmethod
    def _check(described: PollDesc, mode: Mode) -> None:
        if described.closing:
            raise ConnectionAbortedError("closed by another task")
        if described.deadline[mode] and described.deadline[mode] <= time.monotonic():
            raise TimeoutError("the deadline is over")

    def _unblock(self, described: PollDesc, mode: Mode, why: str) -> None:
        if isinstance(described.rg if mode == "r" else described.wg, Task):
            self.ready(described, mode, why)

    def _poll(self, block: bool) -> None:
        """One epoll_wait; the tasks that it and the deadlines wake are in the run queue afterwards."""
        if block:
            self.observer("idle")
        until = self._timers[0][0] - time.monotonic() if self._timers else IDLE
        for fd, events in self.epoll.poll(min(max(until, 0.0), IDLE) if block else 0):
            described = self.table[fd]
            if events & (select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR):
                self.ready(described, "r")
            if events & (select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR):
                self.ready(described, "w")
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            when, _, described, mode = heapq.heappop(self._timers)
            if described.closing or described.armed[mode] != when:
                continue  # another timer has taken its place
            described.armed[mode] = 0.0
            if described.deadline[mode] > now:  # moved on since
                self.set_deadline(described, mode, described.deadline[mode])
            elif described.deadline[mode]:
                self._unblock(described, mode, "deadline")


class Connection:
    """A socket for tasks: every method may be the last thing a task does for a long time."""

    def __init__(self, poller: Netpoller, raw: socket.socket) -> None:
        raw.setblocking(False)
        self.raw, self.poller = raw, poller
        self.described = poller.open(raw.fileno())

    @classmethod
    def dial(cls, poller: Netpoller, address: tuple[str, int]) -> Connection:
        """A connection to somebody who listens; who is connecting waits to write. Raises OSError."""
        raw = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        raw.setblocking(False)
        began = raw.connect_ex(address)  # before epoll hears of it: a socket in CLOSED would count as hung up
        connection = cls(poller, raw)
        try:
            if began == errno.EINPROGRESS:
                poller.block(connection.described, "w")
                began = raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if began:
                raise OSError(began, os.strerror(began))
        except OSError:
            connection.release().close()
            raise
        return connection

    def accept(self) -> socket.socket:
        """The next client of a listening socket. Raises OSError when the door is shut."""
        return self._retry("r", self.raw.accept)[0]

    def read(self, most: int = 65536) -> bytes:
        """Bytes, empty at the end of input. Raises TimeoutError, ConnectionError."""
        return self._retry("r", self.raw.recv, most)

    def write(self, data: bytes) -> None:
        """Send all of it. Raises TimeoutError, ConnectionError."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._retry("w", self.raw.send, rest) :]

    def read_by(self, when: float) -> None:
        """Set the deadline of reads (time.monotonic; 0: none)."""
        self.poller.set_deadline(self.described, "r", when)

    def write_by(self, when: float) -> None:
        """Set the deadline of writes (time.monotonic; 0: none)."""
        self.poller.set_deadline(self.described, "w", when)

    def release(self) -> socket.socket:
        """Out of the netpoller's hands; the caller closes the socket."""
        self.poller.close(self.described)
        return self.raw

    def _retry(self, mode: Mode, call: Callable[..., Result], *arguments: Any) -> Result:
        while True:
            try:
                return call(*arguments)
            except BlockingIOError:
                self.poller.block(self.described, mode)
