"""A connect() that does not wait: EINPROGRESS, EPOLLOUT, SO_ERROR.

A program that serves many may not sleep in connect(). On a non-blocking socket connect() sends the SYN and returns
EINPROGRESS at once (connect(2)); when the handshake has ended, the socket becomes *writable*, and that is all the
notice there is. It says that it has ended, not how: after a refusal the socket is "writable" too, with EPOLLERR and
EPOLLHUP, and only SO_ERROR tells the outcome (and is cleared by being read). Whoever is never answered is never
writable, until the kernel gives up after minutes: so the program needs a deadline of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import (
    EPOLL_CTL_ADD,
    EPOLLOUT,
    SOCK_NONBLOCK,
    begin_connect,
    bind,
    close,
    epoll_create,
    epoll_ctl,
    epoll_wait,
    listen,
    so_error,
    socket,
)
from scenarios.network import Network
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

PATIENCE = 300
"""ms: the deadline of the third attempt."""

scenario = Scenario(
    name="nonblocking-connect",
    title="Non-blocking connect: accepted, refused, never answered",
    topic="opening",
    place=50,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    ports=2,
    watch=("EINPROGRESS at once", "EPOLLOUT with and without EPOLLERR", "SO_ERROR, read once"),
    questions=(
        ("What does EPOLLOUT say about the connection?", "That its handshake has ended; how, SO_ERROR says"),
        ("Which events does a refusal bring?", "EPOLLOUT, EPOLLERR and EPOLLHUP together"),
        ("Who ends the third attempt?", "The program, by its own deadline: no event ever comes"),
    ),
)


@scenario.step("server", "The server listens on one port; on the next nobody does.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


def attempt(me: Actor, port: int, patience: int) -> str:
    """One non-blocking connect under epoll; what SO_ERROR says in the end."""
    me.poll = epoll_create()
    me.connection = socket(SOCK_NONBLOCK)
    begin_connect(me.connection, me.at("server", port))
    epoll_ctl(me.poll, EPOLL_CTL_ADD, me.connection, EPOLLOUT)
    if not epoll_wait(me.poll, patience):
        return "no event"
    return so_error(me.connection) or "connected"


def ends(me: Actor) -> None:
    close(me.connection)
    close(me.poll)


@scenario.step(
    "client", "To the open port: EINPROGRESS, then EPOLLOUT, and SO_ERROR is 0.", watch="SYN_SENT → ESTABLISHED"
)
def is_accepted(me: Actor) -> None:
    if (outcome := attempt(me, 0, 5000)) != "connected":
        raise AssertionError(outcome)
    ends(me)


@scenario.step("client", "To the closed port: EPOLLOUT as well, but SO_ERROR is ECONNREFUSED.", watch="RST")
def is_refused(me: Actor) -> None:
    if (outcome := attempt(me, 1, 5000)) != "ECONNREFUSED":
        raise AssertionError(outcome)
    ends(me)


@scenario.step("network", "The cable is cut.")
def cuts(me: Network) -> None:
    me.cut()


@scenario.step(
    "client", "To nobody at all: no event, and the program's deadline is over.", watch="SYN_SENT all the time"
)
def is_not_answered(me: Actor) -> None:
    if (outcome := attempt(me, 0, PATIENCE)) != "no event":
        raise AssertionError(outcome)
    ends(me)


@scenario.must_see("connect() returns EINPROGRESS each time, before any answer has come")
def in_progress(seen: Seen) -> str | None:
    wrong = seen.same(seen.results("client", "connect"), ["EINPROGRESS"] * 3, "what connect() gave")
    if wrong:
        return wrong
    for number, call in enumerate(seen.calls("client", "connect")[:2], 1):
        answer = next(iter(seen.connection(number).arrived("server")), None)
        if wrong := seen.in_order(("connect() returns", call.leave), ("the answer arrives", answer)):
            return wrong
    return None


@scenario.must_see("the first attempt brings EPOLLOUT alone, the refused one EPOLLOUT with EPOLLERR and EPOLLHUP")
def events(seen: Seen) -> str | None:
    told = [flags for _, entries in seen.actor("client").notices() for _, flags in entries]
    return seen.same(told, ["EPOLLOUT", "EPOLLOUT|EPOLLERR|EPOLLHUP"], "events that epoll_wait brought")


@scenario.must_see("writable is told after the step from SYN_SENT to ESTABLISHED, or to CLOSED")
def after_the_state(seen: Seen) -> str | None:
    notices = [event for event, entries in seen.actor("client").notices() if entries]
    for number, state in ((1, "ESTABLISHED"), (2, "CLOSE")):
        reached = seen.connection(number).reached("client", state)
        if wrong := seen.in_order((state, reached), ("epoll_wait returns", notices[number - 1])):
            return wrong
    return None


@scenario.must_see("the third attempt is still in SYN_SENT when the deadline is over, and nothing was told")
def silence(seen: Seen) -> str | None:
    third = seen.connection(3)
    return seen.same([state.name for state, _ in third.path("client")], ["SYN_SENT", "CLOSE"], "its way") or (
        "something came back" if third.arrived("server") else None
    )
