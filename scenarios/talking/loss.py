"""A segment is lost in the middle: three hints, and a fast retransmission.

What arrives behind a gap cannot be delivered, but it can be acknowledged: the receiver repeats its ACK for what it has
in order, and tells in the SACK option which bytes it has beyond (RFC 2018). Each such duplicate ACK is a hint. After
three of them, or by time (RACK, RFC 8985), the sender takes the segment for lost and sends it again at once, without
waiting for the retransmission timer (RFC 5681 section 3.2; tcp_fastretrans_alert()). It halves its congestion window,
and is in recovery until all that was under way is acknowledged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, listen, recv_exactly, send, socket
from scenarios.network import Network
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

SEGMENTS = 10
MUCH = SEGMENTS * 1400

scenario = Scenario(
    name="loss",
    title="A lost segment: duplicate ACKs, SACK and fast retransmission",
    topic="talking",
    place=40,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    sysctls={"net.ipv4.tcp_early_retrans": "0"},  # a loss probe would send again, too, where ACKs are late
    watch=("the same ACK again and again", "SACK blocks that grow", "the retransmission before any timer"),
    questions=(
        ("How does the sender know what is missing?", "The ACK says up to where, SACK says what lies beyond"),
        ("Why not send again at the first duplicate ACK?", "It may only have been overtaken on the way"),
        ("What does the loss cost besides the one segment?", "The congestion window is reduced"),
    ),
)


@scenario.step("server", "The server listens.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("client", "The client connects.")
def connects(me: Actor) -> None:
    me.connection = socket()
    connect(me.connection, me.at("server"))


@scenario.step("server", "The server wants to read all of it.", asleep_in="recv")
def reads(me: Actor) -> None:
    me.connection = accept(me.listener)
    recv_exactly(me.connection, MUCH)


@scenario.step("network", "The wire will lose the client's third segment of data.")
def loses(me: Network) -> None:
    me.drop("client", payload=True, nth=3)


@scenario.step(
    "client", f"The client sends {SEGMENTS} segments' worth at once.", wakes="server", watch="duplicate ACKs"
)
def sends(me: Actor) -> None:
    send(me.connection, bytes(MUCH))


@scenario.step("server", "The server has it all, and closes.")
def closes(me: Actor) -> None:
    close(me.connection)
    close(me.listener)


@scenario.step("client", "The client closes.")
def closes_too(me: Actor) -> None:
    close(me.connection)


@scenario.must_see("one segment of data does not arrive the first time")
def is_lost(seen: Seen) -> str | None:
    sent, came = seen.packets("client", data=True), seen.arrived("client", data=True)
    return seen.same(len(sent) - len(came), 1, "segments that were sent and did not arrive")


@scenario.must_see("the server repeats its ACK, with SACK blocks for what lies beyond the gap")
def hints(seen: Seen) -> str | None:
    repeated = seen.analysed("duplicate_ack", "server")
    if len(repeated) < 3:
        return f"there were {len(repeated)} duplicate ACKs"
    return None if all(event["n_sack"] for event in repeated) else "a duplicate ACK has no SACK block"


@scenario.must_see("the client sends exactly that segment again, before its retransmission timer")
def again(seen: Seen) -> str | None:
    repeated = seen.retransmissions("client")
    if seen.timers("client", "retransmission"):
        return "the retransmission timer fired"
    lost = seen.packets("client", data=True)[2]
    return seen.same([event["seq"] for event in repeated], [lost["seq"]], "sequence numbers sent again")


@scenario.must_see("its congestion state goes to recovery, and back to open")
def recovers(seen: Seen) -> str | None:
    states = seen.congestion("client")
    if "recovery" not in states or "loss" in states:
        return f"it went to {', '.join(states) or 'no other state'}"
    return seen.same(states[-1], "open", "the last one")


@scenario.must_see("the server's program notices nothing: it reads every byte, in order")
def whole(seen: Seen) -> str | None:
    read = [result for result in seen.results("server", "recv") if isinstance(result, int)]
    return seen.same(sum(read), MUCH, "bytes read")
