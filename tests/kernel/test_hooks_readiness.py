"""Readiness in both directions: what a socket tells its waiters, when epoll repeats itself (level) and when it does not
(edge), and what wakes a thread that waits for room."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.kernel.conftest import Play, Seen
from tracer.kernel.source import KernelSource
from tracer.kernel.syscalls import CALL
from tracer.states import State

pytestmark = pytest.mark.kernel

IN, OUT, HUP, ET = 1, 4, 16, 1 << 31

STAGE: Final = """
import select, socket, threading, time
listener = socket.socket(); listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
listener.bind(("127.0.0.1", 0)); listener.listen(8)
def pair():
    client = socket.create_connection(listener.getsockname()); server, _ = listener.accept()
    return client, server
def fill(sock):
    sock.setblocking(False)
    try:
        while True: sock.send(b"x" * 65536)
    except BlockingIOError: pass
def read_all(sock):
    sock.settimeout(0.3); n = 0
    try:
        while data := sock.recv(65536): n += len(data)
    except TimeoutError: pass
    return n
"""


def of_socket(seen: Seen, addr: int, *kinds: str) -> list[dict[str, Any]]:
    """Rows of these kinds about one socket."""
    return [row for row in seen.of(*kinds) if row["own_addr"] == addr]


CONNECTS: Final = (
    STAGE
    + """
client = socket.socket(); client.setblocking(False)
ep = select.epoll(); ep.register(client, select.EPOLLOUT | select.EPOLLET)
assert ep.poll(0) == [(client.fileno(), select.EPOLLOUT | select.EPOLLHUP)] # as every socket that is not connected
client.connect_ex(listener.getsockname())
assert ep.poll(5) == [(client.fileno(), select.EPOLLOUT)]
assert ep.poll(0.02) == []
"""
)


def test_writable_after_connect(source: KernelSource, run: Play) -> None:
    """The state's change is the cause: SYN_SENT to ESTABLISHED tells the epoll instance, which returns EPOLLOUT."""
    seen = run(source, CONNECTS)
    client = seen.rows[seen.place("socket:state", new=State.SYN_SENT)]["own_addr"]
    order = [
        seen.place("epoll:ctl", op=1),
        seen.place("socket:state", own_addr=client, old=State.SYN_SENT, new=State.ESTABLISHED),
        seen.place("epoll:ready", own_addr=client, state=State.ESTABLISHED),
        seen.place("epoll:wait", n=0),
    ]
    assert order == sorted(order)
    assert [row["events"][0] for row in seen.of("epoll:wait")] == [OUT | HUP, OUT, 0]
    assert seen.of("epoll:ctl")[0]["events"] == OUT | ET


DRAINED: Final = (
    STAGE
    + """
client, server = pair()
ep = select.epoll(); fill(client)
ep.register(client, select.EPOLLOUT | {mode})
assert ep.poll(0) == []
reader = threading.Timer(0.05, lambda: read_all(server)); reader.start()
assert ep.poll(5) == [(client.fileno(), select.EPOLLOUT)]
assert len(ep.poll(0)) == {again}
reader.join()
"""
)


@pytest.mark.parametrize(("mode", "again"), [("0", 1), ("select.EPOLLET", None)], ids=["level", "edge"])
def test_writable_after_a_full_send_buffer_is_drained(
    source: KernelSource, run: Play, mode: str, again: int | None
) -> None:
    """The ACK makes room, writers are told, the epoll instance hears it, the thread wakes, epoll_wait() returns."""
    text = DRAINED.replace("{mode}", mode).replace("== {again}", "in (0, 1)" if again is None else f"== {again}")
    seen = run(source, text)
    client = seen.rows[seen.place("socket:state", new=State.SYN_SENT)]["own_addr"]
    writable = of_socket(seen, client, "socket:writable")
    assert writable and writable[0]["ctx"] in {row["probe_time"] for row in seen.of("packet:received")}
    assert writable[0]["wmem"] * 3 <= writable[0]["sndbuf"] * 2  # sk_stream_is_writeable(): a third is free
    full = [row for row in seen.of("syscall:exit") if row["ret"] == -11 and row["own_addr"] == client]
    ready = of_socket(seen, client, "epoll:ready")
    told = next(row for row in ready if row["time"] >= writable[0]["time"])
    woken = next(row for row in seen.of("thread:woken") if row["by"] == told["probe_time"])
    returned = next(row for row in seen.of("epoll:wait") if row["n"] == 1)
    places = [seen.rows.index(row) for row in (full[0], writable[0], told, woken, returned)]
    assert places == sorted(places)
    assert told["events"] & OUT and bool(told["events"] & ET) == (mode != "0")
    assert returned["events"][0] == OUT


