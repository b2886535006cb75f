"""An asyncio loop's account of itself: tasks, the descriptor that each waits for, iterations; told to a timeline.

asyncio has no table of parked readers. A task awaits a future, a stream's future belongs to a transport, the transport
to a descriptor: that is how it is found out what a task waits for. Three places are followed, each by standing before
the real thing and handing everything on: the task's coroutine (each `send` into it is a turn of the task, what it
yields is the future it waits for), the loop's call_soon (a wake-up is put into the run queue), and its selector (before
and after the loop's sleep). The loop itself is told of as task 0: it waits, and it runs.

uvloop keeps its selector to itself, so there only tasks are told of.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable, Coroutine, Generator
from types import CoroutineType
from typing import Any, Final

from scenarios.servers.telling import Teller

LOOP: Final = 0
READ, WRITE = 1, 2
"""selectors.EVENT_READ, EVENT_WRITE."""
SOON: Final = 0.005
"""Seconds after which a loop tells whose sleep is not seen."""


class Table:
    """Who waits for which descriptor: what asyncio knows without keeping it in one place."""

    def __init__(self, teller: Teller) -> None:
        self._teller = teller
        self._rows: dict[int, tuple[str, str]] = {}

    def open(self, fd: int) -> None:
        """Under the selector now."""
        if fd not in self._rows:
            self._rows[fd] = "nil", "nil"
            self._teller.table(fd, "nil", "nil", "open")

    def park(self, fd: int, task: int, writes: bool) -> None:
        """A task waits for it."""
        if row := self._rows.get(fd):
            self._rows[fd] = rg, wg = (row[0], str(task)) if writes else (str(task), row[1])
            self._teller.table(fd, rg, wg, "park", task=task)

    def ready(self, fd: int, mask: int) -> None:
        """The selector has told of it."""
        if fd not in self._rows:
            return
        for bit, why in ((READ, "readable"), (WRITE, "writable")):
            if mask & bit:
                rg, wg = self._rows[fd]
                self._rows[fd] = rg, wg = ("nil", wg) if bit == READ else (rg, "nil")
                self._teller.table(fd, rg, wg, why)

    def close(self, fd: int) -> None:
        """Out of the selector."""
        if row := self._rows.pop(fd, None):
            self._teller.table(fd, row[0], row[1], "close")


class Followed(Coroutine[Any, Any, Any]):
    """A task's coroutine with somebody who takes notes."""

    def __init__(self, number: int, inner: Coroutine[Any, Any, Any], teller: Teller, table: Table) -> None:
        self.number, self._inner, self._teller, self._table = number, inner, teller, table
        self.__qualname__ = self.__name__ = getattr(inner, "__qualname__", type(inner).__name__)

    def send(self, value: Any) -> Any:
        """A turn."""
        return self._turn(lambda: self._inner.send(value))

    def throw(self, *what: Any) -> Any:
        """A turn that begins with an exception (cancelled, timed out)."""
        return self._turn(lambda: self._inner.throw(*what))

    def close(self) -> None:
        """It will have no turn any more."""
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()

    def _turn(self, turn: Callable[[], Any]) -> Any:
        self._teller.task(self.number, "running")
        try:
            future = turn()
        except BaseException:
            self._teller.task(self.number, "over")
            raise
        why, fd, writes = awaited(self._inner)
        if fd >= 0:
            self._table.park(fd, self.number, writes)
        self._teller.task(self.number, "waiting", why=why, fd=fd)
        return future


def awaited(inner: Coroutine[Any, Any, Any]) -> tuple[str, int, bool]:
    """What a suspended coroutine waits for: the function at the bottom of its awaits, the descriptor behind it (-1: not
    known), and whether it waits to write."""
    name, fd, writes = "", -1, False
    at: Any = inner
    while isinstance(at, CoroutineType):
        name = at.__qualname__
        owner = at.cr_frame.f_locals.get("self") if at.cr_frame is not None else None
        transport = getattr(owner, "_transport", None)
        if isinstance(owner, asyncio.StreamReader | asyncio.Protocol | asyncio.StreamWriter) and transport is not None:
            raw: socket.socket | None = transport.get_extra_info("socket")
            fd = raw.fileno() if raw is not None else -1
            writes = not isinstance(owner, asyncio.StreamReader)
        at = at.cr_await
    return name, fd, writes


class Selector:
    """In the place of the loop's selector."""

    def __init__(self, inner: Any, teller: Teller, table: Table) -> None:
        self._inner, self._teller, self._table = inner, teller, table

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def register(self, file: Any, *what: Any) -> Any:
        """Of the loop: a reader or a writer is added."""
        key = self._inner.register(file, *what)
        self._table.open(key.fd)
        return key

    def unregister(self, file: Any) -> Any:
        """Of the loop: the last one is removed."""
        key = self._inner.unregister(file)
        self._table.close(key.fd)
        return key

    def select(self, timeout: float | None = None) -> Any:
        """The loop's sleep, between two iterations."""
        if timeout is None or timeout > 0:
            self._teller.task(LOOP, "waiting", why="select")
            self._teller.flush()
        found = self._inner.select(timeout)
        self._teller.task(LOOP, "running")
        for key, mask in found:
            self._table.ready(key.fd, mask)
        return found


def follow(loop: asyncio.AbstractEventLoop) -> None:
    """From now on a running loop is told of on standard output: its tasks to come, and itself."""
    runtime = type(loop).__module__.partition(".")[0]
    teller = Teller(runtime)
    table = Table(teller)
    numbers = itertools.count(1)
    call_soon = loop.call_soon

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **rest: Any) -> asyncio.Task[Any]:
        followed = Followed(next(numbers), coroutine, teller, table)
        teller.task(followed.number, "new", name=followed.__qualname__, by=running())
        return asyncio.Task(followed, loop=loop, **rest)

    def soon(callback: Any, *arguments: Any, **rest: Any) -> asyncio.Handle:
        if (number := number_of(getattr(callback, "__self__", None))) is not None:
            teller.task(number, "runnable", by=running())
        return call_soon(callback, *arguments, **rest)

    def running() -> int:
        return number_of(asyncio.current_task(loop)) or LOOP

    loop.set_task_factory(factory)
    loop.call_soon = soon  # type: ignore[method-assign, assignment]
    if (selector := getattr(loop, "_selector", None)) is not None:
        loop._selector = Selector(selector, teller, table)  # type: ignore[attr-defined]
        teller.task(LOOP, "new", name="event loop")
        for fd in list(selector.get_map()):
            table.open(fd)
    else:  # its sleep is not seen
        teller.has_something = lambda: loop.call_later(SOON, teller.flush)


def number_of(task: Any) -> int | None:
    """Of a task that is followed."""
    coroutine = task.get_coro() if isinstance(task, asyncio.Task) else None
    return coroutine.number if isinstance(coroutine, Followed) else None
