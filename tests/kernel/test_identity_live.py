"""Who is who when everything is used again: descriptors inherited, passed on, doubled; fds, tuples and pids reused."""

from __future__ import annotations

import platform
import socket
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.kernel.conftest import Play, Seen
from tracer.identity import Identities
from tracer.kernel.source import Filter, KernelSource
from tracer.kernel.syscalls import CALL
from tracer.kinds import SYSCALLS
from tracer.states import State

pytestmark = pytest.mark.kernel

SHARED = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname()); server, _ = listener.accept()
left, right = socket.socketpair()
inherits = os.fork()
if inherits == 0:                      # has the very descriptor of its parent
    server.send(b"from the child"); os._exit(0)
os.waitpid(inherits, 0)
receives = os.fork()
if receives == 0:                      # has none of it, and is given it over a Unix socket
    os.close(server.fileno()); left.close()
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
    _, fds, _, _ = socket.recv_fds(right, 10, 1)
    os.write(fds[0], b"from another"); os._exit(0)
socket.send_fds(left, [b"take it"], [server.fileno()]); os.waitpid(receives, 0)
doubled = os.dup(server.fileno()); server.close(); os.write(doubled, b"from the double"); os.close(doubled)
while client.recv(100): pass
client.close()
again = socket.socket()                # takes a number that was another's
again.close()
"""


def resolved(seen: Seen) -> list[dict[str, Any]]:
    """Rows with their socket and connection of the timeline."""
    Identities().resolve(seen.batch)
    for row, head in zip(seen.rows, seen.batch.heads, strict=True):
        row |= {"sock": int(head["sock"]), "conn": int(head["conn"])}
    return seen.rows


def test_a_socket_is_the_same_in_whoevers_hands(source: KernelSource, run: Play) -> None:
    rows = resolved(run(source, SHARED))
    sent = [row for row in rows if row["name"] == "syscall:exit" and row["call"] in (CALL["sendto"], CALL["write"])]
    sent = [row for row in sent if row["sock"]]
    assert len(sent) == 3  # three processes or descriptors, one socket, one connection
    assert len({row["sock"] for row in sent}) == 1 and len({row["conn"] for row in sent}) == 1
    child, another, double = sent
    assert len({child["pid"], another["pid"], double["pid"]}) == 3
    accepted = next(row for row in rows if row["name"] == "accept:taken")["child_fd"]
    assert child["fd"] == accepted and another["fd"] >= 20 and double["fd"] not in (accepted, another["fd"])
    closed = [row for row in rows if row["name"] == "syscall:exit" and row["call"] == CALL["close"]]
    both = [row["fd"] for row in closed if row["sock"] == double["sock"] and row["pid"] == double["pid"]]
    assert both == [accepted, double["fd"]]
    assert [row["ret"] for row in closed if row["sock"] == double["sock"]] == [0] * len([*both, "the receiver's own"])
    states = [State(row["new"]) for row in rows if row["name"] == "socket:state" and row["sock"] == double["sock"]]
    assert states[0] in (State.SYN_RECV, State.ESTABLISHED) and states[-1] in (State.CLOSE, State.LAST_ACK)
    # a number used again is another socket
    made = [row for row in rows if row["name"] == "syscall:exit" and SYSCALLS[row["call"]] == "socket"]
    last = made[-1]
    before = {row["sock"] for row in closed if row["fd"] == last["fd"] and row["pid"] == last["pid"]} - {last["sock"]}
    assert last["sock"] and before, "the last socket's number was another socket's before"


REUSED = """
import socket, struct
def port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0)); return s.getsockname()[1]
server_port, client_port = port(), port()
for _ in range(3):
    listener = socket.socket(); listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", server_port)); listener.listen(1)
    client = socket.socket(); client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.bind(("127.0.0.1", client_port)); client.connect(("127.0.0.1", server_port))
    server, _ = listener.accept(); client.send(b"x"); server.recv(1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close(); server.close(); listener.close()
"""


def test_one_pair_of_ports_three_connections(source: KernelSource, run: Play) -> None:
    rows = resolved(run(source, REUSED))
    tuples = {(row["sport"], row["dport"]) for row in rows if row["name"] == "packet:sent"}
    assert len(tuples) == 2
    connections = sorted({row["conn"] for row in rows if row["name"] == "packet:sent"})
    assert len(connections) == 3
    for number in connections:
        mine = [row for row in rows if row["conn"] == number]
        assert len({row["sock"] for row in mine if row["sock"]}) == 2
        assert [row["flags"] & 0x12 for row in mine if row["name"] == "packet:sent"][:3] == [2, 0x12, 0x10]
        states = [State(row["new"]) for row in mine if row["name"] == "socket:state"]
        assert states.count(State.SYN_SENT) == 1 and states.count(State.CLOSE) == 2
    fds = [
        {row["fd"] for row in rows if row["conn"] == number and row["name"] == "syscall:exit"} for number in connections
    ]
    assert fds[0] & fds[1] & fds[2]  # and the same numbers of descriptors


# fork(2) whose child gets a certain pid: clone3(2) with set_tid. A process of its own does so, with one thread: the
# child of one with several finds the locks of threads that it does not have.
FORKS = """
import ctypes, os, signal, socket, struct, sys
pid, port = int(sys.argv[1]), int(sys.argv[2])
wanted = ctypes.c_int32(pid)
arguments = struct.pack("=11Q", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, ctypes.addressof(wanted), 1, 0)
libc = ctypes.CDLL(None, use_errno=True)
made = libc.syscall(435, arguments, len(arguments))
if made == 0:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.send(b"x")
    os._exit(0)
if made < 0:
    sys.exit(os.strerror(ctypes.get_errno()))
os.waitpid(made, 0)
print(made)
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="kernel lacks nothing: not tried on this processor")
def test_a_pid_used_again_is_a_stranger() -> None:
    source = KernelSource()
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as first:
        source.start(Filter(processes=frozenset({first.pid})))
        assert source.followed_processes() == {first.pid}
        assert first.stdin is not None
        first.stdin.close()
        first.wait(10)
    deadline = time.monotonic() + 5
    while source.followed_processes() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert source.followed_processes() == set()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        words = [sys.executable, "-c", FORKS, str(first.pid), str(listener.getsockname()[1])]
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    time.sleep(0.05)
    source.stop()
    if done.returncode:
        pytest.skip(f"kernel lacks pids by choice here: {done.stderr.strip()}")
    seen = Seen(source.drain())
    assert int(done.stdout) == first.pid
    assert not seen.of("socket:state", "packet:sent", "process:fork")
    assert not [row for row in seen.of("syscall:enter") if row["call"] == CALL["connect"]]