BLOCKED: Final = (
    STAGE
    + """
client, server = pair()
reader = threading.Timer(0.05, lambda: read_all(server)); reader.start()
client.sendall(b"x" * (8 << 20))
client.close(); reader.join()
"""
)


def test_a_thread_that_waits_for_room_is_woken_by_it(source: KernelSource, run: Play) -> None:
    seen = run(source, BLOCKED)
    writable = {row["probe_time"]: row for row in seen.of("socket:writable")}
    woken = [row for row in seen.of("thread:woken") if row["by"] in writable]
    assert woken
    row = woken[0]
    mine = [other for other in seen.rows if other["tid"] == row["tid"] and other["time"] < row["time"]]
    assert [other["call"] for other in mine if other["name"] == "syscall:enter"][-1] == CALL["sendto"]
    assert [other for other in mine if other["name"].startswith("thread:")][-1]["name"] == "thread:blocked"


READS: Final = (
    STAGE
    + """
client, server = pair()
ep = select.epoll(); ep.register(server, select.EPOLLIN | {mode})
client.send(b"hello"); assert ep.poll(5) == [(server.fileno(), select.EPOLLIN)]
left = [len(ep.poll(0.02))]
for most in (2, 9):
    server.recv(most); left.append(len(ep.poll(0.02)))
assert left == {left}, left
client.send(b"again"); assert ep.poll(5); client.close()
"""
)


@pytest.mark.parametrize(("mode", "left"), [("0", [1, 1, 0]), ("select.EPOLLET", [0, 0, 0])], ids=["level", "edge"])
def test_readable_by_level_and_by_edge(source: KernelSource, run: Play, mode: str, left: list[int]) -> None:
    """By level it is told as long as there is something; by edge once for each arrival."""
    seen = run(source, READS.replace("{mode}", mode).replace("{left}", str(left)))
    waits = [row["n"] for row in seen.of("epoll:wait")]
    assert waits == [1, *left, 1]
    arrived = [row for row in seen.of("socket:readable") if row["state"] == State.ESTABLISHED]
    heard = [
        row
        for row in seen.of("epoll:ready")
        if row["state"] == State.ESTABLISHED and row["own_addr"] == arrived[0]["own_addr"]
    ]
    assert len(arrived) == len(heard) == 2
    assert {bool(row["events"] & ET) for row in heard} == {mode != "0"}
    unread = [(row["rcv_nxt"] - row["copied_seq"]) % (1 << 32) for row in arrived]
    assert unread == [0, 0] or unread == [5, 5]  # told before or after tcp_queue_rcv() has moved rcv_nxt


"""What came, in bytes."""


HANGS_UP: Final = (
    STAGE
    + """
client, server = pair()
ep = select.epoll(); ep.register(server, select.EPOLLIN | select.EPOLLRDHUP)
client.shutdown(socket.SHUT_WR)
assert ep.poll(5) == [(server.fileno(), select.EPOLLIN | select.EPOLLRDHUP)]
ep.modify(server, select.EPOLLOUT); assert ep.poll(5) == [(server.fileno(), select.EPOLLOUT)]
ep.unregister(server); assert ep.poll(0.01) == []
"""
)


def test_interest_is_added_changed_and_taken_back(source: KernelSource, run: Play) -> None:
    seen = run(source, HANGS_UP)
    controls = seen.of("epoll:ctl")
    assert [(row["op"], row["events"]) for row in controls[:2]] == [(1, IN | 0x2000), (3, OUT)]
    assert controls[2]["op"] == 2 and len({row["own_addr"] for row in controls}) == 1
    assert [(row["n"], row["events"][0]) for row in seen.of("epoll:wait")] == [(1, IN | 0x2000), (1, OUT), (0, 0)]
    order = [
        seen.place("socket:state", new=State.CLOSE_WAIT),
        seen.place("epoll:ready", state=State.CLOSE_WAIT),
        seen.place("epoll:wait", n=1),
    ]
    assert order == sorted(order)
