"""System calls as programs make them: options by name and value, non-blocking descriptors, copies of descriptors, bytes
that never pass through the program, and every family of calls that wait."""

from __future__ import annotations

from typing import Final

import pytest

from tests.kernel.conftest import Play, Seen
from tracer.kernel.source import KernelSource
from tracer.kernel.syscalls import CALL
from tracer.states import State
from tracer.timeline import Timeline
from tracer.words import call

pytestmark = pytest.mark.kernel

PAIR: Final = """
import ctypes, fcntl, os, select, socket, struct, sys, threading, time
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname()); server, _ = listener.accept()
"""


def told(seen: Seen, *names: str) -> list[str]:
    """These calls in words, as they begin."""
    timeline = Timeline()
    timeline.append(seen.batch)
    return [call(event) for event in timeline.events() if event.name == "syscall:enter" and event.call in names]


OPTIONS: Final = (
    PAIR
    + """
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 7))
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
client.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, b"\\x40")
fcntl.fcntl(server, fcntl.F_SETFL, os.O_NONBLOCK)
server.setblocking(True); server.setblocking(False)
"""
)


def test_options_are_told_by_name_and_value(source: KernelSource, run: Play) -> None:
    said = told(run(source, OPTIONS), "setsockopt", "fcntl", "ioctl")
    options = [words.partition(", ")[2].rstrip(")") for words in said]
    assert [words for words in options if not words.startswith("F_GETFL")][-8:] == [
        "IPPROTO_TCP, TCP_NODELAY, 1",
        "SOL_SOCKET, SO_SNDBUF, 4096",
        "SOL_SOCKET, SO_LINGER, {onoff=1, linger=7}",
        "IPPROTO_TCP, TCP_CONGESTION, reno",
        "IPPROTO_IP, IP_TTL, 64",
        "F_SETFL, O_NONBLOCK",
        "FIONBIO, 0",
        "FIONBIO, 1",
    ]


COPIES: Final = (
    PAIR
    + """
a = os.dup(client.fileno()); b = fcntl.fcntl(client, fcntl.F_DUPFD_CLOEXEC, 50); c = os.dup2(client.fileno(), 60, False)
for fd in (client.detach(), a, b): os.close(fd)
os.write(c, b"hello"); assert server.recv(9) == b"hello"
os.close(c); assert server.recv(9) == b""
"""
)


def test_copies_of_a_descriptor_are_one_socket(source: KernelSource, run: Play) -> None:
    """It ends with the last of them."""
    seen = run(source, COPIES)
    made = [row for row in seen.of("syscall:exit") if row["call"] in (CALL["dup"], CALL["dup3"], CALL["fcntl"])]
    copies = [row["ret"] for row in made if row["ret"] > 2]
    assert copies[-2:] == [50, 60] and len(copies) == 3
    socket = {row["own_addr"] for row in made if row["ret"] in copies}
    assert len(socket) == 1
    closed = [
        row["fd"] for row in seen.of("syscall:enter") if row["call"] == CALL["close"] and row["own_addr"] in socket
    ]
    assert closed[1:] == copies
    last = seen.place("syscall:enter", call=CALL["close"], fd=60)
    states = [seen.rows.index(row) for row in seen.of("socket:state") if row["own_addr"] in socket]
    assert [place > last for place in states] == [False, False, True, True, True]  # FIN_WAIT1 and on


THROUGH: Final = (
    PAIR
    + """
page = os.memfd_create("page"); os.write(page, b"x" * 30000)
assert os.sendfile(client.fileno(), page, 0, 20000) == 20000
r, w = os.pipe(); os.write(w, b"y" * 1000)
libc = ctypes.CDLL(None, use_errno=True)
assert libc.splice(r, None, client.fileno(), None, 1000, 0) == 1000
got = 0
while got < 21000: got += len(server.recv(65536))
client.sendmsg([b"a", b"b"]); assert server.recvmsg(9)[0] == b"ab"
os.writev(client.fileno(), [b"c", b"d"]); assert os.readv(server.fileno(), [bytearray(9)]) == 2
os.write(client.fileno(), b"e"); assert os.read(server.fileno(), 9) == b"e"
"""
)


def test_bytes_by_every_way_in_and_out(source: KernelSource, run: Play) -> None:
    seen = run(source, THROUGH)
    client = next(row for row in seen.of("syscall:enter") if row["call"] == CALL["connect"])["own_addr"]
    sent = [
        (row["call"], row["ret"])
        for row in seen.of("syscall:exit")
        if row["own_addr"] == client and row["call"] in range(CALL["sendto"], CALL["splice"] + 1)
    ]
    assert sent == [
        (CALL["sendfile"], 20000), (CALL["splice"], 1000), (CALL["sendmsg"], 2), (CALL["writev"], 2), (CALL["write"], 1)
    ]  # fmt: skip
    after = [
        row["write_seq"] for row in seen.of("socket:queues") if row["own_addr"] == client and row["fd"] >= 0
    ]  # a snapshot after every call
    assert [(b - a) % (1 << 32) for a, b in zip(after[-6:], after[-5:], strict=False)] == [20000, 1000, 2, 2, 1]
    received = {row["call"] for row in seen.of("syscall:exit") if row["own_addr"] not in (client, 0) and row["ret"] > 0}
    assert {CALL[name] for name in ("recvfrom", "recvmsg", "readv", "read")} <= received


