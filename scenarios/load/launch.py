"""Become another program, with the kernel counting its system calls from the first one on.

The counter has to be opened before the program has any thread, for only threads and processes born later inherit it
(perf_event_open(2), `inherit`); and it begins to count when the program is executed (`enable_on_exec`). So a process of
its own opens it on itself, hands the descriptor to whoever wants to read it (SCM_RIGHTS), and executes the program.
Counting a tracepoint takes CAP_PERFMON and tracefs: without them the program runs all the same, uncounted.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import socket
import struct
import sys
from pathlib import Path
from typing import Final

from scenarios.load.ties import go_with_the_parent

PERF_TYPE_TRACEPOINT: Final = 2
ATTR_SIZE: Final = 64
"""PERF_ATTR_SIZE_VER0."""
DISABLED, INHERIT, ENABLE_ON_EXEC = 1 << 0, 1 << 1, 1 << 12
CLOEXEC: Final = 8
"""PERF_FLAG_FD_CLOEXEC."""
SYS_PERF_EVENT_OPEN: Final = {"x86_64": 298, "aarch64": 241}
TRACEFS: Final = Path("/sys/kernel/tracing")
TRACEPOINT: Final = TRACEFS / "events/raw_syscalls/sys_enter/id"
CLONE_NEWNS: Final = 0x0002_0000
MS_REC, MS_PRIVATE = 1 << 14, 1 << 18


def count_syscalls() -> int:
    """A descriptor that counts this process's system calls from its next exec on. Raises OSError."""
    call = SYS_PERF_EVENT_OPEN.get(platform.machine())
    number = tracepoint()
    if number is None or call is None:
        raise OSError("the tracepoint raw_syscalls:sys_enter cannot be had (tracefs is root's)")
    what = DISABLED | INHERIT | ENABLE_ON_EXEC
    attr = struct.pack("=IIQQQQQ", PERF_TYPE_TRACEPOINT, ATTR_SIZE, number, 0, 0, 0, what)
    buffer = ctypes.create_string_buffer(attr.ljust(ATTR_SIZE, b"\0"))
    libc = ctypes.CDLL(None, use_errno=True)
    fd = int(libc.syscall(call, buffer, 0, -1, -1, CLOEXEC))
    if fd < 0:
        failure = ctypes.get_errno()
        raise OSError(failure, os.strerror(failure))
    return fd


def tracepoint() -> int | None:
    """The number of raw_syscalls:sys_enter.

    Where nobody has mounted tracefs a child does, in a mount namespace of its own: the machine stays as it is.
    """
    if TRACEPOINT.exists():
        return int(TRACEPOINT.read_text())
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(OSError):
            libc = ctypes.CDLL(None, use_errno=True)
            if not libc.unshare(CLONE_NEWNS) and not libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None):
                libc.mount(b"tracefs", str(TRACEFS).encode(), b"tracefs", 0, None)
                os.write(writer, TRACEPOINT.read_bytes())
        os._exit(0)
    os.close(writer)
    told = os.read(reader, 64)
    os.close(reader)
    os.waitpid(child, 0)
    return int(told) if told.strip() else None


def main() -> None:
    """`launch.py CONTROL-FD FILES PROGRAM ARGS...`: FILES is the descriptor limit to ask for."""
    go_with_the_parent()
    control = socket.socket(fileno=int(sys.argv[1]))  # has ended where the parent was gone before: nothing is begun
    files = int(sys.argv[2])
    with contextlib.suppress(ValueError, OSError):  # past the hard limit only with CAP_SYS_RESOURCE
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    try:
        socket.send_fds(control, [b"counted"], [count_syscalls()])
    except OSError as failure:
        control.send(f"system calls are not counted: {failure}".encode())
    control.close()
    os.execv(sys.argv[3], sys.argv[3:])


if __name__ == "__main__":
    main()
