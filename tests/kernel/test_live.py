"""The probes against the running kernel: real sockets on loopback, in both modes, order asserted."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest

from tests.kernel.conftest import Play, Seen
from tracer.kernel import attach as attach_module
from tracer.kernel import others
from tracer.kernel.attach import Mode
from tracer.kernel.btf import KernelTypes
from tracer.kernel.image import Image
from tracer.kernel.probes import Group
from tracer.kernel.ring import possible_cpus
from tracer.kernel.slots import slots_of
from tracer.kernel.source import Filter, KernelError, KernelSource, image_of
from tracer.kernel.syscalls import CALL
from tracer.kinds import SNAPSHOT, Ring
from tracer.segments import ACK, FIN, SYN
from tracer.states import State

pytestmark = pytest.mark.kernel

LIFE = """
import select, socket
listener = socket.socket({family}); listener.bind(({host!r}, 0)); listener.listen(5)
ep = select.epoll(); ep.register(listener, select.EPOLLIN)
client = socket.socket({family}); client.connect(listener.getsockname()[:2])
assert ep.poll(5)
server, _ = listener.accept(); ep.register(server, select.EPOLLIN | select.EPOLLET)
client.send(b"x" * 1000)
assert ep.poll(5); assert len(server.recv(4096)) == 1000
client.close(); assert ep.poll(5); assert server.recv(1) == b""; server.close()
"""


@pytest.mark.parametrize(
    ("family", "host", "number"), [("socket.AF_INET", "127.0.0.1", 4), ("socket.AF_INET6", "::1", 6)], ids=["v4", "v6"]
)
def test_a_whole_life_in_order(source: KernelSource, run: Play, family: str, host: str, number: int) -> None:
    """Handshake, one write, active close: every kind that must be seen, and what must come before what."""
    seen = run(source, LIFE.format(family=family, host=host))
    assert all(row.on for row in source.status()), [row for row in source.status() if not row.on]
    port = seen.of("accept:queued")[0]["sport"]

    def state(old: State, new: State) -> int:
        return seen.place("socket:state", old=old, new=new)

    packets = seen.of("packet:received")
    assert [row["flags"] & (SYN | ACK | FIN) for row in packets][:3] == [SYN, SYN | ACK, ACK]
    assert {row["family"] for row in packets} == {number}
    assert max(row["length"] for row in packets) == 1000
    syn = packets[0]
    client = syn["sport"]
    order = [
        seen.place("syscall:enter", call=CALL["listen"]),
        state(State.CLOSE, State.LISTEN),
        seen.place("epoll:ctl", op=1),
        seen.place("syscall:enter", call=CALL["connect"]),
        state(State.CLOSE, State.SYN_SENT),
        seen.place("packet:sent", flags=syn["flags"], sport=client),
        seen.place("packet:received", flags=syn["flags"], sport=client),
        seen.place("request:born", sport=port, dport=client),
        seen.place("packet:sent", sport=port, dport=client),
        state(State.LISTEN, State.SYN_RECV),
        seen.place("request:gone", sport=port, dport=client),
        state(State.SYN_RECV, State.ESTABLISHED),
        seen.place("accept:queued"),
        seen.place("epoll:ready", state=State.LISTEN),
        seen.place("epoll:wait", n=1),
        seen.place("syscall:enter", call=CALL["accept4"]),
        seen.place("accept:taken"),
        seen.place("packet:sent", length=1000),
        seen.place("socket:readable"),
        seen.place("epoll:ready", state=State.ESTABLISHED),
        seen.place("syscall:enter", call=CALL["close"], addr=seen.rows[state(State.CLOSE, State.SYN_SENT)]["addr"]),
        state(State.ESTABLISHED, State.FIN_WAIT1),
        state(State.ESTABLISHED, State.CLOSE_WAIT),
        state(State.CLOSE_WAIT, State.LAST_ACK),
        state(State.FIN_WAIT1, State.FIN_WAIT2),
        seen.place("timewait:born", sport=client, dport=port),
        state(State.LAST_ACK, State.CLOSE),
        seen.place("socket:destroy", sport=port),
    ]
    assert order == sorted(order)

    listener = seen.of("accept:queued")[0]
    assert (listener["ack_backlog"], listener["max_ack_backlog"]) == (1, 5)
    taken = seen.of("accept:taken")[0]
    assert taken["ack_backlog"] == 0 and taken["child"] == seen.rows[state(State.SYN_RECV, State.ESTABLISHED)]["addr"]
    request = seen.of("request:born")[0]
    assert (request["qlen"], request["young"], request["listener"]) == (1, 1, listener["addr"])
    assert seen.of("request:gone")[0]["qlen"] == 0
    left = seen.of("timewait:born")[0]["left"]
    assert 55e9 < left < 65e9  # TCP_TIMEWAIT_LEN
    pair = {row["skb"] for row in seen.of("packet:sent")} & {row["skb"] for row in packets}
    assert syn["skb"] in pair


def test_context_is_the_packet_being_processed(source: KernelSource, run: Play) -> None:
    seen = run(source, LIFE.format(family="socket.AF_INET", host="127.0.0.1"))
    received = {row["probe_time"]: row for row in seen.of("packet:received")}
    born, queued = seen.of("request:born")[0], seen.of("accept:queued")[0]
    assert received[born["ctx"]]["flags"] & (SYN | ACK) == SYN
    assert received[queued["ctx"]]["flags"] & (SYN | ACK) == ACK
    assert received[seen.rows[seen.place("socket:state", new=State.CLOSE_WAIT)]["ctx"]]["flags"] & FIN
    assert {row["ctx"] for row in seen.of("syscall:enter", "syscall:exit", "thread:running", "epoll:wait")} == {0}
    assert {row["ctx"] for row in seen.rows} <= {0, *received}


def test_cookies_carry_from_socket_to_time_wait(run: Play) -> None:
    source = KernelSource(mode=Mode.TP_BTF)
    source.start(Filter(parents=frozenset({os.getpid()})))
    seen = run(source, LIFE.format(family="socket.AF_INET", host="127.0.0.1"))
    client = seen.rows[seen.place("socket:state", new=State.SYN_SENT)]
    server = seen.rows[seen.place("socket:state", old=State.SYN_RECV, new=State.ESTABLISHED)]
    cookies = {client["cookie"], server["cookie"], seen.of("accept:queued")[0]["cookie"]}
    assert len(cookies) == 3 and 0 not in cookies
    assert seen.of("timewait:born")[0]["cookie"] == client["cookie"]
    assert seen.of("accept:taken")[0]["child_cookie"] == server["cookie"]


BLOCKED_READER = """
import socket, threading, time
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
reader = threading.Thread(target=lambda: server.recv(10)); reader.start()
time.sleep(0.05)
client.send(b"hello"); reader.join()
"""


def test_a_blocked_thread_is_woken_by_readiness(source: KernelSource, run: Play) -> None:
    seen = run(source, BLOCKED_READER)
    readable = next(row for row in seen.of("socket:readable") if row["rcv_nxt"] != row["copied_seq"])
    woken = next(row for row in seen.of("thread:woken") if row["by"] == readable["probe_time"])
    blocked = [row for row in seen.of("thread:blocked") if row["tid"] == woken["tid"] and row["was"] == 1]
    enter = next(
        row for row in seen.of("syscall:enter") if row["call"] == CALL["recvfrom"] and row["tid"] == woken["tid"]
    )
    back = next(row for row in seen.of("syscall:exit") if row["call"] == CALL["recvfrom"] and row["ret"] == 5)
    assert any(enter["time"] < row["time"] < readable["time"] for row in blocked)
    assert enter["time"] < readable["time"] <= woken["time"] < back["time"]
    assert back["tid"] == woken["tid"] and back["fd"] == enter["fd"]


ORPHAN = """
import socket, struct, time
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
client.setsockopt(socket.IPPROTO_TCP, 8, 1)  # TCP_LINGER2: one second in FIN_WAIT2
client.close(); time.sleep({wait})
"""


def test_an_orphan_in_fin_wait2_expires(source: KernelSource, run: Play) -> None:
    seen = run(source, ORPHAN.format(wait=2.2))
    born, *rest = seen.of("timewait:born", "timewait:rearmed", "timewait:cancelled", "timewait:expired")
    assert [row["name"] for row in rest] == ["timewait:expired"]
    assert born["substate"] == rest[0]["substate"] == State.FIN_WAIT2
    assert born["own_addr"] == rest[0]["own_addr"]
    assert 0.5e9 < born["left"] < 1.5e9 and born["left"] * 0.9 < rest[0]["time"] - born["time"] < 2.2e9


FULL_QUEUE = """
import socket, time
listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen(1)
clients = []
for _ in range(4):
    c = socket.socket(); c.setblocking(False); c.connect_ex(listener.getsockname()); clients.append(c)
