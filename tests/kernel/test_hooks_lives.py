"""Rows of the hook table that take a whole life to show: what becomes of TIME_WAIT, what a listener does with SYNs it
has no room for, fast retransmission, and numbers that the program itself is told (TCP_INFO) beside the probes'."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from tests.kernel.conftest import Play
from tests.kernel.test_trouble import STAGE, fired
from tracer.kernel.source import KernelSource
from tracer.segments import ACK, FIN, SYN
from tracer.states import State

pytestmark = [pytest.mark.kernel, pytest.mark.needs("nft")]

FIN_WAIT2_TIMER: Final = 7
RECOVERY: Final = 3

REUSED: Final = (
    STAGE
    + """
def client():
    c = socket.socket(); c.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); c.bind(("127.0.0.1", 40000))
    c.connect(("127.0.0.1", 8080)); return c
c = client(); s, _ = listener.accept(); s.close(); c.recv(1); c.close()
time.sleep(0.05)
c = client(); s, _ = listener.accept(); c.close(); s.recv(1); s.close()
"""
)


def test_time_wait_gives_way_to_a_new_connection(source: KernelSource, run: Play) -> None:
    """The server waits, a SYN from the same port comes: its TIME_WAIT is cancelled (RFC 9293, 3.10.7.4; RFC 6191)."""
    seen = run(source, REUSED)
    born = seen.of("timewait:born")[0]
    assert (born["sport"], born["dport"], born["substate"]) == (8080, 40000, State.TIME_WAIT)
    cancelled = seen.of("timewait:cancelled")[0]  # those that come later end with their namespace
    assert cancelled["own_addr"] == born["own_addr"] and not seen.of("timewait:expired")
    syns = [row for row in seen.of("packet:received") if row["flags"] & (SYN | ACK) == SYN]
    assert len(syns) == 2 and cancelled["ctx"] == syns[1]["probe_time"]
    order = [seen.rows.index(row) for row in (born, syns[1], cancelled, seen.of("request:born")[1])]
    assert order == sorted(order)


FIN_AGAIN: Final = (
    STAGE
    + """
client, server = pair()
server.close(); client.recv(1); time.sleep(0.02)
drop("input", "tcp sport 8080")
client.close(); time.sleep(5); through(); time.sleep(2)
"""
)


@pytest.mark.slow
def test_time_wait_begins_anew_when_the_fin_comes_again(source: KernelSource, run: Play) -> None:
    """Its ACK was lost: the peer repeats the FIN, and 2 MSL begin once more (RFC 9293, 3.10.7.4).

    The timer wheel holds a minute in steps of 2 to 5 s and is silent about a move within one: the FIN of 6.2 s shows.
    """
    seen = run(source, FIN_AGAIN)
    (born,) = [row for row in seen.of("timewait:born") if row["sport"] == 8080]
    again = seen.of("timewait:rearmed")
    fins = [row for row in seen.of("packet:received") if row["dport"] == 8080 and row["flags"] & FIN]
    assert again and {row["own_addr"] for row in again} == {born["own_addr"]}
    assert {row["ctx"] for row in again} <= {row["probe_time"] for row in fins[1:]}
    assert again[-1]["time"] - born["time"] > 1e9


EXPIRES: Final = (
    STAGE
    + """
client, server = pair()
client.close(); server.recv(1); server.close()
time.sleep(64)
"""
)


@pytest.mark.slow
def test_time_wait_expires_after_a_minute(source: KernelSource, run: Play) -> None:
    """TCP_TIMEWAIT_LEN is 60 s; the timer wheel may add an eighth."""
    seen = run(source, EXPIRES, within=120)
    (born,), (expired,) = seen.of("timewait:born"), seen.of("timewait:expired")
    assert expired["own_addr"] == born["own_addr"]
    assert abs(born["left"] - 60e9) < 1e9 and 59e9 < expired["time"] - born["time"] < 68e9


ORPHAN: Final = (
    STAGE
    + """
client, server = pair()
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, 61)
client.close(); server.recv(1)
time.sleep(1.6)
"""
)


def test_an_orphan_that_may_linger_long_has_a_timer_first(source: KernelSource, run: Play) -> None:
    """Above TCP_TIMEWAIT_LEN tcp_fin() keeps the socket for the difference, then a TIME_WAIT object takes over."""
    seen = run(source, ORPHAN)
    (timer,) = fired(seen, FIN_WAIT2_TIMER)
    (born,) = seen.of("timewait:born")
    assert timer["state"] == State.FIN_WAIT2 and born["substate"] == State.FIN_WAIT2
    assert (timer["sport"], timer["dport"]) == (born["sport"], born["dport"])
    left = seen.place("socket:state", own_addr=timer["own_addr"], new=State.FIN_WAIT2)
    assert left < seen.rows.index(timer) < seen.rows.index(born)
    assert 0.8e9 < timer["time"] - seen.rows[left]["time"] < 2e9


COOKIES: Final = (
    STAGE
    + """
open("/proc/sys/net/ipv4/tcp_syncookies", "w").write("2") # of this namespace: always
client, server = pair(); client.send(b"x"); server.recv(1)
"""
)


def test_with_syn_cookies_there_is_no_request_sock(source: KernelSource, run: Play) -> None:
    seen = run(source, COOKIES)
    assert not seen.of("request:born", "request:gone", "request:overflow", "accept:overflow")
    assert seen.of("accept:queued")[0]["qlen"] == 0
    order = [
        seen.place("socket:state", old=State.LISTEN, new=State.SYN_RECV),
        seen.place("socket:state", old=State.SYN_RECV, new=State.ESTABLISHED),
        seen.place("accept:queued"),
        seen.place("accept:taken"),
    ]
    assert order == sorted(order)


SYN_QUEUE: Final = (
    STAGE
    + """
