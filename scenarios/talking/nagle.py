"""Nagle and the delayed ACK: two good ideas that wait for each other.

Nagle's rule: while something small is unacknowledged, do not send another small segment; wait for the ACK or for a full
segment (RFC 9293 section 3.7.4, tcp_nagle_check()). The delayed ACK: do not acknowledge at once, an answer may carry it
(section 3.8.6.3; 40 ms at least, TCP_ATO_MIN). A client that writes its request in two small pieces and then waits for
the answer gets both: the second piece waits for the ACK of the first, and the server, which needs the whole request
before it answers, delays that ACK. Forty milliseconds pass in which nobody has anything to do. TCP_NODELAY switches
Nagle's rule off; writing the request in one piece would have done as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, listen, recv, recv_exactly, send, setsockopt, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen
    from scenarios.sights_connection import ConnectionSeen
    from tracer.timeline import Event

HEAD, BODY = b"head" * 4, b"body" * 8

scenario = Scenario(
    name="nagle",
    title="Nagle's rule and the delayed ACK, with and without TCP_NODELAY",
    topic="talking",
    place=50,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=("the second piece waits in the send buffer", "the delayed-ACK timer", "no wait with TCP_NODELAY"),
    questions=(
        ("What does the second piece wait for?", "The acknowledgement of the first"),
        ("What does that acknowledgement wait for?", "An answer to travel with, or its timer of 40 ms"),
        ("Which two changes at the client each help?", "TCP_NODELAY, or one send() instead of two"),
    ),
)


@scenario.step("server", "The server listens.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("client", "The client connects twice: as usual, and with TCP_NODELAY.")
def connects(me: Actor) -> None:
    me.plain, me.nodelay = socket(), socket()
    connect(me.plain, me.at("server"))
    setsockopt(me.nodelay, "TCP_NODELAY", 1)
    connect(me.nodelay, me.at("server"))


@scenario.step("server", "The server accepts both, and its kernel may delay its ACKs.")
def accepts(me: Actor) -> None:
    me.plain, me.nodelay = accept(me.listener), accept(me.listener)
    for connection in (me.plain, me.nodelay):
        setsockopt(connection, "TCP_QUICKACK", 0)


def request(fd: int) -> None:
    """In two pieces, as programs do that write a header and then a body."""
    send(fd, HEAD)
    send(fd, BODY)


@scenario.step("server", "The server waits for a whole request.", asleep_in="recv")
def waits(me: Actor) -> None:
    recv_exactly(me.plain, len(HEAD + BODY))


@scenario.step("client", "The client's request in two pieces, by Nagle's rule.", wakes="server", watch="40 ms: nothing")
def by_the_rule(me: Actor) -> None:
    request(me.plain)


@scenario.step("server", "The server answers, and waits for the other request.", asleep_in="recv")
def answers(me: Actor) -> None:
    send(me.plain, b"ok")
    recv_exactly(me.nodelay, len(HEAD + BODY))


@scenario.step("client", "The same with TCP_NODELAY.", wakes="server", watch="both pieces go out at once")
def at_once(me: Actor) -> None:
    recv(me.plain, 100)
    request(me.nodelay)


@scenario.step("server", "The server answers and closes.")
def closes(me: Actor) -> None:
    send(me.nodelay, b"ok")
    for fd in (me.plain, me.nodelay, me.listener):
        close(fd)


@scenario.step("client", "The client reads and closes.")
def closes_too(me: Actor) -> None:
    recv(me.nodelay, 100)
    close(me.plain)
    close(me.nodelay)


def pieces(connection: ConnectionSeen) -> tuple[Event, Event]:
    """The client's two pieces as they left. Raises AssertionError when there is only one."""
    first, second, *_ = [*connection.packets("client", data=True), None, None]
    assert first is not None and second is not None, "the request left in one piece"
    return first, second


@scenario.must_see("by Nagle's rule the second piece leaves only after the first is acknowledged")
def waits_for_ack(seen: Seen) -> str | None:
    one = seen.connection(1)
    first, second = pieces(one)
    acks = [event for event in one.arrived("server", "ACK", without="SYN") if event["ack"] > first["seq"]]
    return seen.in_order(("the first piece", first), ("its ACK", acks[0] if acks else None), ("the second", second))


@scenario.must_see("that ACK comes from the server's delayed-ACK timer, some 40 ms later")
def delayed(seen: Seen) -> str | None:
    one = seen.connection(1)
    first, second = pieces(one)
    fired = one.timers("server", "delayed-ack")
    timer = fired[0] if fired else None
    order = seen.in_order(("the first piece", first), ("the timer", timer), ("the second", second))
    return order or seen.within(first, second, 0.02, 0.25)


@scenario.must_see("with TCP_NODELAY both pieces leave before any of them is acknowledged")
def no_wait(seen: Seen) -> str | None:
    two = seen.connection(2)
    first, second = pieces(two)
    acks = [event for event in two.packets("server", "ACK", without="SYN") if event["ack"] > first["seq"]]
    return seen.in_order(("the first piece", first), ("the second", second), ("an ACK", acks[0] if acks else None))
