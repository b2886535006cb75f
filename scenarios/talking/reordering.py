"""Segments overtake each other: a gap that closes by itself.

Networks deliver packets in any order they like. What comes too early waits in the receiver's out-of-order queue, and
the receiver repeats its ACK, as it would for a loss: it cannot know. So a sender has to be patient before it takes a
gap for a loss. Three duplicate ACKs were the rule (RFC 5681); Linux waits by time as well, a quarter of a round trip
(RACK, RFC 8985), and learns how much its path reorders. The program reads everything in order, and notices nothing.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, listen, recv_exactly, send, socket
from scenarios.network import Network
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

SEGMENTS = 4
MUCH = SEGMENTS * 1400

scenario = Scenario(
    name="reordering",
    title="Reordered segments: a gap that closes by itself",
    topic="talking",
    place=46,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    # Without loss probes and RACK's timer, which a busy machine's delay of a few milliseconds would set off.
    sysctls={"net.ipv4.tcp_early_retrans": "0", "net.ipv4.tcp_recovery": "0"},
    watch=(
        "one order at the sender, another at the receiver",
        "a duplicate ACK that means nothing",
        "no retransmission",
    ),
    questions=(
        ("How does a gap by reordering differ from a loss?", "At first not at all: it closes without a retransmission"),
        ("Where does the early segment wait?", "In the receiver's out-of-order queue"),
        ("What does the server's program notice?", "Nothing: it reads in order"),
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


@scenario.step("network", "On the wire the second segment of data will be overtaken by the third.")
def overtakes(me: Network) -> None:
    me.reorder("client", payload=True, nth=2)


@scenario.step("client", "The client sends four segments' worth at once.", wakes="server", watch="the order of arrival")
def sends(me: Actor) -> None:
    send(me.connection, bytes(MUCH))


@scenario.step("server", "The server has it all, and closes.")
def closes(me: Actor) -> None:
    close(me.connection)
    close(me.listener)


@scenario.step("client", "The client closes.")
def closes_too(me: Actor) -> None:
    close(me.connection)


@scenario.must_see("the segments leave in one order and arrive in another")
def out_of_order(seen: Seen) -> str | None:
    left = [event["seq"] for event in seen.packets("client", data=True)]
    came = [event["seq"] for event in seen.arrived("client", data=True)]
    if sorted(left) != sorted(came):
        return "not the same segments left and arrived"
    return None if left != came else "they arrived in the order in which they left"


@scenario.must_see("the receiver tells of the gap: an ACK that does not move, with a SACK block")
def told(seen: Seen) -> str | None:
    acks = seen.packets("server", "ACK", without="SYN")
    for before, ack in pairwise(acks):
        if ack["n_sack"] and ack["ack"] == before["ack"]:
            return None
    return "there was none"


@scenario.must_see("nothing is sent again")
def patience(seen: Seen) -> str | None:
    again = seen.retransmissions("client")
    return f"{len(again)} segments were" if again else None


@scenario.must_see("the server's program reads every byte")
def whole(seen: Seen) -> str | None:
    read = [result for result in seen.results("server", "recv") if isinstance(result, int)]
    return seen.same(sum(read), MUCH, "bytes read")
