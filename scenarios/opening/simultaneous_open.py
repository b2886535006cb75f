"""Simultaneous open: two SYNs cross, and there is no server.

Both ends connect to each other at the same time, from and to the very ports. Each has sent its SYN and waits for a
SYN-ACK; what comes is a bare SYN. That is allowed (RFC 9293 section 3.5, Figure 8): the end acknowledges it with a
SYN-ACK that repeats its own SYN's number, and goes to SYN_RECV, on a full socket and without any listener. The other's
SYN-ACK ends it: both are ESTABLISHED, four segments instead of three, and one connection, not two. The wire holds both
SYNs back until both are under way; otherwise the first to arrive would meet no listener and be refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import bind, close, connect, recv, send, setsockopt, socket
from scenarios.network import Network
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

ENDS = ("left", "right")

scenario = Scenario(
    name="simultaneous-open",
    title="Simultaneous open: two SYNs cross",
    topic="opening",
    place=70,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("left", "right"),
    families=("ipv4", "ipv6"),  # nobody listens, so nobody could have a socket for both families
    watch=("two SYNs under way", "SYN_RECV on full sockets", "no listener anywhere"),
    questions=(
        ("How many connections come of it?", "One"),
        ("Which end is the server?", "None: both have called connect()"),
        ("Which state follows SYN_SENT when a bare SYN comes?", "SYN_RECV"),
    ),
)


def opens(me: Actor, other: str) -> None:
    """connect() to the other from the port that the other connects to."""
    me.connection = socket()
    setsockopt(me.connection, "SO_REUSEADDR", 1)
    bind(me.connection, (me.host, me.port))
    connect(me.connection, me.at(other))


@scenario.step("network", "The wire holds back whatever has a SYN.")
def holds(me: Network) -> None:
    me.hold(flags="SYN", without="ACK")


@scenario.step("left", "The left end connects to the right one; its SYN is held back.", asleep_in="connect")
def left_opens(me: Actor) -> None:
    opens(me, "right")


@scenario.step("right", "The right end connects to the left one; so is its SYN.", asleep_in="connect")
def right_opens(me: Actor) -> None:
    opens(me, "left")


@scenario.step("network", "Both SYNs are let go and cross.", wakes=ENDS, watch="SYN_RECV, then ESTABLISHED")
def lets_go(me: Network) -> None:
    me.mend()
    me.release()


@scenario.step("left", "The left end says hello.")
def says(me: Actor) -> None:
    send(me.connection, b"hello")


@scenario.step("right", "The right end reads it, and closes.")
def reads(me: Actor) -> None:
    if recv(me.connection, 100) != b"hello":
        raise AssertionError("there was no hello")
    close(me.connection)


@scenario.step("left", "The left end closes too.")
def closes(me: Actor) -> None:
    close(me.connection)


@scenario.must_see("both sides go from SYN_SENT over SYN_RECV to ESTABLISHED")
def both(seen: Seen) -> str | None:
    for side in ("client", "server"):
        if missing := seen.went_through(side, "SYN_SENT", "SYN_RECV", "ESTABLISHED"):
            return missing
    return None


@scenario.must_see("each SYN has left before the other one arrives, and each is answered with a SYN-ACK")
def they_cross(seen: Seen) -> str | None:
    for side, other in (("client", "server"), ("server", "client")):
        syn, came = seen.first(side, "SYN", without="ACK"), next(iter(seen.arrived(other, "SYN", without="ACK")), None)
        answer = seen.first(side, "SYN ACK")
        if wrong := seen.in_order((f"the {side}'s SYN", syn), (f"the {other}'s SYN", came), ("a SYN-ACK", answer)):
            return wrong
    return None


@scenario.must_see("it is one connection")
def one(seen: Seen) -> str | None:
    return seen.same(len(seen.connections()), 1, "connections")


@scenario.must_see("nobody has listened")
def no_listener(seen: Seen) -> str | None:
    return seen.same(len(seen.listeners()), 0, "listeners")
