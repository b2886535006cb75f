"""The limit of descriptors: EMFILE at socket(), EMFILE at accept(), and a loop that turns for nothing.

RLIMIT_NOFILE is how many descriptors a process may have. At the limit socket() fails, which is easy to deal with, and
so does accept() (__sys_accept4_file() asks for a number first). But the connection stays in the accept queue, and the
listener stays readable: a level-triggered epoll tells of it again and again, and a loop that only notes the error burns
a processor. One way out is a descriptor in reserve: close it, accept with its number, close the connection, so that the
client is told at least, and take the reserve again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import (
    EPOLL_CTL_ADD,
    EPOLLIN,
    accept,
    bind,
    close,
    connect,
    epoll_create,
    epoll_ctl,
    epoll_wait,
    fails,
    limit_descriptors,
    listen,
    recv,
    recv_to_end,
    send,
    socket,
)
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

LIMIT = 7
"""3 the listener, 4 epoll, 5 the reserve, and 6 for one connection."""
TURNS = 20

scenario = Scenario(
    name="fd-limit",
    title="No descriptor left: accept() fails, the listener stays readable",
    topic="limits",
    place=60,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=("EMFILE, with the connection left in the queue", "epoll_wait returns at once, each time", "the reserve"),
    questions=(
        ("What does the client notice of EMFILE at the server?", "Nothing: it is ESTABLISHED, and waits"),
        ("Why does epoll_wait return again at once?", "The accept queue is not empty, so the listener is readable"),
        ("What is a reserve for?", "To accept and close, so that the client is not left waiting"),
    ),
)


@scenario.step("server", f"The server listens, holds one descriptor in reserve, and may have {LIMIT} in all.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)
    me.poll = epoll_create()
    epoll_ctl(me.poll, EPOLL_CTL_ADD, me.listener, EPOLLIN)
    me.reserve = socket()
    limit_descriptors(LIMIT)


@scenario.step("client", "A client connects.")
def first(me: Actor) -> None:
    me.first = socket()
    connect(me.first, me.at("server"))


@scenario.step("server", "The server accepts: that was the last number. socket() fails.", watch="EMFILE")
def accepts(me: Actor) -> None:
    epoll_wait(me.poll)
    me.first = accept(me.listener)
    fails("EMFILE", socket)


@scenario.step("client", "A second client connects, writes, and reads.", asleep_in="recv", watch="it stands")
def second(me: Actor) -> None:
    me.second = socket()
    connect(me.second, me.at("server"))
    send(me.second, b"hello?")
    recv_to_end(me.second)
    close(me.second)


def turns(me: Actor, times: int) -> None:
    """A loop that only notes the error."""
    for _ in range(times):
        if not epoll_wait(me.poll, 0):
            raise AssertionError("the listener was not readable")
        fails("EMFILE", accept, me.listener)


@scenario.step("server", f"The server's loop: readable, EMFILE, readable, EMFILE, {TURNS} times.",
               watch="the connection stays in the queue")  # fmt: skip
def spins(me: Actor) -> None:
    turns(me, TURNS)


@scenario.step("server", "The way out: the reserve is closed, and the client accepted with its number.")
def uses_the_reserve(me: Actor) -> None:
    close(me.reserve)
    me.late = accept(me.listener)
    recv(me.late, 4096)


@scenario.step("server", "It closes that one, and takes the reserve again: the client is told.", wakes="client",
               watch="FIN to the client; the queue is empty")  # fmt: skip
def tells(me: Actor) -> None:
    close(me.late)
    me.reserve = socket()
    if epoll_wait(me.poll, 0):
        raise AssertionError("the listener is still readable")


@scenario.step("client", "The client closes the first one.")
def closes(me: Actor) -> None:
    close(me.first)


@scenario.must_see("socket() fails with EMFILE, and so does each accept()")
def out_of_numbers(seen: Seen) -> str | None:
    if wrong := seen.same(seen.results("server", "socket"), [3, 5, "EMFILE", 5], "what socket() gave"):
        return wrong
    wanted = [LIMIT - 1, *["EMFILE"] * TURNS, LIMIT - 2]
    return seen.same(seen.results("server", "accept"), wanted, "what accept() gave")


@scenario.must_see("the connection stays in the accept queue all the while, and stands on both sides")
def stays(seen: Seen) -> str | None:
    second, failed = seen.connection(2), seen.actor("server").failed("accept", "EMFILE")
    moments = [call for call in seen.calls("server", "accept") if call.error == "EMFILE"]
    taken = seen.listener().taken()
    begun = failed.enter if failed else None
    for side in ("client", "server"):
        if wrong := seen.in_order(
            (f"{side} ESTABLISHED", second.reached(side, "ESTABLISHED")), ("the first EMFILE", begun),
            ("the last EMFILE", moments[-1].leave if moments else None), ("accept() takes it", taken[-1]),
        ):  # fmt: skip
            return wrong
    return None


@scenario.must_see("epoll_wait tells of the listener each time")
def told_again(seen: Seen) -> str | None:
    loop, after = seen.step(5), seen.step(6)
    told = [event["n"] for event, _ in seen.actor("server").notices() if loop.order < event.order < after.order]
    return seen.same(told, [1] * TURNS, "what epoll_wait gave in the loop")


@scenario.must_see("with the reserve's number it is accepted and closed, and its client comes back from recv()")
def told(seen: Seen) -> str | None:
    freed = seen.calls("server", "close")[0]
    woken = seen.calls("client", "recv")[-1]
    return seen.in_order(
        ("the reserve is closed", freed.leave),
        ("the connection is accepted", seen.listener().taken()[-1]),
        ("FIN reaches the client", next(iter(seen.connection(2).arrived("server", "FIN")), None)),
        ("recv() returns", woken.leave),
    )


@scenario.must_see("the lint names the process that has no descriptor left")
def linted(seen: Seen) -> str | None:
    found = [finding.words for finding in seen.lint("fd-leak")]
    pid = seen.actor("server").pid
    return None if len(found) == 1 and f"process {pid} has no descriptor left" in found[0] else f"it found {found}"
