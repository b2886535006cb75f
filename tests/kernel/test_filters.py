"""Who is followed: processes that run already, whole namespaces, ports; and nobody else."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.conftest import Seen
from tracer.kernel.attach import Mode
from tracer.kernel.probes import ALL_GROUPS, Group
from tracer.kernel.source import Filter, KernelSource
from tracer.kernel.syscalls import CALL
from tracer.states import State

pytestmark = pytest.mark.kernel

SERVER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
server, _ = listener.accept()
server.sendall(server.recv(10)); server.close()
sys.stdin.read()
"""


@pytest.fixture
def server() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server that is already blocked in accept(), and its port."""
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        _wait_until_asleep(process.pid)
        try:
            yield process, port
            process.communicate(timeout=10)
        finally:
            process.kill()  # a test that failed early has not connected: it would wait for ever


def _wait_until_asleep(pid: int) -> None:
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "S":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _finish(source: KernelSource) -> Seen:
    time.sleep(0.05)
    source.stop()
    return Seen(source.drain())


def _echo(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"hello")
        assert client.recv(10) == b"hello"
        assert client.recv(10) == b""


@pytest.mark.parametrize("mode", Mode)
def test_a_listener_that_was_there_is_followed_where_calls_are_not(
    server: tuple[subprocess.Popen[str], int], mode: Mode
) -> None:
    """It is shown to the probes at the exit of a call: also where nothing hangs there afterwards."""
    process, port = server
    source = KernelSource(groups=frozenset({Group.STATES, Group.TIMERS}), mode=mode)
    source.start(Filter(processes=frozenset({process.pid})))
    assert not [row for row in source.status() if row.on and row.probe.group is Group.SYSCALLS]
    _echo(port)
    seen = _finish(source)
    states = [(State(row["old"]), State(row["new"])) for row in seen.of("socket:state") if row["sport"] == port]
    assert states[:3] == [(State.LISTEN, State.SYN_RECV), (State.SYN_RECV, State.ESTABLISHED),
                          (State.ESTABLISHED, State.FIN_WAIT1)]  # fmt: skip
    assert len(seen.of("request:born")) == len(seen.of("request:gone")) == 1


@pytest.mark.parametrize("how", ["process", "port"])
def test_a_server_that_runs_already(server: tuple[subprocess.Popen[str], int], how: str) -> None:
    """Its listener was bound before we came, and it sleeps in accept(): the end of that call is seen, and all after."""
    process, port = server
    source = KernelSource()
    source.start(Filter(processes=frozenset({process.pid})) if how == "process" else Filter(ports=frozenset({port})))
    _echo(port)
    seen = _finish(source)
    theirs = [row for row in seen.of("syscall:exit") if row["pid"] == process.pid]
    assert theirs[0]["call"] == CALL["accept4"] and theirs[0]["ret"] > 0
    taken = seen.of("accept:taken")[0]
    assert taken["sport"] == port and taken["child"] != 0
    calls = [row["call"] for row in theirs]
    assert calls.index(CALL["recvfrom"]) < calls.index(CALL["sendto"]) < calls.index(CALL["close"])
    child = [row for row in seen.of("socket:state") if row["addr"] == taken["child"]]
    assert [row["new"] for row in child][:3] == [State.SYN_RECV, State.ESTABLISHED, State.FIN_WAIT1]
    queued = seen.of("accept:queued")[0]
    assert (queued["sport"], queued["ack_backlog"]) == (port, 1) and queued["addr"] == taken["addr"]
    assert not [row for row in seen.rows if row["pid"] == 0 and row["name"] == "syscall:enter"]


NEIGHBOUR = """
import socket, subprocess, sys
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
print("up", flush=True); sys.stdin.readline()
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
client.send(b"x"); server.recv(1); client.close(); server.close(); listener.close()
"""


@pytest.mark.needs("unshare", "ip")
def test_a_whole_namespace_and_nothing_of_ours() -> None:
    command = ["unshare", "-n", sys.executable, "-c", NEIGHBOUR]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "up\n"
        place = Path(f"/proc/{process.pid}/ns/net").stat().st_ino
        source = KernelSource(groups=ALL_GROUPS - {Group.THREADS})
        source.start(Filter(netns=frozenset({place})))
        with socket.create_server(("127.0.0.1", 0)) as ours, socket.create_connection(ours.getsockname()):
            process.communicate("go\n", timeout=20)
        seen = _finish(source)
    assert {row["netns"] for row in seen.rows if "netns" in row} == {place}
    assert {row["pid"] for row in seen.of("syscall:enter", "syscall:exit")} == {process.pid}
    kinds = {row["name"] for row in seen.rows}
    assert kinds >= {"syscall:enter", "accept:taken", "request:born", "timewait:born", "packet:sent", "packet:received"}
    assert [row["flags"] & 2 for row in seen.of("packet:sent")][:3] == [2, 2, 0]


TWO = """
import socket, sys
first = socket.socket(); first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
first.bind(("127.0.0.1", int(sys.argv[1]))); first.listen()
print(first.getsockname()[1], flush=True)
first.settimeout(20); input()
first.settimeout(0.3); got = 0
try:
    while True: first.accept()[0].close(); got += 1
except TimeoutError: print(got, flush=True)
"""


def test_of_two_that_share_a_port_the_one_that_is_not_followed_keeps_its_children() -> None:
    """SO_REUSEPORT: the kernel shares connections out by tuple; each child is known by its request's listener."""
    pipe = subprocess.PIPE
    with contextlib.ExitStack() as stack:
        listeners, port = [], 0
        for _ in range(2):
            command = [sys.executable, "-c", TWO, str(port)]
            listener = stack.enter_context(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
            stack.callback(listener.kill)
            assert listener.stdin and listener.stdout
            port = int(listener.stdout.readline())
            listeners.append(listener)
        source = KernelSource()
        source.start(Filter(processes=frozenset({listeners[0].pid})))
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(24)]
        taken = [int(listener.communicate("\n", timeout=20)[0]) for listener in listeners]
        seen = _finish(source)
    assert sum(taken) == len(clients) and all(taken)
    born = [row for row in seen.of("socket:state") if row["old"] == State.LISTEN and row["new"] == State.SYN_RECV]
    assert len(born) == len(seen.of("accept:taken")) == taken[0]
