"""The lifecycle table: what one connection takes up, each thing from its birth to its release.

A connection is many things, and they do not die together. The client's *descriptor* is gone when close() returns, but
the *socket* with its two *buffers* lives on until the closing is done (inet_sock_destruct()), and of that a *TIME_WAIT
object* remains for a minute (tcp_time_wait(), RFC 9293 section 3.3.2). On the server's side a *request sock* stands for
the connection until the last ACK of the handshake makes a socket of it (tcp_check_req()); its descriptor is born only
at accept(). An *epoll item* goes with the descriptor it watches: nobody has to remove it (eventpoll_release_file()). A
runtime keeps an object of its own for each descriptor besides (Go's poll descriptor), which the kernel knows nothing
of. `synfin replay --resources` prints this table for any recorded connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import (
    EPOLL_CTL_ADD,
    EPOLLIN,
    EPOLLRDHUP,
    accept,
    bind,
    close,
    connect,
    epoll_create,
    epoll_ctl,
    epoll_wait,
    listen,
    recv,
    recv_exactly,
    send,
    socket,
)
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

WORDS = bytes(2000)
LEAST = 1900
"""Bytes that a buffer must have held at least to have held the words: the kernel counts whole packets."""

scenario = Scenario(
    name="lifecycle-table",
    title="Everything one connection takes up, born and freed",
    topic="resources",
    place=10,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    isolation="required",
    watch=("the resources pane: one row for each thing", "a descriptor goes, its socket stays", "what is left"),
    aftermath="TIME_WAIT goes on for a minute, and its object is freed as the last of all",
    aftermath_seconds=64,
    questions=(
        ("What has the connection on the server's side before accept()?", "A socket with its buffers, no descriptor"),
        ("Who removes the epoll item?", "close() of the last descriptor that it watches"),
        ("What is left of it after a second?", "The TIME_WAIT object of the side that closed first"),
    ),
)


@scenario.step("server", "The server listens and sleeps in epoll_wait.", asleep_in="epoll_wait")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)
    me.poll = epoll_create()
    epoll_ctl(me.poll, EPOLL_CTL_ADD, me.listener, EPOLLIN)
    epoll_wait(me.poll)


@scenario.step(
    "client", "The client connects.", wakes="server", watch="its descriptor and socket; the server's request sock"
)
def connects(me: Actor) -> None:
    me.connection = socket()
    connect(me.connection, me.at("server"))


@scenario.step("server", "The server accepts, watches the connection and sleeps.", asleep_in="epoll_wait",
               watch="a descriptor and an epoll item are born")  # fmt: skip
def accepts(me: Actor) -> None:
    me.connection = accept(me.listener)
    epoll_ctl(me.poll, EPOLL_CTL_ADD, me.connection, EPOLLIN | EPOLLRDHUP)
    epoll_wait(me.poll)


@scenario.step("client", "The client writes.", wakes="server", watch="bytes in the server's receive buffer", lasts=0.05)
def writes(me: Actor) -> None:
    send(me.connection, WORDS)


@scenario.step("server", "The server reads, answers, and sleeps again.", asleep_in="epoll_wait")
def answers(me: Actor) -> None:
    recv_exactly(me.connection, len(WORDS))
    send(me.connection, WORDS)
    epoll_wait(me.poll)


@scenario.step("client", "The client reads the answer and closes.", wakes="server",
               watch="its descriptor is gone, its socket is not")  # fmt: skip
def closes(me: Actor) -> None:
    recv_exactly(me.connection, len(WORDS))
    close(me.connection)


@scenario.step("server", "The server reads the end and closes.", lasts=0.1,
               watch="all of its things go; a TIME_WAIT object stays at the client's")  # fmt: skip
def ends(me: Actor) -> None:
    if recv(me.connection, 4096):
        raise AssertionError("it was not the end")
    close(me.connection)
    close(me.listener)
    close(me.poll)


@scenario.must_see("descriptors: from socket() and accept() to close()")
def descriptors(seen: Seen) -> str | None:
    client, server = (seen.resource(side, "descriptor") for side in ("client", "server"))
    made, closed = seen.calls("client", "socket")[0].leave, seen.calls("client", "close")[0].leave
    taken, ended = seen.listener().taken()[0], seen.calls("server", "close")[0].leave
    return (
        seen.same((client.born, client.freed), (made, closed), "the client's descriptor")
        or seen.same((server.born, server.freed), (taken, ended), "the server's descriptor")
    )  # fmt: skip


@scenario.must_see("the epoll item: from EPOLL_CTL_ADD to the close() of its descriptor, with no EPOLL_CTL_DEL")
def item(seen: Seen) -> str | None:
    found = seen.resource("server", "epoll item")
    added = [event for event in seen.of("epoll:ctl") if event["op"] == 1]
    closed = seen.calls("server", "close")[0].leave
    if wrong := seen.same((found.born, found.freed), (added[0] if added else None, closed), "the epoll item"):
        return wrong
    return seen.same(len(seen.of("epoll:ctl")), 1, "changes of the interest in the connection")


@scenario.must_see("the request sock: from the SYN to the handshake's last ACK")
def request(seen: Seen) -> str | None:
    found = seen.resource("server", "request sock")
    arrived = seen.arrived("client", "SYN")
    return seen.in_order(
        ("the SYN arrives", arrived[0] if arrived else None),
        ("the request sock is born", found.born),
        ("the SYN-ACK arrives", next(iter(seen.arrived("server", "SYN ACK")), None)),
        ("the last ACK", seen.first("client", "ACK", without="SYN")),
        ("the request sock is gone", found.freed),
    )


@scenario.must_see("the server's socket is there before accept() gives it a descriptor")
def socket_first(seen: Seen) -> str | None:
    return seen.in_order(
        ("the server's socket", seen.resource("server", "socket").born),
        ("the connection in the accept queue", seen.listener().queued()[0]),
        ("its descriptor", seen.resource("server", "descriptor").born),
    )


@scenario.must_see("the client's descriptor goes first, its socket later, and its TIME_WAIT object takes over from it")
def one_by_one(seen: Seen) -> str | None:
    # Not only with the server's FIN: when that is slower than its delayed ACK, an orphan in FIN_WAIT2 is one already
    # (tcp_rcv_state_process(): tcp_time_wait(sk, TCP_FIN_WAIT2, tmo)).
    return seen.in_order(
        ("the descriptor is freed", seen.resource("client", "descriptor").freed),
        ("the TIME_WAIT object is born", seen.resource("client", "TIME_WAIT object").born),
        ("the socket is freed", seen.resource("client", "socket").freed),
    )


@scenario.must_see("each buffer held what was written, and goes with its socket")
def buffers(seen: Seen) -> str | None:
    for side in ("client", "server"):
        gone = seen.destroyed(side)
        if gone is None:
            return f"the {side}'s socket was not freed"
        for kind in ("receive buffer", "send buffer"):
            row = seen.resource(side, kind)
            if wrong := seen.same(row.freed, gone, f"when the {side}'s {kind} was freed"):
                return wrong
    held = seen.resource("server", "receive buffer").bytes or 0
    return None if held >= LEAST else f"the server's receive buffer never held more than {held} bytes"


@scenario.must_see("the server has no TIME_WAIT object: it closed second")
def only_one(seen: Seen) -> str | None:
    return None if seen.timewait("server") is None else "there was one"


@scenario.must_see("the TIME_WAIT object is freed last of all, a minute later")
def last(seen: Seen) -> str | None:
    wait = seen.timewait("client")
    if wait is None:
        return "there was none"
    if not 59 <= wait.armed <= 61:
        return f"its timer was set to {wait.armed} s"
    return None if 59 <= wait.lasted <= 66 else f"it lasted {wait.lasted} s"
