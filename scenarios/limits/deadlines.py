"""A slow client, and three kinds of patience: none at all, a limit per call, a deadline.

A client that sends one byte now and then keeps its connection busy and its server waiting: TCP sees nothing wrong, and
has no timer for it. A server without a limit is held as long as the client likes, and whoever comes after waits in the
accept queue. SO_RCVTIMEO limits each recv() (EAGAIN when it is over); every byte that comes begins it anew, so slow
dripping goes on below it. What helps is a deadline for the request as a whole: each wait gets only what is left of it
(poll() with the rest), and when nothing is left the connection is closed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import (
    POLLIN,
    accept,
    bind,
    close,
    connect,
    listen,
    poll,
    recv,
    recv_exactly,
    send,
    setsockopt,
    socket,
    timeval,
)
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

REQUEST = b"0123456789"
GREETING = b"?"
"""With it the server says that it is there, so that the dripping begins when somebody waits for it."""
PAUSE = 50
"""ms between two bytes of the slow client."""
PER_CALL = 0.35
"""Seconds that one recv() may take."""
DEADLINE = 0.28
"""Seconds that the whole request may take."""

scenario = Scenario(
    name="deadlines",
    title="A slow client holds a server, until there is a deadline",
    topic="limits",
    place=90,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "slow", "other"),
    watch=("one byte at a time", "who waits in the accept queue", "the time-out that begins anew", "the deadline"),
    questions=(
        ("Which timer of TCP ends a connection that drips?", "None: every byte is acknowledged, all is well"),
        ("Why does SO_RCVTIMEO not help?", "It limits one call, and each byte begins a new one"),
        ("What does the deadline need that the time-out does not?", "A clock that is read before each wait"),
    ),
)


@scenario.step("server", "The server listens; it serves one client after another.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("slow", "A slow client connects, and sends one byte of its request.")
def begins(me: Actor) -> None:
    me.connection = socket()
    connect(me.connection, me.at("server"))
    send(me.connection, REQUEST[:1])


@scenario.step("server", "The server accepts, and reads the request without any limit.", asleep_in="recv")
def reads_without(me: Actor) -> None:
    connection = accept(me.listener)
    recv_exactly(connection, len(REQUEST))
    close(connection)


@scenario.step("other", "Another client connects, sends its request at once, and waits.", asleep_in="recv",
               watch="it stands in the accept queue")  # fmt: skip
def is_quick(me: Actor) -> None:
    me.connection = socket()
    connect(me.connection, me.at("server"))
    send(me.connection, REQUEST)
    recv(me.connection, 4096)
    close(me.connection)


@scenario.step("slow", "The slow one drips, a byte now and then, to the last.", wakes="server",
               watch="the server's recv() returns one byte each time")  # fmt: skip
def drips(me: Actor) -> None:
    for at in range(1, len(REQUEST)):
        poll({me.connection: POLLIN}, PAUSE)
        send(me.connection, REQUEST[at : at + 1])
    recv(me.connection, 4096)
    close(me.connection)


@scenario.step("server", "Only now is it the other one's turn.", wakes="other")
def serves_the_other(me: Actor) -> None:
    connection = accept(me.listener)
    recv_exactly(connection, len(REQUEST))
    close(connection)


def drip_until_told(me: Actor, bytes_at_most: int) -> None:
    """Connect, wait for the greeting, then send a byte, wait, and so on, until the server ends it."""
    connection = socket()
    connect(connection, me.at("server"))
    recv(connection, len(GREETING))
    try:
        for _ in range(bytes_at_most):
            send(connection, b".")
            if poll({connection: POLLIN}, PAUSE):
                break
        recv(connection, 4096)
    except ConnectionError:  # a byte that crossed the server's close() is answered by RST
        me.say("reset")
    close(connection)


@scenario.step("slow", "The slow one comes again; it will drip when it is greeted.", asleep_in="recv")
def drips_again(me: Actor) -> None:
    drip_until_told(me, len(REQUEST))


@scenario.step("server", f"With SO_RCVTIMEO of {PER_CALL} s: no recv() takes so long, all together do.",
               wakes="slow", watch="the time-out begins anew with each byte")  # fmt: skip
def reads_with_a_limit(me: Actor) -> None:
    connection = accept(me.listener)
    setsockopt(connection, "SO_RCVTIMEO", timeval(PER_CALL))
    send(connection, GREETING)
    recv_exactly(connection, len(REQUEST))
    close(connection)


@scenario.step("slow", "A third time; now it would drip for ever.", asleep_in="recv")
def drips_for_ever(me: Actor) -> None:
    drip_until_told(me, 10_000)


@scenario.step("server", f"With a deadline of {DEADLINE} s for the whole request: it is closed in time.",
               wakes="slow", watch="each poll() waits for what is left")  # fmt: skip
def reads_with_a_deadline(me: Actor) -> None:
    connection = accept(me.listener)
    send(connection, GREETING)
    until = time.monotonic() + DEADLINE
    while (rest := until - time.monotonic()) > 0:
        if poll({connection: POLLIN}, max(int(rest * 1000), 1)):
            recv(connection, 1)
    close(connection)


@scenario.step("server", "The server closes its listener.")
def ends(me: Actor) -> None:
    close(me.listener)


def held(seen: Seen, number: int) -> tuple[list[float], float]:
    """How long each recv() of the server on a connection was, and all of them from first to last, in seconds."""
    socks = {event.sock for event in seen.connection(number).events if event.sock and event.side == 2}
    mine = [call for call in seen.calls("server", "recv") if call.enter.sock in socks]
    if not mine:
        seen.cannot_tell(f"no recv() of the server is known to be of connection {number}")
    last = mine[-1].leave
    return [call.seconds for call in mine], seen.seconds(mine[0].enter, last) if last else 0.0


@scenario.must_see("without a limit one client's dripping holds the server, and its recv() gets a byte at a time")
def holds(seen: Seen) -> str | None:
    calls, whole = held(seen, 1)
    least = PAUSE / 1000 * (len(REQUEST) - 1)
    piecemeal = len(calls) > len(REQUEST) / 2  # on a busy machine two bytes may have come before it looks
    return None if piecemeal and whole > 0.8 * least else f"{len(calls)} calls in {whole:.2f} s"


@scenario.must_see("the other client's whole request lies there all the while, and is read after the slow one's end")
def waits(seen: Seen) -> str | None:
    first, other = seen.connection(1), seen.connection(2)
    taken = seen.listener().taken()
    arrived = other.arrived("client", data=True)
    return seen.in_order(
        ("the other's request arrives", arrived[0] if arrived else None),
        ("the slow one's last byte", first.last("client", data=True)),
        ("the other is accepted", taken[1] if len(taken) > 1 else None),
    )


@scenario.must_see("SO_RCVTIMEO never strikes, and the request takes longer than it")
def no_use(seen: Seen) -> str | None:
    calls, whole = held(seen, 3)
    if max(calls) >= PER_CALL:
        return f"one recv() took {max(calls):.2f} s"
    if len(calls) <= len(REQUEST) / 2:
        return f"the request was read in {len(calls)} calls"
    return None if whole > PER_CALL else f"the request took {whole:.2f} s"


@scenario.must_see("with a deadline it is closed in time, while the client drips on")
def in_time(seen: Seen) -> str | None:
    last = seen.connection(4)
    taken = seen.listener().taken()[-1]
    end = last.first("server", "FIN") or last.first("server", "RST")
    if end is None:
        return "the server did not end it"
    drops = [packet for packet in last.packets("client", data=True) if packet.order < end.order]
    if len(drops) < 2:
        return "the client did not drip"
    return seen.within(taken, end, 0.8 * DEADLINE, 5 * DEADLINE)


@scenario.must_see("and the client is woken by that end")
def woken(seen: Seen) -> str | None:
    last = seen.connection(4)
    end = last.first("server", "FIN") or last.first("server", "RST")
    return seen.in_order(("the server's end", end), ("poll() returns", seen.calls("slow", "poll")[-1].leave))
