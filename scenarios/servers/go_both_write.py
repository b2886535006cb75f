"""One goroutine that reads and writes in turn, and a peer that only writes: both wait for ever.

Whether one goroutine for a connection is enough is no matter of Go's. An echo server that reads, writes, and reads
again does not read while it writes. If its client, too, writes all it has before it reads, then the receive buffers
fill, the windows close (RFC 9293 section 3.8.6), the send buffers fill behind them, and at last both stand in write():
the client's thread asleep in send, the server's goroutine parked in wg. No timer ends it: each waits for the other to
read, and the kernel only asks by window probes. A second task at *one* of the ends, which reads while the first one
writes, is all it takes; the server stays as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import SHUT_WR, close, connect, recv_exactly, recv_to_end, send, shutdown, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen
    from tracer.timeline import Event

MUCH = 1 << 20
"""Bytes: more than both ends' buffers hold, as they are limited below."""
SEGMENT = 1220
"""Bytes: the smallest of a full one here (IPv6 wants a link to carry 1280)."""
READS = 4
"""The step at whose beginning both must be stuck."""

scenario = Scenario(
    name="go-both-write",
    title="Both only write: when one goroutine for a connection is not enough",
    topic="servers",
    place=40,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client", "reader"),
    children={"reader": "client"},
    network="veth",  # segments of real size: the windows close little by little
    sysctls={"net.ipv4.tcp_rmem": "4096 65536 65536", "net.ipv4.tcp_wmem": "4096 65536 65536"},
    watch=(
        "receive buffers full on both sides, windows of zero, then send buffers full",
        "the client asleep in send, the server's goroutine in wg, and nobody in rg, though there is something to read",
        "one more task that reads, and everything flows",
    ),
    questions=(
        ("In which place of the poll descriptor does the server's goroutine stand?", "In wg: it waits to write"),
        ("When does it end by itself?", "Never: each end waits for the other to read"),
        ("Which end needs the second task?", "Either: if one end always reads, the other may take turns"),
    ),
)

scenario.runs(
    "server",
    "The Go echo server: one goroutine for a connection, which reads and writes in turn.",
    ["{go:echo}", "{address}", "{port}"],
    rests=True,
)


@scenario.step("client", "The client connects and forks a second task, which does nothing yet.", rests="server")
def connects(me: Actor) -> None:
    me.connection = socket()
    connect(me.connection, me.at("server"))
    me.fork("reader")


@scenario.step(
    "client",
    "It writes a mebibyte and reads nothing meanwhile. Soon neither side can go on.",
    asleep_in="send",
    rests=("client", "server"),
    lasts=0.3,  # delayed ACKs, and a segment or two for which there is no memory
    watch="zero windows both ways; wg holds the server's goroutine",
)
def writes(me: Actor) -> None:
    send(me.connection, b"x" * MUCH)


@scenario.step("reader", "The second task reads what is echoed: both sides go on.", wakes="client", rests="server")
def reads(me: Actor) -> None:
    recv_exactly(me.connection, MUCH)


@scenario.step("client", "The client has nothing more to say.", rests="server")
def ends(me: Actor) -> None:
    shutdown(me.connection, SHUT_WR)
    if recv_to_end(me.connection):
        raise AssertionError("there were more bytes than were sent")
    close(me.connection)


def worker(seen: Seen) -> list[Event]:
    """The states of the goroutine that serves the connection: the one that waits for it."""
    fd = next((call.result for call in seen.calls("server", "accept") if call.result not in (None, -1)), -1)
    states = [event for event in seen.actor("server").events if event.name == "task:state"]
    mine = next((event["task"] for event in states if event["new"] == "waiting" and event.fd == fd), 0)
    return [event for event in states if event["task"] == mine]


@scenario.must_see("both are stuck: the client in send, the server's goroutine in wg; nobody in rg, and nobody reads")
def stuck(seen: Seen) -> str | None:
    begin = seen.step(READS)
    last = [event for event in worker(seen) if event.order < begin.order][-1:]
    if not last or last[0]["new"] != "waiting":
        return "the server's goroutine was not parked"
    table = [e for e in seen.actor("server").events if e.name == "polldesc:change" and e.fd == last[0].fd]
    held = [event for event in table if event.order < begin.order][-1]
    # rg is ready or nil: edge-triggered, epoll tells again only when more has come since the last read.
    if held["rg"] not in ("ready", "nil"):
        return f"rg holds {held['rg']}"
    wrong = seen.same(held["wg"], str(last[0]["task"]), "wg")
    return wrong or seen.asleep_during("client", "sendto", begin, begin)


@scenario.must_see("it wanted to write: write() gave EAGAIN before the goroutine parked")
def wanted_to_write(seen: Seen) -> str | None:
    begin = seen.step(READS).order
    before = [call for call in seen.calls("server", "read", "write") if call.enter.order < begin]
    last = before[-1] if before else None
    return seen.same((last.enter.call, last.error) if last else None, ("write", "EAGAIN"), "its last call")


@scenario.must_see("both windows are closed: neither side has room for a segment more")
def windows(seen: Seen) -> str | None:
    begin = seen.step(READS).order
    for side in ("client", "server"):
        told = [packet for packet in seen.packets(side, without="SYN") if packet.order < begin]
        room = told[-1]["window"] << seen.syn_options(side).window_scale if told else MUCH
        if room >= SEGMENT:
            return f"the {side} had room for {room} bytes"
    return None


@scenario.must_see("with a task that reads all comes back, and the same goroutine has served to the end")
def flows(seen: Seen) -> str | None:
    sent = [call.result for call in seen.calls("client", "send")]
    got = sum(call.result or 0 for call in seen.calls("reader", "recv"))
    end = [event["new"] for event in worker(seen)][-1:]
    return seen.same((sent, got, end), ([MUCH], MUCH, ["over"]), "sent, read, the goroutine")