WAITS: Final = (
    PAIR
    + """
def later(): time.sleep(0.03); client.send(b"x")
poll = select.poll(); poll.register(server, select.POLLIN)
def by_epoll():
    with select.epoll() as ep:
        ep.register(server, select.EPOLLIN)
        return ep.poll(5)
libc = ctypes.CDLL(None)
mine = ctypes.create_string_buffer(struct.pack("ihh", server.fileno(), select.POLLIN, 0)) # struct pollfd
waits = [lambda: poll.poll(5000), lambda: select.select([server], [], [], 5), by_epoll,
         lambda: server.recv(1, socket.MSG_PEEK), lambda: libc.ppoll(mine, 1, None, None)]
for wait in waits:
    thread = threading.Thread(target=later); thread.start()
    assert wait()
    thread.join(); server.recv(1)
"""
)


def test_each_way_to_wait_is_ended_by_what_came(source: KernelSource, run: Play) -> None:
    """The thread sleeps in the call, the segment wakes it, the call returns: poll, select, epoll, recv, ppoll."""
    seen = run(source, WAITS)
    ways = [{"poll", "ppoll"}, {"select", "pselect6"}, {"epoll_wait", "epoll_pwait"}, {"recvfrom"}, {"ppoll", "poll"}]
    main = next(row for row in seen.of("syscall:enter") if row["call"] == CALL["listen"])["tid"]
    rows = [row for row in seen.rows if row["tid"] == main]
    notices = {row["probe_time"]: row["name"] for row in seen.of("socket:readable", "epoll:ready")}
    woken = [row for row in rows if row["name"] == "thread:woken" and row["by"] in notices]
    assert len(woken) == len(ways)
    names = {number: name for name, number in CALL.items()}
    for row, way in zip(woken, ways, strict=True):
        before = [other for other in rows if other["time"] < row["time"]]
        after = [other for other in rows if other["time"] > row["time"]]
        begun = [other for other in before if other["name"] == "syscall:enter"][-1]
        assert names[begun["call"]] in way
        assert [o["name"] for o in before if o["name"].startswith("thread:")][-1] == "thread:blocked"
        assert next(o["name"] for o in after if o["name"].startswith("thread:")) == "thread:running"
        ended = next(other for other in after if other["name"] == "syscall:exit")
        assert ended["call"] == begun["call"] and ended["ret"] == 1
        expected = "epoll:ready" if "epoll_wait" in way else "socket:readable"
        assert notices[row["by"]] == expected


RING: Final = (
    PAIR
    + """
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall(425, 4, ctypes.create_string_buffer(120))
"""
)


def test_io_uring_is_named_as_not_followed(source: KernelSource, run: Play) -> None:
    """Where a sandbox refuses it the call is still seen."""
    seen = run(source, RING)
    timeline = Timeline()
    timeline.append(seen.batch)
    said = [
        call(event) for event in timeline.events() if event.name == "syscall:exit" and event.call == "io_uring_setup"
    ]
    assert len(said) == 1 and said[0].endswith("(what goes through io_uring is not followed)")


FORKS: Final = (
    PAIR
    + """
child = os.fork()
if not child:
    assert server.recv(9) == b"for you"; os._exit(3)
server.close(); client.send(b"for you"); assert os.waitpid(child, 0)[1] == 3 << 8
thread = threading.Thread(target=client.recv, args=(9,)); thread.start(); thread.join()
"""
)


def test_a_socket_goes_on_in_a_child_and_ends_with_it(source: KernelSource, run: Play) -> None:
    """close() in the parent does nothing to it; the child's end closes it, with no call at all."""
    seen = run(source, FORKS)
    main = seen.of("syscall:enter")[0]["pid"]
    child = next(row for row in seen.of("process:fork") if row["pid"] == main and row["child_pid"] != main)
    thread = next(row for row in seen.of("process:fork") if row["pid"] == main == row["child_pid"])
    assert thread["child"] != main
    read = next(row for row in seen.of("syscall:exit") if row["pid"] == child["child_pid"] and row["ret"] == 7)
    server = read["own_addr"]
    order = [
        seen.rows.index(child),
        seen.place("syscall:enter", call=CALL["close"], own_addr=server, pid=main),
        seen.rows.index(read),
        seen.place("process:exit", pid=child["child_pid"]),
        seen.place("socket:state", own_addr=server, new=State.FIN_WAIT1),
    ]
    assert order == sorted(order)
    assert seen.rows[order[-1]]["pid"] == child["child_pid"]
