"""Deferred accept: the server is not woken until there is something to read.

With TCP_DEFER_ACCEPT the last ACK of the handshake is not enough (tcp(7)): the listener keeps the request sock, notes
that the ACK has come, and makes a socket only when the first data come (tcp_check_req()). The program's accept() then
returns with a connection that can be read at once, and clients that connect and say nothing cost no wake-up and no
descriptor. The client knows nothing of it: it is ESTABLISHED after its ACK, and the server's side is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, listen, recv, send, setsockopt, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

scenario = Scenario(
    name="deferred-accept",
    title="TCP_DEFER_ACCEPT: no accept() without data",
    topic="opening",
    place=60,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=("the client ESTABLISHED, the server's side not", "a request sock that stays", "accept() with data to read"),
    questions=(
        ("What keeps the connection on the server's side until data come?", "Its request sock, in the SYN queue"),
        ("Which clients cost nothing then?", "Those that connect and say nothing"),
        ("What if the client waits for the server to speak first?", "Its SYN-ACK is repeated, and then it is let in"),
    ),
)


@scenario.step("server", "The server listens, defers, and sleeps in accept.", asleep_in="accept4")
def listens(me: Actor) -> None:
    me.listener = socket()
    setsockopt(me.listener, "TCP_DEFER_ACCEPT", 5)
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)
    me.connection = accept(me.listener)


@scenario.step("client", "The client connects, and says nothing yet.", watch="the server sleeps on", lasts=0.2)
def connects(me: Actor) -> None:
    me.connection = socket()
    connect(me.connection, me.at("server"))


@scenario.step("client", "It speaks.", wakes="server", watch="the socket is made, and the server wakes")
def speaks(me: Actor) -> None:
    send(me.connection, b"hello")


@scenario.step("server", "What it has accepted can be read at once.")
def reads(me: Actor) -> None:
    recv(me.connection, 100)
    close(me.connection)
    close(me.listener)


@scenario.must_see("the client is ESTABLISHED before it speaks, the server's side only afterwards")
def one_sided(seen: Seen) -> str | None:
    return seen.in_order(
        ("the client ESTABLISHED", seen.reached("client", "ESTABLISHED")),
        ("the first data", seen.first("client", data=True)),
        ("the server ESTABLISHED", seen.reached("server", "ESTABLISHED")),
    )


@scenario.must_see("the server's thread sleeps in accept from the SYN until data have come")
def sleeps(seen: Seen) -> str | None:
    syn, data = seen.first("client", "SYN"), next(iter(seen.arrived("client", data=True)), None)
    if syn is None or data is None:
        return "SYN or data are missing"
    return seen.asleep_during("server", "accept4", syn, data)


@scenario.must_see("the request sock stays until then")
def request_stays(seen: Seen) -> str | None:
    gone = [event for event in seen.requests() if event.name == "request:gone"]
    return seen.in_order(
        ("the client's ACK", seen.first("client", "ACK", without="SYN")),
        ("the first data", seen.first("client", data=True)),
        ("the request sock is gone", gone[0] if gone else None),
    )


@scenario.must_see("the accept queue holds it only from the data on")
def queued(seen: Seen) -> str | None:
    came = seen.listener().queued()
    return seen.in_order(("the first data", seen.first("client", data=True)), ("queued", came[0] if came else None))
