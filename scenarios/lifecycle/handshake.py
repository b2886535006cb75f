"""Handshake: three packets, and the server's program sleeps through all of them.

The client's SYN meets a listener. The kernel answers it by itself, with a request sock of a few hundred bytes and a
SYN-ACK; when the client's ACK comes, it makes the full socket, in state ESTABLISHED, and puts it into the listener's
accept queue (RFC 9293 section 3.5, figure 6). Only then is the program woken that sleeps in accept(), and all that
accept() does is to take the finished connection out of the queue and to give it a number. So connect() may well return
before the server's program knows of anybody, and the client is in ESTABLISHED before the server is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, listen, recv, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

scenario = Scenario(
    name="handshake",
    title="The handshake, with the server asleep",
    topic="lifecycle",
    place=20,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=(
        "the server's thread asleep in accept while three packets pass",
        "a request sock from SYN to ACK, then the full socket",
        "the accept queue: 0, 1, 0",
    ),
    questions=(
        ("Who answers the SYN?", "The server's kernel; its program is asleep"),
        ("Which side is in ESTABLISHED first?", "The client, when the SYN-ACK reaches it"),
        ("What does accept() do?", "It takes a finished connection out of the accept queue and gives it a descriptor"),
    ),
)


@scenario.step("server", "The server opens its door: socket, bind, listen.", watch="LISTEN, two empty queues")
def opens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("server", "It falls asleep in accept: nobody is in the queue.", asleep_in="accept4")
def sleeps(me: Actor) -> None:
    me.connection = accept(me.listener)


@scenario.step(
    "client",
    "The client connects: SYN, SYN-ACK, ACK. Then, and only then, the server wakes.",
    wakes="server",
    watch="client SYN_SENT, ESTABLISHED; request sock, then ESTABLISHED at the server; the accept queue",
)
def connects(me: Actor) -> None:
    me.connection = socket()
    connect(me.connection, me.at("server"))


@scenario.step("client", "Nothing more is to be shown: the client closes.", watch="FIN; CLOSE_WAIT at the server")
def closes(me: Actor) -> None:
    close(me.connection)


@scenario.step("server", "The server reads the end and closes, the listener too.")
def closes_too(me: Actor) -> None:
    recv(me.connection, 1)
    close(me.connection)
    close(me.listener)


@scenario.must_see("SYN, SYN-ACK and ACK pass in this order, and nothing else before them")
def three_packets(seen: Seen) -> str | None:
    return seen.same(seen.packets()[:3], list(seen.handshake()), "the first three packets")


@scenario.must_see("the server's thread sleeps in accept while they pass")
def asleep(seen: Seen) -> str | None:
    syn, _, last = seen.handshake()
    return seen.asleep_during("server", "accept", syn, last)


@scenario.must_see("the client goes through SYN_SENT to ESTABLISHED, and the server follows")
def paths(seen: Seen) -> str | None:
    return seen.went_through("client", "SYN_SENT", "ESTABLISHED") or seen.went_through("server", "ESTABLISHED")


@scenario.must_see("the client is in ESTABLISHED before the server")
def client_first(seen: Seen) -> str | None:
    return seen.in_order(
        ("ESTABLISHED at the client", seen.reached("client", "ESTABLISHED")),
        ("ESTABLISHED at the server", seen.reached("server", "ESTABLISHED")),
    )


@scenario.must_see("a request sock stands in for the server's socket from SYN to ACK")
def request_sock(seen: Seen) -> str | None:
    syn, _, last = seen.handshake()
    request = {event.name: event for event in seen.requests()}
    return seen.in_order(
        ("the SYN", syn),
        ("the request sock is born", request.get("request:born")),
        ("the ACK", last),
        ("the request sock goes", request.get("request:gone")),
    )


@scenario.must_see("the accept queue holds 0, 1, 0 connections")
def queue(seen: Seen) -> str | None:
    return seen.same(seen.listener().accept_queue(), [0, 1, 0], "lengths of the accept queue")


@scenario.must_see("accept() returns after the connection is in ESTABLISHED")
def accepted_last(seen: Seen) -> str | None:
    (call,) = seen.calls("server", "accept")
    established = seen.reached("server", "ESTABLISHED")
    return seen.in_order(("ESTABLISHED at the server", established), ("accept() returns", call.leave))


@scenario.must_see("both SYNs offer a segment size, window scale, SACK and timestamps")
def options(seen: Seen) -> str | None:
    for side in ("client", "server"):
        offers = seen.syn_options(side)
        if not (offers.mss and offers.window_scale >= 0 and offers.sack and offers.timestamps):
            return f"the {side} offers {offers}"
    return None
