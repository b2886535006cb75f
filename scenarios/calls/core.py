"""How a call of a story is made and noted: the one path that all of them take.

Each call is noted with its arguments, its result and the moments of entry and return on CLOCK_MONOTONIC, the clock of
the probes, so that a play can report what its actors did even where no probe may look. Where the C library would make
more than the call it is named after, the call is made by number.
"""

from __future__ import annotations

import ctypes
import errno as errno_names
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MAY_SLEEP: Final = frozenset(
    {"accept4", "connect", "send", "sendto", "recv", "epoll_wait", "poll", "select", "close", "waitpid", "expect"}
)
"""Calls in which a script may want its actor asleep (`close` sleeps with SO_LINGER; `expect` is the peer's)."""


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


class _Listeners:
    """Who is told: the actor's reporter, once there is one."""

    call: Callable[[Call], None] = staticmethod(lambda call: None)
    sleep: Callable[[Call], None] = staticmethod(lambda call: None)


def report_to(call: Callable[[Call], None], sleep: Callable[[Call], None]) -> None:
    """From now on tell `call` of every call that has come back, and `sleep` of every one that may sleep before it."""
    _Listeners.call, _Listeners.sleep = staticmethod(call), staticmethod(sleep)


_libc: ctypes.CDLL | None = None


def c_library() -> ctypes.CDLL:
    """The C library, loaded at the first call so that scripts can be imported on any system."""
    global _libc
    if _libc is None:
        if not sys.platform.startswith("linux"):
            raise OSError(errno_names.ENOSYS, "scenarios act on Linux only; recordings of them replay anywhere")
        _libc = ctypes.CDLL(None, use_errno=True)
        for name in ("send", "sendto", "recv"):
            getattr(_libc, name).restype = ctypes.c_ssize_t
    return _libc


def make(
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
        _Listeners.sleep(Call(name, args, fd, enter, enter, 0, 0, values=values))
    result = call()
    leave = time.monotonic_ns()
    error = ctypes.get_errno() if result < 0 else 0
    words = note(result) if note and result >= 0 else ""
    _Listeners.call(Call(name, args, fd, enter, leave, result, error, words, values, tuple(ready or ())))
    if result < 0:
        raise OSError(error, os.strerror(error))
    return result


def tell(call: Call) -> None:
    """Note something like a call that was made by other means (the peer's waiting for a segment)."""
    _Listeners.call(call)


def tell_sleep(call: Call) -> None:
    """Note that something like a call is about to sleep."""
    _Listeners.sleep(call)


def fails(number: str, function: Callable[..., object], *args: object, **keywords: object) -> None:
    """Make a call that must fail with this error: `fails("ECONNREFUSED", connect, me.s, me.at("server"))`.

    Raises AssertionError when it succeeds or fails otherwise.
    """
    wanted = getattr(errno_names, number)
    try:
        result = function(*args, **keywords)
    except OSError as failure:
        if failure.errno == wanted:
            return
        came = errno_names.errorcode.get(failure.errno or 0, str(failure.errno))
        raise AssertionError(f"{_name(function)} failed with {came}, not with {number}") from None
    raise AssertionError(f"{_name(function)} succeeded ({result!r}) instead of failing with {number}")


def _name(function: Callable[..., object]) -> str:
    return getattr(function, "__name__", "the call")


def short(data: bytes, limit: int = 24) -> str:
    """Bytes as a C-like literal; repr leaves nothing in them that a terminal would obey."""
    return f'"{repr(data[:limit])[2:-1]}"' + ("..." if len(data) > limit else "")


def words(flags: int, names: dict[int, str]) -> str:
    """A mask in C's words: `MSG_OOB|MSG_DONTWAIT`; what has no name as a number, nothing as `0`."""
    found = [name for bit, name in names.items() if flags & bit == bit]
    rest = flags & ~sum(bit for bit in names if flags & bit == bit)
    return "|".join([*found, *([hex(rest)] if rest else [])]) or "0"
