"""Split handshake: the server sends its ACK and its SYN apart.

The SYN-ACK is one segment only because it may be. A server may acknowledge the SYN first and send its own SYN
afterwards (RFC 9293 section 3.5 speaks of both); or it may leave out the ACK, and then it looks like a simultaneous
open. Linux, as the client, pays no attention to an ACK without SYN in SYN_SENT; when the bare SYN comes it goes to
SYN_RECV and answers with a SYN-ACK of its own (tcp_rcv_synsent_state_process()): the client of this connection sends a
SYN-ACK. Firewalls that took the first SYN-ACK's sender for the server were deceived by this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import close, connect, recv, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

scenario = Scenario(
    name="split-handshake",
    title="Split handshake: the client sends the SYN-ACK",
    topic="opening",
    place=80,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("client", "server"),
    peers=("server",),
    listeners=("server",),
    families=("ipv4", "ipv6"),  # the listening side has no kernel's socket that could be of both families
    watch=("a bare ACK that changes nothing", "a bare SYN, and SYN_RECV on the client's side", "who sends the SYN-ACK"),
    questions=(
        ("Who sends the SYN-ACK?", "The client, though it has called connect()"),
        ("Which states does the client go through?", "SYN_SENT, SYN_RECV, ESTABLISHED, as in a simultaneous open"),
        ("What did the bare ACK do?", "Nothing: in SYN_SENT only a SYN or a RST counts"),
    ),
)


@scenario.step("client", "The client connects.", asleep_in="connect")
def connects(me: Actor) -> None:
    me.connection = socket()
    connect(me.connection, me.at("server"))


@scenario.step("server", "The server, by hand, acknowledges the SYN and nothing else.", watch="SYN_SENT stays")
def only_ack(me: Actor) -> None:
    me.talk = me.peer.expect_syn()
    me.talk.send("ACK", seq=me.talk.snd_nxt - 1)
    me.talk.expect_silence(0.1)


@scenario.step("server", "Then comes its SYN, and the client answers with SYN-ACK.", wakes="client", watch="SYN_RECV")
def only_syn(me: Actor) -> None:
    me.talk.send("SYN")
    me.talk.expect("SYN ACK")
    me.talk.send("ACK")


@scenario.step("server", "The connection is like any other.")
def speaks(me: Actor) -> None:
    me.talk.send("PSH ACK", b"hello")
    me.talk.expect("ACK")


@scenario.step("client", "The client reads and closes.")
def reads(me: Actor) -> None:
    if recv(me.connection, 100) != b"hello":
        raise AssertionError("there was no hello")
    close(me.connection)


@scenario.must_see("the client's side goes from SYN_SENT over SYN_RECV to ESTABLISHED")
def path(seen: Seen) -> str | None:
    return seen.went_through("client", "SYN_SENT", "SYN_RECV", "ESTABLISHED")


@scenario.must_see("the bare ACK comes first and changes nothing")
def ack_alone(seen: Seen) -> str | None:
    acks = seen.packets("server", "ACK", without="SYN")
    return seen.in_order(
        ("the bare ACK", acks[0] if acks else None),
        ("the bare SYN", seen.first("server", "SYN", without="ACK")),
        ("SYN_RECV", seen.reached("client", "SYN_RECV")),
    )


@scenario.must_see("the SYN-ACK is the client's, and there is no other")
def whose(seen: Seen) -> str | None:
    return seen.same(
        (len(seen.packets("client", "SYN ACK")), len(seen.packets("server", "SYN ACK"))),
        (1, 0),
        "SYN-ACKs of each side",
    )
