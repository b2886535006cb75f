"""The system calls of the stories, one Python function each, and not one system call more.

Python's own socket objects are kinder than a story can bear: `accept` is followed by a getsockname, a time-out turns
every recv into poll and recv. Here a socket is what it is to the kernel, a file descriptor, and every function makes
just the call it is named after (through the C library) or raises OSError with the kernel's errno. Each call is noted
with its arguments, its result and the moments of entry and return on CLOCK_MONOTONIC, the clock of the probes, so that
a play can report what its actors did even where no probe may look.
"""

from __future__ import annotations

import ctypes
import errno as errno_names
import functools
import os
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

AF_INET: Final = 2
SOCK_STREAM: Final = 1
SOCK_NONBLOCK: Final = 0o4000
SOCK_CLOEXEC: Final = 0o2000000
SHUT_RD, SHUT_WR, SHUT_RDWR = 0, 1, 2
EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD = 1, 2, 3
EPOLLIN: Final = 0x001
EPOLLOUT: Final = 0x004
EPOLLERR: Final = 0x008
EPOLLHUP: Final = 0x010
EPOLLRDHUP: Final = 0x2000
EPOLLET: Final = 1 << 31
"""Values of include/uapi and of most architectures; written out for scripts are also read where there is no epoll."""

EPOLL_FLAGS: Final = (
    (EPOLLIN, "EPOLLIN"),
    (EPOLLOUT, "EPOLLOUT"),
    (EPOLLERR, "EPOLLERR"),
    (EPOLLHUP, "EPOLLHUP"),
    (EPOLLRDHUP, "EPOLLRDHUP"),
    (EPOLLET, "EPOLLET"),
)
_CTL_NAMES: Final = {EPOLL_CTL_ADD: "EPOLL_CTL_ADD", EPOLL_CTL_DEL: "EPOLL_CTL_DEL", EPOLL_CTL_MOD: "EPOLL_CTL_MOD"}
_SHUT_NAMES: Final = {SHUT_RD: "SHUT_RD", SHUT_WR: "SHUT_WR", SHUT_RDWR: "SHUT_RDWR"}

MAY_SLEEP: Final = frozenset({"accept4", "connect", "send", "recv", "epoll_wait"})
"""Calls in which a script may want its actor asleep."""

Address = tuple[str, int]


@dataclass(frozen=True)
class Call:
    """One system call as its caller saw it."""

    name: str
    args: str
    """Arguments in C's words, as strace shows them."""
    fd: int
    """The descriptor it was about, -1 when it made a new one."""
    enter_ns: int
    """CLOCK_MONOTONIC before the call."""
    exit_ns: int
    """CLOCK_MONOTONIC after it."""
    result: int
    """Return value; -1 when it failed."""
    errno: int
    """0 when it did not fail."""
    note: str = ""
    """What the call handed back, in words (the ready list of epoll_wait, the first bytes of a recv)."""
    values: tuple[int, ...] = ()
    """Arguments as the kernel gets them, pointers as 0."""
    ready: tuple[tuple[int, int], ...] = ()
    """What epoll_wait handed back: descriptor and mask of each entry."""

    def __str__(self) -> str:
        end = f"{self.result}"
        if self.errno:
            end += f" {errno_names.errorcode.get(self.errno, self.errno)}"
        return f"{self.name}({self.args}) = {end}{f' {self.note}' if self.note else ''}"


on_call: Callable[[Call], None] = lambda call: None  # noqa: E731 - replaced by the actor's reporter
on_sleep: Callable[[Call], None] = lambda call: None  # noqa: E731 - told before a call that may sleep

_libc: ctypes.CDLL | None = None


def _c() -> ctypes.CDLL:
    """The C library, loaded at the first call so that scripts can be imported on any system."""
    global _libc
    if _libc is None:
        if not sys.platform.startswith("linux"):
            raise OSError(errno_names.ENOSYS, "scenarios act on Linux only; recordings of them replay anywhere")
        _libc = ctypes.CDLL(None, use_errno=True)
        for name in ("send", "recv"):
            getattr(_libc, name).restype = ctypes.c_ssize_t
    return _libc


