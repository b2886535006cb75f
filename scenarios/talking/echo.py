"""Echo: two directions at once, and the mistake of doing them one after the other.

A connection carries two streams that do not wait for each other. A client that first sends all it has and only then
reads works for a few bytes; with more, both sides stand still: the server's answers fill the client's receive buffer,
the server's send() blocks, so it reads no more, its receive buffer fills, and the client's send() blocks too. Nobody is
wrong, nobody is slow, and nothing will ever move. (RFC 9293 knows no deadlock: it is the programs'.) With one process
that writes and another that reads, or one loop that does whichever is possible, any amount goes through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import (
    SHUT_WR,
    accept,
    bind,
    close,
    connect,
    fails,
    listen,
    recv,
    send_all,
    setsockopt,
    shutdown,
    socket,
    timeval,
)
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

BUFFER = 8192
"""Bytes asked of SO_SNDBUF and SO_RCVBUF, to make the buffers of both sides small; the kernel doubles them."""
MUCH = 400_000
"""More than the four buffers hold."""

scenario = Scenario(
    name="echo",
    title="Echo: one after the other stands still, both at once does not",
    topic="talking",
    place=10,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client", "reader"),
    children={"reader": "client"},
    watch=("both sides blocked in send()", "both receive buffers full", "the same amount with a second process"),
    questions=(
        ("Who is to blame for the standstill?", "Nobody alone: each waits for the other to read"),
        ("Which call blocks on either side?", "send(): its buffer is full because the other does not read"),
        ("What helps?", "Reading and writing at the same time: two processes, two tasks, or one event loop"),
    ),
)


@scenario.step("server", "The server listens; its buffers are small.")
def listens(me: Actor) -> None:
    me.listener = socket()
    setsockopt(me.listener, "SO_RCVBUF", BUFFER)
    setsockopt(me.listener, "SO_SNDBUF", BUFFER)
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("client", "The client connects; so are its own.")
def connects(me: Actor) -> None:
    me.connection = socket()
    setsockopt(me.connection, "SO_RCVBUF", BUFFER)
    setsockopt(me.connection, "SO_SNDBUF", BUFFER)
    connect(me.connection, me.at("server"))


def echo(me: Actor) -> None:
    """What comes goes back, until the end."""
    while data := recv(me.connection, 4096):
        send_all(me.connection, data)


@scenario.step("server", "The server echoes: reads, sends back, reads, ...", asleep_in="recv")
def echoes(me: Actor) -> None:
    me.connection = accept(me.listener)
    echo(me)


@scenario.step("client", "The client sends all it has before it reads. It stands still.", watch="both in send()")
def stands_still(me: Actor) -> None:
    setsockopt(me.connection, "SO_SNDTIMEO", timeval(0.3))  # or the play would stand still for ever, too
    fails("EAGAIN", send_all, me.connection, bytes(MUCH))


@scenario.step("client", "It asks for help: a second process, with the same connection, will read.")
def forks(me: Actor) -> None:
    setsockopt(me.connection, "SO_SNDTIMEO", timeval(0))
    me.fork("reader")


@scenario.step("reader", "The reader reads, and everything moves again.", asleep_in="recv", watch="windows open")
def reads(me: Actor) -> None:
    while recv(me.connection, 65536):
        pass


@scenario.step("client", "Now the client can send as much again, and more, at one go.", timeout=20)
def sends_all(me: Actor) -> None:
    send_all(me.connection, bytes(MUCH))
    shutdown(me.connection, SHUT_WR)


@scenario.step("server", "The server has echoed it all and closes.", wakes="reader", timeout=20)
def closes(me: Actor) -> None:
    close(me.connection)
    close(me.listener)


@scenario.must_see("one after the other: the client's send and the server's send are blocked at the same time")
def both_blocked(seen: Seen) -> str | None:
    stuck = seen.actor("client").failed("send", "EAGAIN")
    if stuck is None or stuck.leave is None:
        return "the client's send was not blocked until its timeout"
    for call in seen.calls("server", "send"):
        if call.enter.time < stuck.leave.time and (call.leave is None or call.leave.time > stuck.leave.time):
            return None
    return "the server was not in send() when the client's gave up"


@scenario.must_see("both sides have told each other a window of zero")
def zero_windows(seen: Seen) -> str | None:
    told = [len(seen.zero_windows(side)) for side in ("client", "server")]
    return None if all(told) else f"the client told {told[0]} zero windows, the server {told[1]}"


@scenario.must_see("with a reader beside the writer every byte comes back")
def all_comes_back(seen: Seen) -> str | None:
    read = sum(result for result in seen.results("reader", "recv") if isinstance(result, int))
    sent = sum(result for result in seen.results("client", "send") if isinstance(result, int))
    return None if read == sent >= MUCH else f"{sent} bytes were sent, and {read} were read"
