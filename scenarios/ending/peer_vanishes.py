"""The peer vanishes: a cable is cut, and nobody says goodbye.

No packet tells that a host has lost power or a cable was pulled. A connection on which nothing is sent stays
ESTABLISHED for ever, on both sides, with nobody at the other end. Only who sends finds out: the segment is not
acknowledged, is sent again after the retransmission timeout, again after twice that time, and so on (RFC 6298 section
5.5), until the kernel gives up with ETIMEDOUT. By default that is after fifteen attempts (tcp_retries2), a quarter of
an hour; here the program has asked for less (TCP_USER_TIMEOUT, RFC 5482).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, fails, listen, recv, send, setsockopt, socket
from scenarios.network import Network
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

PATIENCE = 1.5
"""Seconds without an acknowledgement after which the client wants to be told."""

scenario = Scenario(
    name="peer-vanishes",
    title="The peer vanishes: retransmission until the kernel gives up",
    topic="ending",
    place=70,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=("the same segment again and again", "each wait twice as long as the one before", "ETIMEDOUT, and no packet"),
    questions=(
        ("Which packet tells the client that the cable is cut?", "None: it learns by the lack of answers"),
        ("What does the server's side know at the end?", "Nothing: it is ESTABLISHED still"),
        ("How would a server that only listens ever find out?", "By keepalive, or by a deadline of its own"),
    ),
)


@scenario.step("server", "The server listens.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("client", "The client connects and asks to be told after 1.5 s without an answer.")
def connects(me: Actor) -> None:
    me.connection = socket()
    setsockopt(me.connection, "TCP_USER_TIMEOUT", int(PATIENCE * 1000))
    connect(me.connection, me.at("server"))


@scenario.step("server", "The server accepts and sleeps in recv.", asleep_in="recv")
def accepts(me: Actor) -> None:
    me.connection = accept(me.listener)
    recv(me.connection, 100)


@scenario.step("network", "The cable is cut.", watch="nothing at all: no packet tells it")
def cuts(me: Network) -> None:
    me.cut()


@scenario.step(
    "client",
    "The client sends, and waits for an answer. Its kernel sends again, and again, and gives up.",
    watch="the waits double; at the end ETIMEDOUT",
    timeout=30.0,
)
def sends(me: Actor) -> None:
    send(me.connection, b"is anybody there?")
    fails("ETIMEDOUT", recv, me.connection, 100)
    close(me.connection)


@scenario.must_see("the client's kernel sends the same data again, at least three times, by its retransmission timer")
def again(seen: Seen) -> str | None:
    fired = seen.timers("client", "retransmission")
    sent = {packet["seq"] for packet in seen.packets("client", data=True)}
    if len(sent) != 1:
        return f"data of {len(sent)} different sequence numbers were sent"
    return None if len(fired) >= 3 else f"the timer fired {len(fired)} times"


@scenario.must_see("each wait is about twice as long as the one before")
def doubles(seen: Seen) -> str | None:
    copies = seen.packets("client", data=True)[1:]  # the first repeat may be a loss probe, which has its own timer
    waits = [seen.seconds(one, other) for one, other in pairwise(copies)]
    factors = [after / before for before, after in pairwise(waits)]
    odd = [f"{factor:.2f}" for factor in factors if not 1.5 < factor < 2.6]
    if len(waits) < 2:
        return f"only {len(copies) + 1} copies were sent"
    return f"factors {', '.join(odd)}" if odd else None


@scenario.must_see("the client's recv fails with ETIMEDOUT, and its side is closed without a packet")
def gives_up(seen: Seen) -> str | None:
    failed = seen.actor("client").failed("recv", "ETIMEDOUT")
    if failed is None:
        return "recv did not fail with ETIMEDOUT"
    return seen.went_through("client", "ESTABLISHED", "CLOSE")


@scenario.must_see("the server's side stays ESTABLISHED")
def knows_nothing(seen: Seen) -> str | None:
    return seen.same(seen.path("server")[-1][0].name, "ESTABLISHED", "the server's last state")
