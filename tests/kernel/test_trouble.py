"""What goes wrong, provoked for real in a network of its own: loss, timers, resets, drops, a full accept queue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.kernel.conftest import Play, Seen
from tracer.kernel.source import KernelSource
from tracer.segments import ACK, RST, SYN
from tracer.states import State

pytestmark = [pytest.mark.kernel, pytest.mark.needs("nft")]

ROOT = str(Path(__file__).resolve().parent.parent.parent)
STAGE = (
    f"""
import errno, socket, struct, subprocess, sys, time
sys.path.insert(0, {ROOT!r})
from scenarios.namespaces import enter
enter("namespace")
"""
    + """
def nft(words): subprocess.run(["nft", words], check=True)
def drop(hook, match):
    nft("add table inet t"); nft(f"add chain inet t c {{ type filter hook {hook} priority 0; }}")
    nft(f"add rule inet t c {match} drop")
def through(): nft("delete table inet t")
def pair():
    client = socket.create_connection(listener.getsockname()); server, _ = listener.accept()
    return client, server
listener = socket.create_server(("127.0.0.1", 8080), backlog=8)
"""
)
RTO, PROBE0, KEEPALIVE, DELACK, LOSS_PROBE = 1, 2, 3, 4, 5
OPEN, LOSS = 0, 4


def fired(seen: Seen, timer: int) -> list[dict[str, Any]]:
    """Rows of one timer."""
    return [row for row in seen.of("socket:timer") if row["timer"] == timer]


LOST = (
    STAGE
    + """
client, server = pair()
drop("input", "tcp dport 8080")
client.send(b"x" * 100); time.sleep(0.75)
through()
assert len(server.recv(200)) == 100; time.sleep(0.05)
"""
)


def test_loss_is_seen_from_drop_to_recovery(source: KernelSource, run: Play) -> None:
    seen = run(source, LOST)
    data = next(row for row in seen.of("packet:sent") if row["length"] == 100)
    timeouts = fired(seen, RTO)
    assert [row["backoff"] for row in timeouts[:2]] == [0, 1]  # doubled each time
    assert timeouts[0]["rto"] * 2 == timeouts[1]["rto"] and timeouts[0]["sport"] == data["sport"]
    again = [row for row in seen.of("socket:retransmit") if row["sport"] == data["sport"]]
    assert len(again) >= 2
    assert {(row["seq"], row["end_seq"]) for row in again} == {(data["seq"], data["seq"] + 100)}
    states = [
        (row["ca_state"], row["ca_next"]) for row in seen.of("socket:congestion") if row["sport"] == data["sport"]
    ]
    assert states[0][0] == OPEN and (LOSS in [after for _, after in states]) and states[-1][1] == OPEN
    dropped = [row for row in seen.of("segment:dropped") if row["dport"] == data["sport"] and row["seq"] == data["seq"]]
    assert {row["why"] for row in dropped} == {b"NETFILTER_DROP"} and not dropped[0]["outgoing"]
    assert data["skb"] in {row["skb"] for row in dropped}  # on loopback the buffer that was sent
    first = next(row for row in seen.of("socket:timer") if row["timer"] in (RTO, LOSS_PROBE))
    order = [
        seen.place("packet:sent", length=100),
        seen.place("segment:dropped", seq=data["seq"]),
        seen.rows.index(first),
        seen.place("socket:retransmit", seq=data["seq"]),
    ]
    assert order == sorted(order)


SYN_ACK_LOST = (
    STAGE
    + """
drop("input", "tcp sport 8080 tcp flags & (syn|ack) == syn|ack")
client = socket.socket(); client.setblocking(False); client.connect_ex(("127.0.0.1", 8080))
time.sleep(1.3)
"""
)


def test_a_handshake_without_its_syn_ack(source: KernelSource, run: Play) -> None:
    """The client sends its SYN again after a second, and the request sock answers it again."""
    seen = run(source, SYN_ACK_LOST)
    born = seen.of("request:born")[0]
    client = [row for row in seen.of("socket:retransmit") if row["state"] == State.SYN_SENT]
    assert client and client[0]["end_seq"] - client[0]["seq"] in (1, 1 - (1 << 32))
    assert fired(seen, RTO)[0]["state"] == State.SYN_SENT
    again = seen.of("request:retransmit")
    assert again and {(row["own_addr"], row["listener"]) for row in again} == {(born["own_addr"], born["listener"])}
    dropped = [row for row in seen.of("segment:dropped") if row["why"] == b"NETFILTER_DROP"]
    assert len(dropped) >= 2 and {row["flags"] & (SYN | ACK) for row in dropped} == {SYN | ACK}
    assert not seen.of("accept:overflow")


SILENT_READER = (
    STAGE
    + """
listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
client, server = pair(); client.setblocking(False)
try:
    while True: client.send(b"x" * 65536)
except BlockingIOError: pass
time.sleep(0.9)
"""
)


def test_a_zero_window_is_probed(source: KernelSource, run: Play) -> None:
    seen = run(source, SILENT_READER)
    probes = fired(seen, PROBE0)
    assert probes and {row["snd_wnd"] for row in probes if row["backoff"]} <= {0}
    assert probes[0]["pending"] == 3 and probes[0]["state"] == State.ESTABLISHED
    assert [row["backoff"] for row in probes] == sorted(row["backoff"] for row in probes)


DEAD_PEER = (
    STAGE
    + """
client, server = pair()
for option, value in ((4, 1), (5, 1), (6, 1)): client.setsockopt(socket.IPPROTO_TCP, option, value)
client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
drop("input", "tcp dport 8080")
try: client.recv(1)
except TimeoutError: pass
else: raise SystemExit("it lives")
"""
)


def test_keepalive_finds_a_dead_peer(source: KernelSource, run: Play) -> None:
    seen = run(source, DEAD_PEER)
    probes = fired(seen, KEEPALIVE)
    assert [row["probes"] for row in probes][:2] == [0, 1]  # none was out, then one without an answer
    assert 0.8e9 < probes[1]["time"] - probes[0]["time"] < 2.5e9
    end = seen.place("socket:state", sport=probes[0]["sport"], new=State.CLOSE)
    assert seen.rows[end]["time"] >= probes[1]["time"]
    assert b"NETFILTER_DROP" in {row["why"] for row in seen.of("segment:dropped")}


DELAYED = (
    STAGE
    + """
client, server = pair()
server.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
client.send(b"x"); time.sleep(0.3)
"""
)


def test_an_ack_waits_for_its_timer(source: KernelSource, run: Play) -> None:
    seen = run(source, DELAYED)
    data = next(row for row in seen.of("packet:received") if row["length"] == 1)
    timer = next(row for row in fired(seen, DELACK) if row["sport"] == 8080)
    ack = next(row for row in seen.of("packet:sent") if row["sport"] == 8080 and row["ack"] == data["seq"] + 1)
    assert data["time"] < timer["time"] < ack["time"] and 10e6 < ack["time"] - data["time"] < 290e6


RESETS = (
    STAGE
    + """
refused = socket.socket()
assert refused.connect_ex(("127.0.0.1", 9)) == errno.ECONNREFUSED
client, server = pair(); client.send(b"unread"); time.sleep(0.02); server.close()
try: client.recv(1)
except ConnectionResetError: pass
else: raise SystemExit("no RST")
client, server = pair(); client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); client.close()
try: server.recv(1)
except ConnectionResetError: pass
else: raise SystemExit("no RST")
"""
)


def test_resets_say_why(source: KernelSource, run: Play) -> None:
    seen = run(source, RESETS)
    refusal, unread, aborted = seen.of("reset:sent")
    received = seen.of("reset:received")
    assert (refusal["sport"], refusal["state"]) == (9, 0)
    assert [row["state"] for row in received] == [State.SYN_SENT, State.ESTABLISHED, State.ESTABLISHED]
    assert (unread["sport"], aborted["dport"]) == (8080, 8080)
    assert [row["dport"] for row in received] == [9, 8080, aborted["sport"]]
    resets = [row for row in seen.of("packet:sent") if row["flags"] & RST]
    assert [(row["sport"], row["dport"]) for row in resets] == [
        (row["sport"], row["dport"]) for row in (refusal, unread, aborted)
    ]
    if refusal["reason"]:  # kernels before 6.10 give none
        assert refusal["why"] == b"NO_SOCKET"
        assert len({refusal["reason"], unread["reason"], aborted["reason"]}) == 3 or unread["why"] == b"NOT_SPECIFIED"


OVERFLOW = (
    STAGE
    + """