def prepare() -> None:
    """Do what would otherwise be done, with system calls of its own, at the first call of a story."""
    _c()
    _event_type()


def _make(
    name: str,
    args: str,
    fd: int,
    values: tuple[int, ...],
    call: Callable[[], int],
    note: Callable[[int], str] | None = None,
    ready: list[tuple[int, int]] | None = None,
) -> int:
    """Make one call, note it, raise OSError for -1."""
    enter = time.monotonic_ns()
    if name in MAY_SLEEP:
        on_sleep(Call(name, args, fd, enter, enter, 0, 0, values=values))
    result = call()
    leave = time.monotonic_ns()
    error = ctypes.get_errno() if result < 0 else 0
    words = note(result) if note and result >= 0 else ""
    on_call(Call(name, args, fd, enter, leave, result, error, words, values, tuple(ready or ())))
    if result < 0:
        raise OSError(error, os.strerror(error))
    return result


def _inet(address: Address) -> bytes:
    """struct sockaddr_in."""
    host, port = address
    return struct.pack("=H", AF_INET) + struct.pack("!H", port) + bytes(map(int, host.split("."))) + bytes(8)


def flag_words(flags: int) -> str:
    """An epoll mask in the kernel's words: `EPOLLIN|EPOLLRDHUP`."""
    return "|".join(name for bit, name in EPOLL_FLAGS if flags & bit) or "0"


def socket(flags: int = 0) -> int:
    """socket(AF_INET, SOCK_STREAM): a descriptor for an endpoint that is nowhere yet, state CLOSE. Close-on-exec."""
    words = "AF_INET, SOCK_STREAM" + ("|SOCK_NONBLOCK" if flags & SOCK_NONBLOCK else "")
    return _make(
        "socket",
        words,
        -1,
        (AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0),
        lambda: _c().socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0),
    )


def bind(fd: int, address: Address) -> None:
    """bind(2): give the endpoint its local address and port."""
    raw = _inet(address)
    _make("bind", f"{fd}, {address[0]}:{address[1]}", fd, (fd, 0, len(raw)), lambda: _c().bind(fd, raw, len(raw)))


def listen(fd: int, backlog: int) -> None:
    """listen(2): state LISTEN; the SYN queue and the accept queue come to exist, limited by the backlog."""
    _make("listen", f"{fd}, {backlog}", fd, (fd, backlog), lambda: _c().listen(fd, backlog))


def accept(fd: int, flags: int = 0) -> int:
    """accept4(2) without asking for the peer's address: take the first connection out of the accept queue."""
    words = f"{fd}, NULL, NULL, {'SOCK_NONBLOCK' if flags & SOCK_NONBLOCK else '0'}"
    return _make(
        "accept4",
        words,
        fd,
        (fd, 0, 0, SOCK_CLOEXEC | flags),
        lambda: _c().accept4(fd, None, None, SOCK_CLOEXEC | flags),
    )


def connect(fd: int, address: Address) -> None:
    """connect(2): send the SYN; a blocking socket sleeps until the handshake is over or has failed."""
    raw = _inet(address)
    _make("connect", f"{fd}, {address[0]}:{address[1]}", fd, (fd, 0, len(raw)), lambda: _c().connect(fd, raw, len(raw)))


def send(fd: int, data: bytes, flags: int = 0) -> int:
    """send(2): copy into the send buffer; returns how many bytes were taken."""
    # No MSG_NOSIGNAL: Python ignores SIGPIPE, so a broken pipe comes back as EPIPE.
    words = f"{fd}, {_short(data)}, {len(data)}"
    return _make("send", words, fd, (fd, 0, len(data), flags), lambda: _c().send(fd, data, len(data), flags))


