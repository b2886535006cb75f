"""What programs do, folded: threads and the calls they are in, descriptors, epoll instances.

A file descriptor is a number in one process; the socket behind it is another thing and may outlive it. The number comes
from socket(), accept() or dup(), is copied by fork() and is free again after close(), while the socket may go on for as
long as TCP needs it. An epoll instance watches *descriptors*, and forgets one without being told when its file is
closed (eventpoll_release()).

Each function here takes the world and one event, and replaces records of the world (tracer.world).
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tracer import tasks
from tracer.timeline import Event
from tracer.views import EpollView, ThreadView
from tracer.words import LIBC, call

if TYPE_CHECKING:
    from tracer.world import World

F_DUPFD: Final = 0
F_DUPFD_CLOEXEC: Final = 1030
WAITS_ON_EPOLL: Final = frozenset({"epoll_wait", "epoll_pwait", "epoll_pwait2"})
_DUPS: Final = frozenset({"dup", "dup2", "dup3", "fcntl"})
_DEL: Final = 2
"""EPOLL_CTL_DEL."""


def _thread(world: World, event: Event) -> ThreadView:
    return world.threads.get(event.tid) or ThreadView(event.tid, event.pid, "", "unknown", event.time)


def _enter(world: World, event: Event) -> None:
    known = _thread(world, event)
    bare = LIBC.get(event.call, event.call)
    world.threads[event.tid] = replace(
        known, call=call(event), name=bare, running="running", entered=event.time, fd=event.fd
    )
    _mark(world, event, event.fd)


def _exit(world: World, event: Event) -> None:
    world.threads[event.tid] = replace(
        _thread(world, event), call="", name="", running="running", entered=0, fd=-1
    )  # fmt: skip
    result, name = event["ret"], event.call
    if name == "close" and event.fd >= 0:
        if result != -errno.EBADF:  # after any other error the descriptor is free all the same (filp_close())
            _closed(world, event.pid, event.fd)
        return
    if name == "socket" and result >= 0:
        if event.sock:
            world.fds[event.pid, result] = event.sock
        _mark(world, event, result)
        return
    if name in _DUPS and result >= 0 and (name != "fcntl" or event["arg1"] in (F_DUPFD, F_DUPFD_CLOEXEC)):
        behind = world.fds.get((event.pid, event.fd), event.sock)
        if name in ("dup2", "dup3") and result != event.fd:
            _closed(world, event.pid, result)
        if behind:
            world.fds[event.pid, result] = behind
    _mark(world, event, event.fd)


def _mark(world: World, event: Event, fd: int) -> None:
    """Remember who works on the socket, and by which descriptor."""
    known = world.sockets.get(event.sock)
    if known and fd >= 0 and (known.pid, known.fd) != (event.pid, fd):
        world.sockets[event.sock] = replace(known, pid=event.pid, fd=fd)


def _closed(world: World, pid: int, fd: int) -> None:
    """The descriptor is free: its socket has one name less, and what watched it forgets it."""
    sock = world.fds.pop((pid, fd), 0)
    known = world.sockets.get(sock)
    if known and (known.pid, known.fd) == (pid, fd):
        world.sockets[sock] = replace(known, fd=-1)
    for ep, view in list(world.epolls.items()):
        if view.pid == pid and view.epfd == fd:
            del world.epolls[ep]
        elif view.pid == pid and fd in view.watched:
            world.epolls[ep] = view.without(fd)


def _scheduled(world: World, event: Event) -> None:
    how = {"thread:running": "running", "thread:woken": "runnable"}.get(event.name, "blocked")
    if how == "blocked" and event["was"] == 0:
        how = "runnable"  # preempted: it left the processor, not its work
    known = _thread(world, event)
    since = event.time if how != known.running else known.since
    world.threads[event.tid] = replace(known, pid=event.pid, comm=event["comm"], running=how, since=since)
    if how == "blocked" and known.name in WAITS_ON_EPOLL:
        for ep, view in world.epolls.items():
            if (view.pid, view.epfd) == (event.pid, known.fd) and view.ready:
                world.epolls[ep] = replace(view, ready=())  # it would not sleep if anything were (ep_poll())
                return


def _forked(world: World, event: Event) -> None:
    child, pid = event["child"], event["child_pid"]
    world.threads[child] = ThreadView(child, pid, event["comm"], "runnable", event.time)
    if pid != event.pid:
        for (parent, fd), sock in list(world.fds.items()):
            if parent == event.pid:
                world.fds[pid, fd] = sock


def _ended(world: World, event: Event) -> None:
    world.threads.pop(event.tid, None)
    if event.tid == event.pid:
        for key in [key for key in world.fds if key[0] == event.pid]:
            del world.fds[key]
        for ep in [ep for ep, view in world.epolls.items() if view.pid == event.pid]:
            del world.epolls[ep]
        tasks.ended(world, event.pid)


# epoll


def _epoll(world: World, event: Event) -> EpollView:
    return world.epolls.get(event["ep"]) or EpollView(event["ep"], event.pid, event.get("epfd", -1))


def _control(world: World, event: Event) -> None:
    view = _epoll(world, event)
    view = view.without(event.fd) if event["op"] == _DEL else view.watching(event.fd, event["events"], event["data"])
    world.epolls[view.ep] = view


def _ready(world: World, event: Event) -> None:
    view = world.epolls.get(event["ep"]) or EpollView(event["ep"], 0, -1)  # a softirq's process is not its owner
    if event.fd not in dict(view.ready):
        world.epolls[view.ep] = replace(view, ready=tuple(sorted((*view.ready, (event.fd, 0)))))


def _waited(world: World, event: Event) -> None:
    view = _epoll(world, event)
    entries = list(zip(event["data"], event["events"], strict=True))[: max(event["n"], 0)]
    ready = tuple(sorted((view.fd_of(data), mask) for data, mask in entries))
    world.epolls[view.ep] = replace(view, pid=event.pid, epfd=event["epfd"], ready=ready)


FOLDS: Final[dict[str, Callable[[World, Event], None]]] = {
    "process:fork": _forked,
    "process:exit": _ended,
    "syscall:enter": _enter,
    "syscall:exit": _exit,
    **dict.fromkeys(("thread:blocked", "thread:woken", "thread:running"), _scheduled),
    "epoll:ctl": _control,
    "epoll:ready": _ready,
    "epoll:wait": _waited,
}
"""The kinds of event that programs are behind, and what each changes."""