listener.listen(1)
clients = []
for _ in range(5):
    c = socket.socket(); c.setblocking(False); c.connect_ex(("127.0.0.1", 8080)); clients.append(c)
time.sleep(1.2)
names, values = [line.split() for line in open("/proc/net/netstat") if line.startswith("TcpExt")]
told = dict(zip(names[1:], values[1:]))
open({count!r}, "w").write(told["ListenOverflows"])
"""
)


def test_a_full_accept_queue_turns_syns_away_and_every_one_is_seen(
    source: KernelSource, run: Play, tmp_path: Path
) -> None:
    count = tmp_path / "overflows"
    seen = run(source, OVERFLOW.replace("{count!r}", repr(str(count))))
    turned = seen.of("accept:overflow")
    assert len(turned) == int(count.read_text()) >= 3  # the kernel's own counter, of a network that is all ours
    assert {(row["sport"], row["ack_backlog"], row["max_ack_backlog"]) for row in turned} == {(8080, 2, 1)}
    knocked = {
        row["probe_time"]: row["sport"] for row in seen.of("packet:received") if row["flags"] & (SYN | ACK) == SYN
    }
    assert [knocked[row["ctx"]] for row in turned] == [row["peer_port"] for row in turned]
    assert len({row["peer_port"] for row in turned}) == 3


LATE_ACKS = (
    STAGE
    + """
listener.listen(2)
def knock():
    c = socket.socket(); c.setblocking(False); c.connect_ex(("127.0.0.1", 8080)); clients.append(c)
clients = []
knock(); knock(); time.sleep(0.05)
drop("input", "tcp dport 8080 tcp flags & (syn|ack) == ack")
knock(); knock(); time.sleep(0.1); through(); time.sleep(1.3)
"""
)


def test_an_ack_that_finds_the_queue_full(source: KernelSource, run: Play) -> None:
    """Two handshakes lack only their last ACK, and there is room for one; both come when the SYN-ACKs are repeated."""
    seen = run(source, LATE_ACKS)
    assert [row["ack_backlog"] for row in seen.of("accept:queued")] == [1, 2, 3]
    assert seen.of("request:retransmit")
    full = seen.rows.index(seen.of("accept:queued")[2])
    late = [row for row in seen.rows[full:] if row["name"] == "segment:dropped" and row["flags"] & (SYN | ACK) == ACK]
    if not late or late[0]["why"] != b"TCP_LISTEN_OVERFLOW":
        pytest.skip("kernel lacks a reason for an ACK that finds the accept queue full")
    assert late[0]["sport"] == 8080 and late[0]["dport"] not in {row["dport"] for row in seen.of("request:gone")}


OVER_V6 = (
    STAGE
    + """
listener = socket.create_server(("::", 8086), family=socket.AF_INET6, dualstack_ipv6=True)
for host, family in (("::1", socket.AF_INET6), ("127.0.0.1", socket.AF_INET)):
    refused = socket.socket(family)
    assert refused.connect_ex((host, 9)) == errno.ECONNREFUSED
    client = socket.create_connection((host, 8086)); server, _ = listener.accept()
    drop("input", "tcp dport 8086"); client.send(b"x" * 50); time.sleep(0.3); through()
    assert len(server.recv(99)) == 50
"""
)


def test_over_ipv6_and_v4_mapped_too(source: KernelSource, run: Play) -> None:
    """A dual-stack listener: its IPv4 client is v4-mapped on the server's side, and plain in the segments."""
    seen = run(source, OVER_V6)
    v6, v4 = [0, 1], [0, 0xFFFF_7F00_0001]
    refused = [row for row in seen.of("reset:sent") if row["sport"] == 9]
    assert [(row["saddr"], row["daddr"], row["family"]) for row in refused] == [(v6, v6, 6), (v4, v4, 4)]
    dropped = [row for row in seen.of("segment:dropped") if row["why"] == b"NETFILTER_DROP"]
    assert [addr for i, addr in enumerate(row["saddr"] for row in dropped) if i == 0 or addr != v6][:2] == [v6, v4]
    again = {tuple(row["daddr"]): row["end_seq"] - row["seq"] for row in seen.of("socket:retransmit")}
    assert again.keys() == {tuple(v6), tuple(v4)} and {length & 0xFFFF_FFFF for length in again.values()} == {50}
