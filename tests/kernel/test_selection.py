"""Every selection over IPv4, IPv6 and v4-mapped addresses: all of the play is seen, and nothing of its twin.

The twin does the same before, during and after, from the very port of the tracked client, once even with the very
same pair of addresses and ports. Nothing of it may ever appear.
"""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.conftest import Seen
from tracer.kernel.source import Filter, KernelSource
from tracer.states import State
from tui.cli_cgroups import unified

pytestmark = [pytest.mark.kernel, pytest.mark.needs("ip")]

PLAY = """
import os, socket, struct, subprocess, sys
family, host, bound, how, cgroup, uses, server_port = sys.argv[1:]
if how == "netns":
    import ctypes; assert ctypes.CDLL(None).unshare(0x40000000) == 0
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
if cgroup:
    open(cgroup + "/cgroup.procs", "w").write(str(os.getpid()))
print(os.stat("/proc/self/ns/net").st_ino, flush=True)
kind = socket.AF_INET if family == "4" else socket.AF_INET6
for line in sys.stdin:
    listener = socket.socket(kind); listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if kind == socket.AF_INET6: listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind((bound, int(server_port))); listener.listen(5)
    client = socket.socket(kind); client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.bind((host, int(uses)))
    client.connect((host, listener.getsockname()[1]))
    server, _ = listener.accept()
    client.send(b"hello"); assert server.recv(9) == b"hello"
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # no TIME_WAIT: the pair is free
    client.close(); server.close(); listener.close()
    print("done", flush=True)
"""
FAMILIES = {"v4": ("4", "127.0.0.1", "127.0.0.1"), "v6": ("6", "::1", "::1"), "mapped": ("6", "::ffff:127.0.0.1", "::")}


def free_ports(count: int) -> list[int]:
    """Ports below those that the kernel hands out by itself, so that no other test takes them in between."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(first // 2, first)
        with socket.socket(socket.AF_INET6) as one, contextlib.suppress(OSError):
            one.bind(("::", port))  # and so for IPv4
            found.append(port)
    return found


class Actor:
    """A process that plays whenever it is told to."""

    def __init__(self, address: tuple[str, str, str], how: str, cgroup: str, client: int, server: int) -> None:
        words = [*address, how, cgroup, str(client), str(server)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", PLAY, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.netns = int(self.process.stdout.readline())

    def play(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)


@pytest.fixture
def cgroup() -> Iterator[tuple[Path, Path]]:
    """A cgroup of our own and one inside it."""
    root = unified()
    if root is None:
        pytest.skip("kernel lacks a mounted cgroup v2 hierarchy")
    outer = root / f"synfin-test-{uuid.uuid4().hex[:12]}"
    outer.mkdir()
    (outer / "inner").mkdir()
    yield outer, outer / "inner"
    deadline = time.monotonic() + 5
    for path in (outer / "inner", outer):
        while path.exists() and time.monotonic() < deadline:
            with contextlib.suppress(OSError):  # busy until the last process is reaped
                path.rmdir()
            time.sleep(0.01)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("how", ["tree", "port", "netns", "cgroup"])
def test_all_of_the_play_and_nothing_of_its_twin(how: str, family: str, cgroup: tuple[Path, Path]) -> None:
    outer, inner = cgroup
    address = FAMILIES[family]
    client, server, other = free_ports(3)
    theirs, again = (other, 0) if how == "port" else (client, server)
    twins = [Actor(address, "", "", theirs, 0), Actor(address, "", "", theirs, again)]  # the same port; the same pair
    mine = Actor(address, how, str(inner) if how == "cgroup" else "", client, server)
    chosen = {
        "tree": Filter(processes=frozenset({mine.process.pid})),
        "port": Filter(ports=frozenset({server})),
        "netns": Filter(netns=frozenset({mine.netns})),
        "cgroup": Filter(cgroups=frozenset({outer.stat().st_ino})),  # it is in the one inside
    }[how]
    source = KernelSource()
    source.start(chosen)
    for actor in (twins[0], mine, *twins):
        actor.play()
    for actor in (mine, *twins):
        actor.end()
    time.sleep(0.05)
    source.stop()
    seen = Seen(source.drain())
    tuples = {(row["sport"], row["dport"]) for row in seen.rows if row.get("sport") and row.get("dport")}
    assert tuples == {(client, server), (server, client)}
    assert {row["pid"] for row in seen.of("syscall:enter", "syscall:exit")} == {mine.process.pid}
    assert {row["netns"] for row in seen.rows if row.get("netns")} == {mine.netns}
    opened = seen.of("packet:sent")
    assert [row["flags"] & 0x12 for row in opened][:3] == [2, 0x12, 0x10]
    assert len([row for row in opened if row["flags"] & 2]) == 2  # one SYN, one SYN-ACK: the twin's are not ours
    assert {row["family"] for row in opened} == {6 if family == "v6" else 4}
    states = [State(row["new"]) for row in seen.of("socket:state")]
    assert states.count(State.LISTEN) == 1 and states.count(State.ESTABLISHED) == 2
    assert {row["name"] for row in seen.rows} >= {
        "socket:readable", "accept:queued", "accept:taken", "request:born", "packet:received", "socket:destroy",
        "reset:sent", "reset:received", "syscall:exit",
    }  # fmt: skip
    assert source.losses().lost == 0