time.sleep(1.3)
"""


def test_the_accept_queue_grows_to_its_limit_and_no_further(source: KernelSource, run: Play) -> None:
    seen = run(source, FULL_QUEUE)
    queued = seen.of("accept:queued")
    assert [(row["ack_backlog"], row["max_ack_backlog"]) for row in queued] == [(1, 1), (2, 1)]  # full is > the limit
    syns = [row for row in seen.of("packet:received") if row["flags"] & (SYN | ACK) == SYN]
    assert len(syns) > 4 - 2  # those that found no room are sent again
    assert seen.of("accept:taken") == []


WAITING = """
import select, socket
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname()); server, _ = listener.accept()
epoll = select.epoll(); epoll.register(server, select.EPOLLIN)
client.send(b"unread"); client.close()
assert epoll.poll(5)
"""


@pytest.mark.parametrize(
    ("more", "queues", "ready"),
    [((), False, False), ((Group.RESETS,), True, False), ((Group.QUEUES, Group.READINESS), True, True)],
)
def test_a_change_of_state_tells_what_is_asked_for(
    run: Play, more: tuple[Group, ...], queues: bool, ready: bool
) -> None:
    source = KernelSource(frozenset({Group.STATES, *more}))
    source.start(Filter(parents=frozenset({os.getpid()})))
    seen = run(source, WAITING)
    (row,) = (row for row in seen.of("socket:state") if row["new"] == State.CLOSE_WAIT)
    assert (row["saddr"][1] & 0xFFFF_FFFF, row["family"], row["old"]) == (0x7F00_0001, 4, State.ESTABLISHED)
    assert row["sport"] and row["dport"] and row["netns"]
    if queues:
        assert row["rcv_nxt"] != row["copied_seq"] and row["known"] and row["rcvbuf"]
    else:
        numbers = {field.name for field in SNAPSHOT if field.unit} - {"shutdown"}
        assert {name: row[name] for name in numbers if row[name]} == {}
    assert bool(seen.of("epoll:ready")) == ready


def test_a_source_counts_what_it_lost() -> None:
    """Rings of one page: they fill, the rest is refused, and both are counted (exactness: test_ring, test_slots)."""
    sizes = dict.fromkeys((Ring.SMALL, Ring.OBJECT, Ring.SOCKET), 4096)
    tiny = KernelSource(groups=frozenset({Group.SYSCALLS}), ring_bytes=sizes)
    tiny.start(Filter(parents=frozenset({os.getpid()})))
    text = "import socket\ns = socket.socket()\nfor _ in range(5000): s.getsockname()"
    subprocess.run([sys.executable, "-c", text], check=True, timeout=60)
    tiny.stop()
    counts = tiny.tallies()[Ring.SMALL]
    part = slots_of(Ring.SMALL, 4096, possible_cpus())
    assert part <= counts.written <= part * possible_cpus() and counts.written == len(tiny.drain())
    assert 2 * 5000 <= counts.written + counts.lost < 2 * 5000 + 100  # and the interpreter's own few calls
    assert tiny.losses().lost == counts.lost


def test_strangers_do_not_appear(source: KernelSource, run: Play) -> None:
    """A twin that does the same at the same time, but is not followed, leaves no trace."""
    script = LIFE.format(family="socket.AF_INET", host="127.0.0.1")
    outsider = f"import os, time\nos.setsid()\n{script}"
    source.unfollow_process(os.getpid())
    twin = subprocess.Popen([sys.executable, "-c", outsider])
    source.follow_process(os.getpid(), itself=False)
    seen = run(source, script)
    assert twin.wait(timeout=30) == 0
    assert twin.pid not in {row["pid"] for row in seen.of("syscall:enter", "thread:running", "process:fork")}
    assert len(seen.of("accept:queued")) == 1
    assert len({row["dport"] for row in seen.of("packet:sent")}) == 2


@pytest.mark.parametrize("how", ["port", "netns", "everything"])
def test_filters_by_place(how: str) -> None:
    """Sockets of this very process are taken in by port, by namespace, or because everything is."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        chosen = {
            "port": Filter(ports=frozenset({port})),
            "netns": Filter(netns=frozenset({os.stat("/proc/self/ns/net").st_ino})),  # noqa: PTH116
            "everything": Filter(everything=True),
        }[how]
        source = KernelSource(groups=frozenset({Group.STATES, Group.READINESS, Group.PACKETS, Group.TIMERS}))
        source.start(chosen)
        with socket.create_connection(listener.getsockname()) as client:
            server, _ = listener.accept()
            client.send(b"x")
            server.close()
        time.sleep(0.05)
        source.stop()
        seen = Seen(source.drain())
    mine = [row for row in seen.rows if port in (row.get("sport"), row.get("dport"))]
    assert {row["name"] for row in mine} >= {"socket:state", "accept:queued", "packet:sent", "packet:received"}
    if how == "port":
        assert len(mine) == len(seen.rows)


