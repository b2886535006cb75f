"""The kernel's cookie of another process's socket: which socket is behind an actor's descriptor.

A descriptor number means nothing outside its process, and is used again after close. What names the socket for good is
its cookie (SO_COOKIE, sock_gen_cookie()), the one that probes and sock_diag show. It is asked for from here, through a
duplicate of the actor's descriptor (pidfd_getfd(2)), so that no call appears in the actor that is not of the story.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from typing import Final

PIDFD_GETFD: Final = 438
"""The same number on all architectures that have it (Linux 5.6)."""
SO_COOKIE: Final = 57


def cookie_of(pid: int, fd: int) -> int:
    """The cookie of the socket behind a descriptor of a process; 0 when there is none or it may not be asked."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        process = os.pidfd_open(pid)
    except OSError:
        return 0
    try:
        copy = libc.syscall(PIDFD_GETFD, process, fd, 0)
    finally:
        os.close(process)
    if copy < 0:
        return 0
    try:
        duplicate = socket.socket(fileno=copy)
    except OSError:  # not a socket
        os.close(copy)
        return 0
    with duplicate:
        try:
            return int.from_bytes(duplicate.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8), sys.byteorder)
        except OSError:  # a kernel before 4.12
            return 0
