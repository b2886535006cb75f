"""Whose a socket is: processes and what they fork, descriptors, cgroups."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("sock_diag is Linux's", allow_module_level=True)

from tracer.tables import diag
from tracer.tables.belong import CGROUP_ID, Family, Holders, OfCgroup, OfProcesses
from tui.cli_cgroups import below, find, members, unified
from tui.cli_errors import Trouble


def messages(port: int) -> list[bytes]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, diag.NETLINK_SOCK_DIAG) as netlink:
        number = port.to_bytes(2, "big")
        return [m for m in diag.dump(netlink) if number in (m[diag.SPORT], m[diag.DPORT])]


def test_a_family_keeps_those_whose_parent_is_gone() -> None:
    text = "sleep 60 & echo $!; read line"
    with subprocess.Popen(["sh", "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        family = Family([parent.pid])
        try:
            assert family() == {parent.pid, child}
            assert Family([parent.pid], themselves=False)() == {child}
            assert parent.stdin is not None
            parent.stdin.close()  # ends its read; communicate() would wait for the child too
            parent.wait(10)
            assert family() == {child}
            assert Family([parent.pid])() == set()  # nobody had met it
        finally:
            os.kill(child, 9)


def test_a_socket_in_the_queue_is_its_listeners() -> None:
    mine = OfProcesses(Holders(lambda: {os.getpid()}))
    strangers = OfProcesses(Holders(set))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            found = messages(port)
            waiting = [m for m in found if not any(m[diag.INODE])]
            assert len(found) == 3 and len(waiting) == 1
            assert not mine(waiting[0])  # its listener has not been met yet
            assert [mine(m) for m in found if any(m[diag.INODE])] == [True, True]
            assert mine(waiting[0])
            assert not any(strangers(m) for m in found)


def test_a_new_descriptor_is_found_when_its_inode_is_asked_for() -> None:
    holders = Holders(lambda: {os.getpid()})
    with socket.socket() as first:
        assert holders.owner(os.fstat(first.fileno()).st_ino) == (os.getpid(), first.fileno())
        with socket.socket() as second:
            time.sleep(0.01)
            assert holders.owner(os.fstat(second.fileno()).st_ino) == (os.getpid(), second.fileno())
    assert holders.owner(1) is None


@pytest.mark.kernel
def test_a_cgroup_and_those_inside_it() -> None:
    root = unified()
    if root is None:
        pytest.skip("kernel lacks a mounted cgroup v2 hierarchy")
    outer = root / f"synfin-test-{uuid.uuid4().hex[:12]}"
    inner = outer / "inner"
    inner.mkdir(parents=True)
    text = (
        "import os, socket, sys\n"
        f"open('{inner}/cgroup.procs', 'w').write(str(os.getpid()))\n"
        "s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", text]
    try:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            (told,) = messages(int(process.stdout.readline()))
            assert CGROUP_ID in diag.attributes(told)
            assert OfCgroup(outer)(told) and OfCgroup(inner)(told)
            assert members(outer) == members(inner) == [process.pid]
            assert set(below(outer)) == {outer, inner}
            assert find(outer.name) == outer == find(str(outer)) == find("/" + outer.name)
            with socket.create_server(("127.0.0.1", 0)) as ours:
                (other,) = messages(ours.getsockname()[1])
            assert not OfCgroup(outer)(other)
            process.communicate()
    finally:
        deadline = time.monotonic() + 5
        while members(outer) and time.monotonic() < deadline:
            time.sleep(0.01)
        inner.rmdir()
        outer.rmdir()
    with pytest.raises(Trouble, match="there is no cgroup"):
        find(outer.name)
