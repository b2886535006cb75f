"""Calls that wait for readiness: epoll, poll and select.

The three tell the same story (a descriptor is readable, writable, in error) at different prices: select and poll are
handed the whole list at every call, epoll keeps it in the kernel between calls.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Iterable
from typing import Final

from scenarios.calls.core import c_library, make, words
from scenarios.calls.sockets import SOCK_CLOEXEC

EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD = 1, 2, 3
EPOLLIN: Final = 0x001
EPOLLPRI: Final = 0x002
EPOLLOUT: Final = 0x004
EPOLLERR: Final = 0x008
EPOLLHUP: Final = 0x010
EPOLLRDHUP: Final = 0x2000
EPOLLEXCLUSIVE: Final = 1 << 28
EPOLLONESHOT: Final = 1 << 30
EPOLLET: Final = 1 << 31
POLLIN, POLLPRI, POLLOUT, POLLERR, POLLHUP, POLLRDHUP = 0x1, 0x2, 0x4, 0x8, 0x10, 0x2000

EPOLL_FLAGS: Final = (
    (EPOLLIN, "EPOLLIN"),
    (EPOLLPRI, "EPOLLPRI"),
    (EPOLLOUT, "EPOLLOUT"),
    (EPOLLERR, "EPOLLERR"),
    (EPOLLHUP, "EPOLLHUP"),
    (EPOLLRDHUP, "EPOLLRDHUP"),
    (EPOLLEXCLUSIVE, "EPOLLEXCLUSIVE"),
    (EPOLLONESHOT, "EPOLLONESHOT"),
    (EPOLLET, "EPOLLET"),
)
_CTL_NAMES: Final = {EPOLL_CTL_ADD: "EPOLL_CTL_ADD", EPOLL_CTL_DEL: "EPOLL_CTL_DEL", EPOLL_CTL_MOD: "EPOLL_CTL_MOD"}
_POLL_NAMES: Final = {
    POLLIN: "POLLIN",
    POLLPRI: "POLLPRI",
    POLLOUT: "POLLOUT",
    POLLERR: "POLLERR",
    POLLHUP: "POLLHUP",
    POLLRDHUP: "POLLRDHUP",
}
FD_SETSIZE: Final = 1024
"""Descriptors that a select(2) can speak of: those below this number."""


def flag_words(flags: int) -> str:
    """An epoll mask in the kernel's words: `EPOLLIN|EPOLLRDHUP`."""
    return "|".join(name for bit, name in EPOLL_FLAGS if flags & bit) or "0"


def epoll_create() -> int:
    """epoll_create1(2): an empty interest list and an empty ready list."""
    return make("epoll_create1", "EPOLL_CLOEXEC", -1, (SOCK_CLOEXEC,), lambda: c_library().epoll_create1(SOCK_CLOEXEC))


def epoll_ctl(epoll: int, operation: int, fd: int, events: int = 0) -> None:
    """epoll_ctl(2): change the interest list. `events` is the mask; the kernel adds EPOLLERR and EPOLLHUP itself."""
    text = f"{epoll}, {_CTL_NAMES[operation]}, {fd}, {flag_words(events)}"
    event = (event_type() * 1)()
    event[0].events, event[0].data = events, fd
    values = (epoll, operation, fd, events)
    make("epoll_ctl", text, epoll, values, lambda: c_library().epoll_ctl(epoll, operation, fd, event))


def epoll_wait(epoll: int, milliseconds: int = -1, maxevents: int = 64) -> list[tuple[int, int]]:
    """epoll_wait(2): sleep until something watched is ready, for ever with -1; returns (fd, mask) pairs."""
    events = (event_type() * maxevents)()
    ready: list[tuple[int, int]] = []

    def call() -> int:
        count: int = c_library().epoll_wait(epoll, events, maxevents, milliseconds)
        ready.extend((int(each.data), int(each.events)) for each in events[: max(count, 0)])
        return count

    make(
        "epoll_wait",
        f"{epoll}, {maxevents}, {milliseconds}",
        epoll,
        (epoll, 0, maxevents, milliseconds),
        call,
        lambda n: "; ".join(f"fd {fd} {flag_words(mask)}" for fd, mask in ready),
        ready,
    )
    return ready


def poll(watched: dict[int, int], milliseconds: int = -1) -> list[tuple[int, int]]:
    """poll(2) of descriptors and their masks (`{fd: POLLIN}`); returns (fd, mask) pairs of those that are ready."""
    array = (_PollFd * len(watched))(*(_PollFd(fd, mask, 0) for fd, mask in watched.items()))
    shown = ", ".join(f"{{{fd} {words(mask, _POLL_NAMES)}}}" for fd, mask in watched.items())

    def ready() -> list[tuple[int, int]]:
        return [(each.fd, each.revents) for each in array if each.revents]

    make(
        "poll",
        f"[{shown}], {milliseconds}",
        next(iter(watched), -1),
        (0, len(watched), milliseconds),
        lambda: c_library().poll(array, len(watched), milliseconds),
        lambda n: "; ".join(f"fd {fd} {words(mask, _POLL_NAMES)}" for fd, mask in ready()),
    )
    return ready()


def select(
    readers: Iterable[int], writers: Iterable[int] = (), urgent: Iterable[int] = (), seconds: float | None = None
) -> tuple[list[int], list[int], list[int]]:
    """select(2): which are readable, writable, or have urgent data. Raises ValueError from descriptor 1024 on."""
    asked = [sorted(each) for each in (readers, writers, urgent)]
    highest = max((fd for fds in asked for fd in fds), default=-1)
    if highest >= FD_SETSIZE:
        raise ValueError(f"select() knows descriptors below {FD_SETSIZE} only, not {highest}")
    sets = [_fd_set(fds) for fds in asked]
    limit = None if seconds is None else (ctypes.c_long * 2)(int(seconds), round(seconds % 1 * 1e6))

    def found() -> list[list[int]]:
        return [[fd for fd in fds if _has(bits, fd)] for fds, bits in zip(asked, sets, strict=True)]

    make(
        "select",
        f"{highest + 1}, {asked[0]}, {asked[1]}, {asked[2]}, {'NULL' if seconds is None else seconds}",
        highest,
        (highest + 1, 0, 0, 0),
        lambda: c_library().select(highest + 1, *sets, limit),
        lambda n: f"in {found()[0]} out {found()[1]} urgent {found()[2]}",
    )
    reading, writing, exceptional = found()
    return reading, writing, exceptional


class _PollFd(ctypes.Structure):
    _fields_ = (("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short))


def _fd_set(fds: list[int]) -> ctypes.Array[ctypes.c_ubyte]:
    bits = (ctypes.c_ubyte * (FD_SETSIZE // 8))()
    for fd in fds:
        bits[fd // 8] |= 1 << fd % 8  # little-endian longs: the same as bytes
    return bits


def _has(bits: ctypes.Array[ctypes.c_ubyte], fd: int) -> bool:
    return bool(bits[fd // 8] & 1 << fd % 8)


@functools.cache
def event_type() -> type[ctypes.Structure]:
    """struct epoll_event, which only x86-64 packs (include/uapi/linux/eventpoll.h)."""

    class Event(ctypes.Structure):
        _pack_ = 1 if os.uname().machine == "x86_64" else 0
        _fields_ = (("events", ctypes.c_uint32), ("data", ctypes.c_uint64))

    return Event