def recv(fd: int, size: int, flags: int = 0) -> bytes:
    """recv(2): take bytes out of the receive buffer; empty bytes mean that the peer's FIN has been reached."""
    buffer = ctypes.create_string_buffer(size)
    count = _make(
        "recv",
        f"{fd}, {size}",
        fd,
        (fd, 0, size, flags),
        lambda: _c().recv(fd, buffer, size, flags),
        lambda n: _short(buffer.raw[:n]) if n else "end of file",
    )
    return buffer.raw[:count]


def shutdown(fd: int, how: int) -> None:
    """shutdown(2): close one direction of the connection (SHUT_WR sends FIN) and keep the descriptor."""
    _make("shutdown", f"{fd}, {_SHUT_NAMES[how]}", fd, (fd, how), lambda: _c().shutdown(fd, how))


def setsockopt(fd: int, level: int, option: int, value: int | bytes) -> None:
    """setsockopt(2) with an int or raw bytes."""
    raw = value if isinstance(value, bytes) else struct.pack("=i", value)
    words = f"{fd}, {level}, {option}, {value!r}"
    _make("setsockopt", words, fd, (fd, level, option), lambda: _c().setsockopt(fd, level, option, raw, len(raw)))


def getsockopt(fd: int, level: int, option: int) -> int:
    """getsockopt(2) of an int option, SO_ERROR for one."""
    value, size = ctypes.c_int(), ctypes.c_uint(4)

    def note(_: int) -> str:
        return f"[{value.value}]"

    call = lambda: _c().getsockopt(fd, level, option, ctypes.byref(value), ctypes.byref(size))  # noqa: E731
    _make("getsockopt", f"{fd}, {level}, {option}", fd, (fd, level, option), call, note)
    return value.value


def close(fd: int) -> None:
    """close(2): free the number; the kernel's socket may live on."""
    _make("close", f"{fd}", fd, (fd,), lambda: _c().close(fd))


def epoll_create() -> int:
    """epoll_create1(2): an empty interest list and an empty ready list."""
    return _make("epoll_create1", "EPOLL_CLOEXEC", -1, (SOCK_CLOEXEC,), lambda: _c().epoll_create1(SOCK_CLOEXEC))


def epoll_ctl(epoll: int, operation: int, fd: int, events: int = 0) -> None:
    """epoll_ctl(2): change the interest list. `events` is the mask; the kernel adds EPOLLERR and EPOLLHUP itself."""
    words = f"{epoll}, {_CTL_NAMES[operation]}, {fd}, {flag_words(events)}"
    event = (_event_type() * 1)()
    event[0].events, event[0].data = events, fd
    values = (epoll, operation, fd, events)
    _make("epoll_ctl", words, epoll, values, lambda: _c().epoll_ctl(epoll, operation, fd, event))


def epoll_wait(epoll: int, milliseconds: int = -1, maxevents: int = 64) -> list[tuple[int, int]]:
    """epoll_wait(2): sleep until something watched is ready, for ever with -1; returns (fd, mask) pairs."""
    events = (_event_type() * maxevents)()
    ready: list[tuple[int, int]] = []

    def call() -> int:
        count: int = _c().epoll_wait(epoll, events, maxevents, milliseconds)
        ready.extend((int(each.data), int(each.events)) for each in events[: max(count, 0)])
        return count

    _make(
        "epoll_wait",
        f"{epoll}, {maxevents}, {milliseconds}",
        epoll,
        (epoll, 0, maxevents, milliseconds),
        call,
        lambda n: "; ".join(f"fd {fd} {flag_words(mask)}" for fd, mask in ready),
        ready,
    )
    return ready


@functools.cache
def _event_type() -> type[ctypes.Structure]:
    """struct epoll_event, which only x86-64 packs (include/uapi/linux/eventpoll.h)."""

    class Event(ctypes.Structure):
        _pack_ = 1 if os.uname().machine == "x86_64" else 0
        _fields_ = (("events", ctypes.c_uint32), ("data", ctypes.c_uint64))

    return Event


def _short(data: bytes, limit: int = 24) -> str:
    """Bytes as a C-like literal; repr leaves nothing in them that a terminal would obey."""
    return f'"{repr(data[:limit])[2:-1]}"' + ("..." if len(data) > limit else "")
