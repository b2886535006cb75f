"""Two buffers on the way: what send() means, and when there is room again.

send() returns when the bytes are in the *send buffer* of this machine; nothing says that they have arrived, or that
anybody has read them. They leave as far as the other side's window allows, and lie in its *receive buffer* until the
program reads. When the other program does not read, first its buffer fills, then ours, and then a non-blocking send()
says EAGAIN; the kernel notes that somebody wants room (SOCK_NOSPACE). When the reader has read and the acknowledgements
have freed enough, a third of the buffer (sk_stream_write_space()), the socket is writable again, and epoll tells it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import (
    EPOLL_CTL_ADD,
    EPOLLOUT,
    MSG_DONTWAIT,
    accept,
    bind,
    close,
    connect,
    epoll_create,
    epoll_ctl,
    epoll_wait,
    listen,
    recv_to_end,
    send,
    setsockopt,
    socket,
)
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

BUFFER = 16384
PIECE = bytes(4096)

scenario = Scenario(
    name="buffers",
    title="Send and receive buffer: full, and writable again",
    topic="talking",
    place=20,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=("the receive buffer fills first, then the send buffer", "EAGAIN", "EPOLLOUT when there is room again"),
    questions=(
        ("What does a send() that has returned say about the other program?", "Nothing: the bytes are in a buffer"),
        ("Which of the two buffers fills first?", "The receive buffer: bytes leave as long as its window is open"),
        ("When is the socket writable again?", "When a good part of the send buffer is free, not at the first byte"),
    ),
)


@scenario.step("server", "The server listens, with a small receive buffer.")
def listens(me: Actor) -> None:
    me.listener = socket()
    setsockopt(me.listener, "SO_RCVBUF", BUFFER)
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("client", "The client connects, with a small send buffer.")
def connects(me: Actor) -> None:
    me.connection = socket()
    setsockopt(me.connection, "SO_SNDBUF", BUFFER)
    connect(me.connection, me.at("server"))


@scenario.step("server", "The server accepts, and does not read.")
def accepts(me: Actor) -> None:
    me.connection = accept(me.listener)


def send_what_goes(me: Actor) -> None:
    """send() until EAGAIN."""
    try:
        while True:
            send(me.connection, PIECE, MSG_DONTWAIT)
    except BlockingIOError:
        pass


@scenario.step(
    "client", "The client sends until EAGAIN.", watch="the receive buffer fills, then the send buffer", lasts=0.6
)
def fills(me: Actor) -> None:
    send_what_goes(me)


@scenario.step(
    "client", "What has moved on meanwhile it fills up, and sleeps until there is room.", asleep_in="epoll_wait"
)
def sleeps(me: Actor) -> None:
    send_what_goes(me)
    me.poll = epoll_create()
    epoll_ctl(me.poll, EPOLL_CTL_ADD, me.connection, EPOLLOUT)
    epoll_wait(me.poll)
    close(me.connection)
    close(me.poll)


@scenario.step("server", "The server reads.", wakes="client", watch="acknowledgements, then EPOLLOUT")
def reads(me: Actor) -> None:
    recv_to_end(me.connection)
    close(me.connection)
    close(me.listener)


@scenario.must_see("bytes lie in the server's receive buffer before any lie unsent in the client's send buffer")
def receive_first(seen: Seen) -> str | None:
    unread = next((event for event, value in seen.values("server", "unread") if value), None)
    unsent = next((event for event, value in seen.values("client", "unsent") if value > len(PIECE)), None)
    return seen.in_order(("bytes unread", unread), ("bytes unsent", unsent))


@scenario.must_see("both are full: the receive buffer has no window left, the send buffer no room")
def full(seen: Seen) -> str | None:
    if seen.actor("client").failed("send", "EAGAIN") is None:
        return "no send() failed with EAGAIN"
    return None if seen.zero_windows("server") else "the window was never zero"


@scenario.must_see("send() has long returned for bytes that nobody has read")
def returned(seen: Seen) -> str | None:
    sent = sum(result for result in seen.results("client", "send") if isinstance(result, int) and result > 0)
    unread, unacked = seen.most("server", "unread"), seen.most("client", "unacked")
    return None if sent > unread > 0 else f"{sent} bytes were sent, {unread} were unread, {unacked} unacknowledged"


@scenario.must_see("the client sleeps until the server has read, and is told EPOLLOUT")
def room_again(seen: Seen) -> str | None:
    first = next((call for call in seen.calls("server", "recv")), None)
    told = [(event, flags) for event, entries in seen.actor("client").notices() for _, flags in entries]
    if not told or "EPOLLOUT" not in told[0][1]:
        return f"epoll_wait told {told[0][1] if told else 'nothing'}"
    return seen.in_order(("the server reads", first.leave if first else None), ("epoll_wait returns", told[0][0]))