def test_nothing_is_left_behind() -> None:
    source = KernelSource()
    source.start(Filter(parents=frozenset({os.getpid()})))
    programs = [program.runs()["prog_id"] for program in source._attached]
    assert all(_program_exists(number) for number in programs)
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    source.stop()
    source.stop()
    assert len(os.listdir("/proc/self/fd")) < descriptors  # noqa: PTH208
    deadline = time.monotonic() + 5  # the kernel frees programs after a grace period
    while any(_program_exists(number) for number in programs) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_program_exists(number) for number in programs)


def _program_exists(number: int) -> bool:
    found = subprocess.run(["bpftool", "prog", "show", "id", str(number)], capture_output=True, check=False)
    return found.returncode == 0


def test_a_tracer_counts_once_among_others() -> None:
    """The kernel keeps 15 bytes of a program's name: those of two of ours begin alike."""
    source = KernelSource(groups=frozenset({Group.STATES}))
    source.start(Filter())
    told = [program.name[:15] for program in source._attached].count(others.MARK)
    at_least = others.count()
    source.stop()
    assert told == 1 and at_least >= 1  # what else is on at the moment is not ours to say


def test_a_group_can_be_left_out_and_says_so(run: Play) -> None:
    source = KernelSource(groups=frozenset({Group.STATES}))
    source.start(Filter(parents=frozenset({os.getpid()})))
    off = {row.probe.group: row.why for row in source.status() if not row.on}
    seen = run(source, "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()")
    assert set(off.values()) == {"not asked for"} and Group.STATES not in off
    assert {row["name"] for row in seen.rows} == {"process:fork", "process:exit", "socket:state", "socket:destroy"}


