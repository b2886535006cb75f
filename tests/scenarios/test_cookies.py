"""A socket's cookie, asked for from another process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from scenarios.cookies import SO_COOKIE, cookie_of

CHILD = "import socket, sys; s = socket.socket(); print(s.fileno(), int.from_bytes(s.getsockopt(1, 57, 8), sys.byteorder), flush=True); input()"  # noqa: E501


def test_a_childs_socket_has_the_cookie_that_the_child_sees() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as it:
        assert it.stdout
        fd, cookie = map(int, it.stdout.readline().split())
        found = cookie_of(it.pid, fd)
        others = (cookie_of(it.pid, 0), cookie_of(it.pid, 999))
        it.communicate("\n")
    if not found:
        pytest.skip("pidfd_getfd is refused here (Yama or seccomp)")
    assert found == cookie
    assert others == (0, 0)
    assert cookie_of(it.pid, fd) == 0


def test_nothing_is_left_open() -> None:
    with socket.socket() as mine:
        mine.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8)
        before = os.listdir("/proc/self/fd")  # noqa: PTH208 - names only
        cookie_of(os.getpid(), mine.fileno())
        cookie_of(os.getpid(), 0)
        assert os.listdir("/proc/self/fd") == before  # noqa: PTH208
