"""System call numbers of the processors that synfin knows, for the calls of `tracer.kinds.SYSCALLS`.

Numbers differ by architecture (arch/x86/entry/syscalls/syscall_64.tbl; include/uapi/asm-generic/unistd.h for arm64 and
riscv64), so the kernel side maps them to the index in SYSCALLS at once and no recording depends on a processor.
"""

from __future__ import annotations

import platform
from typing import Final

from tracer.kinds import SYSCALLS

_X86_64: Final = {
    "read": 0, "write": 1, "close": 3, "poll": 7, "ioctl": 16, "pread64": 17, "pwrite64": 18, "readv": 19,
    "writev": 20, "select": 23, "dup": 32, "dup2": 33, "nanosleep": 35, "sendfile": 40, "socket": 41, "connect": 42,
    "accept": 43, "sendto": 44, "recvfrom": 45, "sendmsg": 46, "recvmsg": 47, "shutdown": 48, "bind": 49,
    "listen": 50, "getsockname": 51, "getpeername": 52, "setsockopt": 54, "getsockopt": 55, "fcntl": 72, "futex": 202,
    "epoll_create": 213, "clock_nanosleep": 230, "epoll_wait": 232, "epoll_ctl": 233, "pselect6": 270, "ppoll": 271,
    "splice": 275, "epoll_pwait": 281, "accept4": 288, "epoll_create1": 291, "dup3": 292, "recvmmsg": 299,
    "sendmmsg": 307, "io_uring_setup": 425, "io_uring_enter": 426, "close_range": 436, "epoll_pwait2": 441,
}  # fmt: skip
_GENERIC: Final = {
    "epoll_create1": 20, "epoll_ctl": 21, "epoll_pwait": 22, "dup": 23, "dup3": 24, "fcntl": 25, "ioctl": 29,
    "close": 57, "read": 63, "write": 64, "readv": 65, "writev": 66, "pread64": 67, "pwrite64": 68, "sendfile": 71,
    "pselect6": 72, "ppoll": 73, "splice": 76, "futex": 98, "nanosleep": 101, "clock_nanosleep": 115, "socket": 198,
    "bind": 200, "listen": 201, "accept": 202, "connect": 203, "getsockname": 204, "getpeername": 205, "sendto": 206,
    "recvfrom": 207, "setsockopt": 208, "getsockopt": 209, "shutdown": 210, "sendmsg": 211, "recvmsg": 212,
    "accept4": 242, "recvmmsg": 243, "sendmmsg": 269, "io_uring_setup": 425, "io_uring_enter": 426,
    "close_range": 436, "epoll_pwait2": 441,
}  # fmt: skip
_TABLES: Final = {"x86_64": _X86_64, "aarch64": _GENERIC, "riscv64": _GENERIC}

MAX_NUMBER: Final = 512
"""Slots of the map from number to index."""

CALL: Final[dict[str, int]] = {name: index for index, name in enumerate(SYSCALLS)}
"""Index in SYSCALLS by name."""

FD_CALLS: Final = frozenset((
    "bind", "listen", "connect", "accept", "accept4", "getsockname", "getpeername", "setsockopt", "getsockopt",
    "shutdown", "close", "sendto", "recvfrom", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg", "read", "write", "readv",
    "writev", "pread64", "pwrite64", "sendfile", "splice", "dup", "dup2", "dup3", "fcntl", "ioctl",
))  # fmt: skip
"""Calls whose first argument is the file descriptor that they are about (splice and sendfile: one of the two)."""

DATA_CALLS: Final = frozenset((
    "sendto", "recvfrom", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg", "read", "write", "readv", "writev", "sendfile",
    "splice", "listen", "connect", "shutdown",
))  # fmt: skip
"""Calls that move a socket's queues: a snapshot follows their return."""

EPOLL_CALLS: Final = frozenset(("epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2"))
"""Calls whose first argument is an epoll instance."""


def numbers(machine: str | None = None) -> dict[int, int]:
    """System call number -> index in SYSCALLS; empty on a processor that is not in the tables."""
    table = _TABLES.get(machine or platform.machine(), {})
    return {number: CALL[name] for name, number in table.items() if name in CALL}