def test_without_rights_one_sentence() -> None:
    text = (
        "import os\nfrom tracer.kernel.source import *\n"
        "os.setresuid(65534, 65534, 65534)\n"
        "try: KernelSource().start(Filter())\nexcept KernelError as e: print('SAID', e)"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=False)
    assert "SAID" in done.stdout and "CAP_BPF" in done.stdout, done.stdout + done.stderr
    assert issubclass(KernelError, Exception)


def test_what_is_missing_switches_off_its_row_alone(run: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without CAP_SYSLOG the kernel hides its addresses: no timers, and everything else as ever."""
    monkeypatch.setattr("tracer.kernel.source.addresses", lambda names: {})
    source = KernelSource()
    source.start(Filter(parents=frozenset({os.getpid()})))
    off = [row for row in source.status() if not row.on]
    assert {row.probe.group for row in off} == {Group.TIMERS} and all("CAP_SYSLOG" in row.why for row in off)
    partly = [row for row in source.status() if row.on and row.why]
    assert [row.probe.partly[1] for row in partly] == ["epoll:ready"] and "CAP_SYSLOG" in partly[0].why
    kinds = {row["name"] for row in run(source, LIFE.format(family="socket.AF_INET", host="127.0.0.1")).rows}
    assert kinds >= {"socket:state", "accept:queued", "accept:taken", "packet:received", "syscall:exit"}
    assert not kinds & {"request:born", "timewait:born", "epoll:ready"}


def test_without_typed_tracepoints_raw_ones_do(run: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    load = attach_module.load

    def refuse(name: str, code: bytes, mode: Mode, number: int, *, fentry: bool) -> int:
        if mode is Mode.TP_BTF:
            raise attach_module.AttachError("no typed tracepoints here")
        return load(name, code, mode, number, fentry=fentry)

    monkeypatch.setattr("tracer.kernel.hooks.load", refuse)
    source = KernelSource()
    source.start(Filter(parents=frozenset({os.getpid()})))
    assert source.running_mode is Mode.RAW_TP and all(row.on for row in source.status())
    assert run(source, LIFE.format(family="socket.AF_INET", host="127.0.0.1")).of("accept:queued")


def test_pointers_are_given_types_where_the_kernel_can(run: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    source = KernelSource()
    source.start(Filter(parents=frozenset({os.getpid()})))
    source.stop()
    assert source.casts == (source.running_mode is Mode.TP_BTF)

    def refuse(types: KernelTypes, mode: Mode, *, casts: bool) -> Image:
        if casts:
            raise attach_module.AttachError("no casts here")
        return image_of(types, mode, casts=False)

    monkeypatch.setattr("tracer.kernel.source.image_of", refuse)
    source = KernelSource(mode=Mode.TP_BTF)
    source.start(Filter(parents=frozenset({os.getpid()})))
    assert not source.casts and all(row.on for row in source.status())
    assert run(source, LIFE.format(family="socket.AF_INET6", host="::1")).of("accept:queued")
