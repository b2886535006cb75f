"""Passive close: CLOSE_WAIT is the program's, LAST_ACK is the kernel's.

When the peer's FIN comes, the kernel acknowledges it and the connection is in CLOSE_WAIT (RFC 9293 section 3.6). It
stays there until the program closes: no timer ends it, and no packet will. A recv() that returns nothing is all that
the program gets to know; one that overlooks it keeps descriptor and socket for ever. When it closes, its FIN goes out,
the connection is in LAST_ACK until that FIN is acknowledged, and then it is gone at once: the side that closes second
has no TIME_WAIT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, listen, recv, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

IDLE = 0.3
"""Seconds for which the server does nothing about the end it has read."""

scenario = Scenario(
    name="passive-close",
    title="Passive close: CLOSE_WAIT until the program closes",
    topic="lifecycle",
    place=50,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=("CLOSE_WAIT for as long as the server does nothing", "LAST_ACK, and then nothing at all"),
    questions=(
        ("Which timer ends CLOSE_WAIT?", "None: only the program does, with close()"),
        ("How does the program learn that the peer has closed?", "recv() returns 0 bytes"),
        ("Why has the side that closes second no TIME_WAIT?", "Its FIN has been acknowledged: nobody owes anything"),
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


@scenario.step("server", "The server accepts and sleeps in recv.", asleep_in="recv")
def sleeps(me: Actor) -> None:
    me.connection = accept(me.listener)
    if recv(me.connection, 100):
        raise AssertionError("the client has said nothing")


@scenario.step("client", "The client closes, and the server reads the end.", wakes="server", watch="CLOSE_WAIT")
def closes_first(me: Actor) -> None:
    close(me.connection)


@scenario.step("server", "The server does nothing about it for a while.", watch="CLOSE_WAIT stays", lasts=IDLE)
def does_nothing(me: Actor) -> None:
    me.say("a recv of 0 bytes was the only notice there will be")


@scenario.step("server", "The server closes at last.", watch="LAST_ACK, then gone; the client's side has TIME_WAIT")
def closes(me: Actor) -> None:
    close(me.connection)
    close(me.listener)


@scenario.must_see("the server's side goes through CLOSE_WAIT and LAST_ACK to its end")
def path(seen: Seen) -> str | None:
    return seen.went_through("server", "ESTABLISHED", "CLOSE_WAIT", "LAST_ACK", "CLOSE")


@scenario.must_see("the server reads the end of file once")
def reads_the_end(seen: Seen) -> str | None:
    return seen.same(seen.results("server", "recv"), [0], "results of recv")


@scenario.must_see("CLOSE_WAIT begins before that, and lasts until the server calls close()")
def until_close(seen: Seen) -> str | None:
    (reading,), closing = seen.calls("server", "recv"), seen.calls("server", "close")
    return seen.in_order(
        ("CLOSE_WAIT", seen.reached("server", "CLOSE_WAIT")),
        ("recv() returns", reading.leave),
        ("close() is called", closing[0].enter if closing else None),
        ("LAST_ACK", seen.reached("server", "LAST_ACK")),
    )


@scenario.must_see("nothing ends CLOSE_WAIT while the server does nothing")
def stays(seen: Seen) -> str | None:
    begun, over = seen.reached("server", "CLOSE_WAIT"), seen.reached("server", "LAST_ACK")
    if begun is None or over is None:
        return "the server's side was not in CLOSE_WAIT and LAST_ACK"
    return seen.within(begun, over, IDLE * 0.9, 10 + IDLE)


@scenario.must_see("the side that closes second has no TIME_WAIT")
def no_wait(seen: Seen) -> str | None:
    return "the server's side has one" if seen.timewait("server") else seen.never_in("server", "TIME_WAIT")
