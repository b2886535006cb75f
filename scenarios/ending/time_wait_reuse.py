"""TIME_WAIT is reused: a new connection on the same four numbers ends the wait of the old one.

A client that has closed first and connects again from the same port meets its own past: the four numbers (two
addresses, two ports) are in TIME_WAIT. Linux lets an *outgoing* connection take them after a second, if timestamps can
tell old segments from new ones (tcp_twsk_unique(), net.ipv4.tcp_tw_reuse; RFC 6191). And a listener lets a new SYN in
on top of its own TIME_WAIT if its sequence number or timestamp is beyond the old ones (RFC 9293 section 3.6.1;
TCP_TW_SYN in tcp_timewait_state_process()). Here the server closes first, so that the second case is seen: the SYN
arrives at a TIME_WAIT object, which steps aside for a new request sock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, listen, recv_to_end, setsockopt, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

PORT = 41000
"""The client's, both times."""

scenario = Scenario(
    name="time-wait-reuse",
    title="A SYN ends a TIME_WAIT: the four numbers are used again",
    topic="ending",
    place=30,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=("TIME_WAIT on the server's side", "a SYN for the same four numbers", "TIME_WAIT ended long before its time"),
    isolation="required",
    questions=(
        ("What makes the server sure that the SYN is a new one?", "Its sequence number is beyond the old connection's"),
        ("What if it were not?", "The server would answer with the old connection's ACK"),
        ("How long did TIME_WAIT last?", "Milliseconds instead of 60 seconds"),
    ),
)


@scenario.step("server", "The server listens.")
def listens(me: Actor) -> None:
    me.listener = socket()
    setsockopt(me.listener, "SO_REUSEADDR", 1)
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("client", "The client connects from a port of its choice, and reads to the end.", asleep_in="recv")
def connects(me: Actor) -> None:
    me.connection = socket()
    setsockopt(me.connection, "SO_REUSEADDR", 1)
    bind(me.connection, (me.host, PORT))
    connect(me.connection, me.at("server"))
    recv_to_end(me.connection)


@scenario.step("server", "The server closes first: TIME_WAIT will be its.", wakes="client")
def closes(me: Actor) -> None:
    close(accept(me.listener))


@scenario.step("client", "The client closes too.", watch="TIME_WAIT on the server's side", lasts=0.05)
def closes_too(me: Actor) -> None:
    close(me.connection)


@scenario.step("client", "It connects again, from the same port to the same.", watch="TIME_WAIT ends; a request sock")
def connects_again(me: Actor) -> None:
    me.connection = socket()
    setsockopt(me.connection, "SO_REUSEADDR", 1)
    bind(me.connection, (me.host, PORT))
    connect(me.connection, me.at("server"))


@scenario.step("server", "The server accepts it as if nothing had been.")
def accepts_again(me: Actor) -> None:
    me.connection = accept(me.listener)
    close(me.listener)


@scenario.must_see("the first connection leaves a TIME_WAIT on the server's side")
def waits(seen: Seen) -> str | None:
    return seen.connection(1).went_through("server", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT")


@scenario.must_see("the second one has the same four numbers and is a connection of its own")
def same_numbers(seen: Seen) -> str | None:
    first, second = (seen.connection(number).first("client", "SYN") for number in (1, 2))
    if first is None or second is None:
        return "there are no two SYNs"
    numbers = [(syn["sport"], syn["dport"]) for syn in (first, second)]
    return seen.same(numbers[0], numbers[1], "ports of the two SYNs") if first["seq"] != second["seq"] else "same SYN"


@scenario.must_see("its SYN ends the TIME_WAIT before its time")
def ended(seen: Seen) -> str | None:
    wait, syn = seen.connection(1).timewait("server"), seen.connection(2).first("client", "SYN")
    if wait is None:
        return "there was no TIME_WAIT"
    if wait.end != "cancelled" or wait.ended is None:
        return f"TIME_WAIT was not cancelled ({wait.end or 'it still waits'})"
    return seen.in_order(("TIME_WAIT is born", wait.born), ("the new SYN", syn), ("TIME_WAIT ends", wait.ended))


@scenario.must_see("and the connection stands on both sides")
def stands(seen: Seen) -> str | None:
    second = seen.connection(2)
    return second.went_through("client", "ESTABLISHED") or second.went_through("server", "ESTABLISHED")
