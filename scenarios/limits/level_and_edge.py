"""Level and edge: what epoll tells again, and what it tells once.

A level-triggered epoll item (the default) is a state: as long as bytes are in the receive queue, each epoll_wait()
tells of them (ep_send_events() puts the item back on the ready list). Who does not read is told for ever, and turns on
the spot. An edge-triggered one (EPOLLET) is an event: it is told when something *arrives*, once. Who then reads a part
of it and waits for more, waits for bytes that the peer may never send, with the rest in the queue. So with EPOLLET one
reads until EAGAIN. New bytes bring a new edge, and then all of the rest can be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import (
    EPOLL_CTL_ADD,
    EPOLLET,
    EPOLLIN,
    MSG_DONTWAIT,
    accept,
    bind,
    close,
    connect,
    epoll_create,
    epoll_ctl,
    epoll_wait,
    fails,
    listen,
    recv,
    send,
    socket,
)
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

WORDS = b"ten bytes." * 10
PIECE = 10
TURNS = 110
"""More than what the lint takes for an accident."""
PATIENCE = 1200
"""ms: a little more than the lint's second."""

scenario = Scenario(
    name="level-and-edge",
    title="epoll: told as long as there is something, or once when it comes",
    topic="limits",
    place=110,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=("epoll_wait returns at once, again and again", "bytes in the queue, and nobody is told", "a new edge"),
    questions=(
        ("When does a level-triggered item stop being told?", "When the receive queue is empty"),
        ("How must one read with EPOLLET?", "Until EAGAIN, before one waits again"),
        ("What brings the forgotten bytes back?", "The next bytes of the peer, if it ever sends any"),
    ),
)


@scenario.step("server", "The server listens.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("client", f"The client connects twice, and writes {len(WORDS)} bytes on each connection.")
def writes(me: Actor) -> None:
    me.first, me.second = socket(), socket()
    for connection in (me.first, me.second):
        connect(connection, me.at("server"))
        send(connection, WORDS)


@scenario.step("server", "The server watches the first by level, the second by edge.", watch="EPOLLIN; EPOLLIN|EPOLLET")
def watches(me: Actor) -> None:
    me.first, me.second = accept(me.listener), accept(me.listener)
    me.level, me.edge = epoll_create(), epoll_create()
    epoll_ctl(me.level, EPOLL_CTL_ADD, me.first, EPOLLIN)
    epoll_ctl(me.edge, EPOLL_CTL_ADD, me.second, EPOLLIN | EPOLLET)


@scenario.step("server", f"By level: it waits {TURNS} times, and reads nothing.", watch="it turns on the spot")
def turns(me: Actor) -> None:
    for _ in range(TURNS):
        epoll_wait(me.level)


@scenario.step("server", f"By level: wait, read {PIECE} bytes, wait, and so on, to the last.", watch="told each time")
def reads_by_level(me: Actor) -> None:
    while epoll_wait(me.level, 0):
        recv(me.first, PIECE)


@scenario.step("server", f"By edge: told once, {PIECE} bytes read; then nothing, for {PATIENCE} ms.",
               watch="90 bytes in the queue, and epoll_wait tells nothing")  # fmt: skip
def reads_by_edge(me: Actor) -> None:
    epoll_wait(me.edge)
    recv(me.second, PIECE)
    if epoll_wait(me.edge, PATIENCE):
        raise AssertionError("it was told a second time")


@scenario.step("server", "It waits on.", asleep_in="epoll_wait")
def waits_on(me: Actor) -> None:
    epoll_wait(me.edge)


@scenario.step("client", "The client sends one byte more: a new edge.", wakes="server")
def one_more(me: Actor) -> None:
    send(me.second, b"!")


@scenario.step("server", "Now it reads until EAGAIN: all that was left, and the new byte.", watch="an empty queue")
def reads_all(me: Actor) -> None:
    me.say(f"{len(recv(me.second, 4096, MSG_DONTWAIT))} bytes")
    fails("EAGAIN", recv, me.second, 4096, MSG_DONTWAIT)


@scenario.step("client", "The client closes.")
def closes(me: Actor) -> None:
    close(me.first)
    close(me.second)


@scenario.step("server", "The server closes.")
def ends(me: Actor) -> None:
    for fd in (me.first, me.second, me.level, me.edge, me.listener):
        close(fd)


def told(seen: Seen, step: int) -> list[int]:
    """What each epoll_wait() of a step gave."""
    first, after = seen.step(step), seen.step(step + 1)
    return [event["n"] for event, _ in seen.actor("server").notices() if first.order < event.order < after.order]


@scenario.must_see("by level it is told each time while bytes are there, whether they are read or not")
def level(seen: Seen) -> str | None:
    if wrong := seen.same(told(seen, 4), [1] * TURNS, "what epoll_wait gave while nobody read"):
        return wrong
    pieces = len(WORDS) // PIECE
    return seen.same(told(seen, 5), [1] * pieces + [0], f"what it gave between {pieces} reads")


@scenario.must_see("by edge it is told once, and not again while the rest lies there")
def edge(seen: Seen) -> str | None:
    if wrong := seen.same(told(seen, 6), [1, 0], "what epoll_wait gave"):
        return wrong
    waited = seen.calls("server", "epoll_wait")[-2]
    if waited.leave is None or waited.seconds < PATIENCE / 2000:
        return "it did not wait for it"
    unread = seen.connection(2).value_before("server", "unread", waited.leave)
    return seen.same(unread, len(WORDS) - PIECE, "bytes unread")


@scenario.must_see("one new byte brings an edge, and the rest is read with it")
def new_edge(seen: Seen) -> str | None:
    last = seen.calls("server", "epoll_wait")[-1]
    byte = next((event for event in seen.connection(2).arrived("client", data=True) if event["length"] == 1), None)
    if wrong := seen.in_order(("one byte more", byte), ("epoll_wait returns", last.leave)):
        return wrong
    wanted = [PIECE] * (len(WORDS) // PIECE + 1) + [len(WORDS) - PIECE + 1, "EAGAIN"]
    return seen.same(seen.results("server", "recv"), wanted, "what recv() gave")


@scenario.must_see("the lints find both: the turning on the spot, and the edge that was lost")
def linted(seen: Seen) -> str | None:
    spinning, lost = seen.lint("spinning-epoll"), seen.lint("lost-edge")
    if len(spinning) != 1 or len(lost) != 1:
        return f"spinning-epoll found {len(spinning)}, lost-edge {len(lost)}"
    return seen.same([found.conn for found in (*spinning, *lost)], [1, 2], "connections of the two")
