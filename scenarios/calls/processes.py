"""Calls about processes and descriptors: dup, fcntl, limits, kill, and the fork by which one actor becomes two.

After fork(2) two processes hold the same open sockets, and a connection ends only with the last descriptor. The child
of a story is made with CLONE_PARENT: it is a sister of its parent, not a daughter, so that it belongs to the stage
hand, who ends it with all others, however its parent ends.
"""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final

from scenarios.calls.core import c_library, make
from scenarios.calls.sockets import SOCK_NONBLOCK

F_DUPFD_CLOEXEC: Final = 1030
F_GETFL, F_SETFL = 3, 4
CLONE_PARENT: Final = 0x8000
SYS_CLONE: Final = {"x86_64": 56, "aarch64": 220, "riscv64": 220, "ppc64le": 120, "armv7l": 120, "i686": 120}
"""System call numbers (s390x, where the arguments stand otherwise, is left out)."""
SIGTERM, SIGKILL, SIGCHLD = 15, 9, 17
"""As on most of Linux's architectures; written out, for scripts are also read on systems without them."""


def dup(fd: int) -> int:
    """dup(2): a second number for the same open socket; FIN goes out when the last one is closed."""
    return make("dup", f"{fd}", fd, (fd,), lambda: c_library().dup(fd))


def dup2(fd: int, number: int) -> int:
    """dup2(2): the same, under a number of one's choice, which is closed first."""
    return make("dup2", f"{fd}, {number}", fd, (fd, number), lambda: c_library().dup2(fd, number))


def set_nonblocking(fd: int, on: bool = True) -> None:
    """fcntl(F_SETFL, O_NONBLOCK): no call on it sleeps any more; EAGAIN is raised as BlockingIOError."""
    value = SOCK_NONBLOCK if on else 0
    text = f"{fd}, F_SETFL, {'O_NONBLOCK' if on else '0'}"
    make("fcntl", text, fd, (fd, F_SETFL, value), lambda: c_library().fcntl(fd, F_SETFL, value))


def limit_descriptors(most: int) -> None:
    """setrlimit(RLIMIT_NOFILE): descriptor numbers end at `most` - 1; the next open fails with EMFILE.

    Made by Python's own wrapper, which makes prlimit64 and no other call.
    """

    import resource  # which some systems on which scripts are read have not

    def call() -> int:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, max(most, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
        return 0

    make("setrlimit", f"RLIMIT_NOFILE, {most}", -1, (most,), call)


def kill(pid: int, number: int = SIGKILL) -> None:
    """kill(2), kill -9 unless told otherwise: `kill(me.pid("client"))`."""
    make("kill", f"{pid}, {signal.Signals(number).name}", -1, (pid, number), lambda: c_library().kill(pid, number))


def fork() -> int:
    """fork(2) as clone(CLONE_PARENT|SIGCHLD): 0 in the child. Scripts call `me.fork(...)`, which names the child.

    Raises OSError (ENOSYS on a machine whose call number is not known).
    """
    number = SYS_CLONE.get(os.uname().machine)
    if number is None:
        raise OSError(38, f"fork is not known for {os.uname().machine}")
    python = ctypes.PyDLL(None, use_errno=True)  # keeps Python's lock, which the child could not get back

    def call() -> int:
        pid: int = python.syscall(number, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0)
        if pid == 0:
            python.PyOS_AfterFork_Child()
        return pid

    return make("clone", "CLONE_PARENT|SIGCHLD", -1, (CLONE_PARENT | SIGCHLD,), call)