open("/proc/sys/net/ipv4/tcp_syncookies", "w").write("0")
listener.listen(2)
drop("input", "tcp sport 8080 tcp flags & (syn|ack) == syn|ack")
clients = []
for _ in range(6):
    c = socket.socket(); c.setblocking(False); c.connect_ex(("127.0.0.1", 8080)); clients.append(c)
time.sleep(0.1)
names, values = [line.split() for line in open("/proc/net/netstat") if line.startswith("TcpExt")]
told = dict(zip(names[1:], values[1:]))
open({count!r}, "w").write(told["TCPReqQFullDrop"])
time.sleep(1.2)
"""
)


def test_syns_dropped_by_a_full_syn_queue(source: KernelSource, run: Play, tmp_path: Path) -> None:
    """Handshakes lack their last ACK, there is room for two (before 6.8) or three, and cookies are off."""
    count = tmp_path / "count"
    seen = run(source, SYN_QUEUE.replace("{count!r}", repr(str(count))))
    turned = seen.of("request:overflow")
    first = [row for row in turned if row["time"] - turned[0]["time"] < 0.5e9]
    assert len(first) == int(count.read_text()) >= 3
    kept = seen.of("request:born")
    assert len(kept) in (2, 3) and [row["qlen"] for row in kept] == [1, 2, 3][: len(kept)]
    said = {(row["sport"], row["qlen"], row["max_ack_backlog"], row["ack_backlog"]) for row in turned}
    assert said == {(8080, len(kept), 2, 0)}
    knocks = {
        row["probe_time"]: row["sport"] for row in seen.of("packet:received") if row["flags"] & (SYN | ACK) == SYN
    }
    assert [knocks[row["ctx"]] for row in turned] == [row["peer_port"] for row in turned]
    assert {row["dport"] for row in kept}.isdisjoint({row["peer_port"] for row in turned})
    timers = seen.of("request:timer")
    assert timers and {row["own_addr"] for row in timers} <= {row["own_addr"] for row in kept}
    assert seen.of("request:retransmit") and not seen.of("accept:overflow")


ONE_LOST: Final = (
    STAGE
    + """
client, server = pair()
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
def burst():
    for _ in range(9): client.send(b"x" * 1000)
burst(); time.sleep(0.05)
nft("add table inet t"); nft("add chain inet t c { type filter hook input priority 0; }")
nft("add rule inet t c tcp dport 8080 meta length > 1000 numgen inc mod 64 == 2 drop")
burst(); time.sleep(0.4)
n = 0
while n < 18000: n += len(server.recv(65536))
client.send(b"end"); server.recv(9); time.sleep(0.05)
"""
)


def test_fast_retransmission_and_what_it_costs(source: KernelSource, run: Play) -> None:
    """One segment of many is lost: SACKs, recovery, one retransmission without a timeout, a smaller window."""
    seen = run(source, ONE_LOST)
    client = seen.rows[seen.place("socket:state", new=State.SYN_SENT)]["own_addr"]
    (lost,) = [row for row in seen.of("segment:dropped") if row["why"] == b"NETFILTER_DROP" and row["sport"] == 8080]
    again = [row for row in seen.of("socket:retransmit") if row["own_addr"] == client]
    assert again[0]["seq"] == lost["seq"] and not fired(seen, 1)
    states = [row["ca_next"] for row in seen.of("socket:congestion") if row["own_addr"] == client]
    assert RECOVERY in states and states[-1] == 0
    before = [row for row in seen.of("socket:queues") if row["own_addr"] == client and row["time"] < lost["time"]][-1]
    # the kernel may take it back when the ACK's timestamp cannot tell the two copies apart (tcp_try_undo_recovery)
    assert again[0]["ca_state"] == RECOVERY and again[0]["packets_out"] > 1
    assert before["ssthresh"] == 0x7FFFFFFF > again[0]["ssthresh"] >= 2


NUMBERS: Final = (
    STAGE
    + """
import json
client, server = pair()
for _ in range(20): client.send(b"x" * 5000); server.recv(65536)
time.sleep(0.1)
client.send(b"last"); time.sleep(0.15)
info = client.getsockopt(socket.IPPROTO_TCP, 11, 256)
word = lambda at: struct.unpack_from("I", info, at)[0]
told = {"ca_state": info[1], "retransmits": info[2], "backoff": info[4], "rto": word(8), "mss": word(16),
        "packets_out": word(24), "srtt": word(68), "ssthresh": word(76), "snd_cwnd": word(80)}
open({file!r}, "w").write(json.dumps(told))
"""
)


def test_numbers_are_those_that_the_program_is_told(source: KernelSource, run: Play, tmp_path: Path) -> None:
    """TCP_INFO (tcp_get_info) after the last ACK, beside the snapshot made when that ACK was done with."""
    file = tmp_path / "info"
    seen = run(source, NUMBERS.replace("{file!r}", repr(str(file))))
    told = json.loads(file.read_text())
    client = seen.rows[seen.place("socket:state", new=State.SYN_SENT)]["own_addr"]
    last = [row for row in seen.of("socket:queues") if row["own_addr"] == client and row["fd"] == -1][-1]
    assert {name: last[name] for name in told} == told
    assert last["srtt"] > 0 and last["snd_wnd"] > 0 and last["rcv_wnd"] > 0
    assert last["snd_nxt"] == last["snd_una"] == last["write_seq"]
