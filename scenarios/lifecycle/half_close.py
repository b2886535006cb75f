"""Half-close: shutdown(SHUT_WR) ends one direction of a connection and leaves the other one open.

A TCP connection is two streams, and each has its own end (RFC 9293 section 3.6). The client here says all it has to
say, and then calls shutdown(SHUT_WR): its FIN goes out, but its descriptor stays and it goes on listening. The server,
an event loop on epoll, learns of it as *readability*: EPOLLIN with EPOLLRDHUP, and a recv that returns nothing. It may
still talk, and does. Only its own close() ends the second direction. The side that sent the first FIN keeps the memory
of the connection, TIME_WAIT, for a minute, and nobody's process is needed for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import (
    EPOLL_CTL_ADD,
    EPOLLIN,
    EPOLLRDHUP,
    SHUT_WR,
    SOCK_NONBLOCK,
    accept,
    bind,
    close,
    connect,
    epoll_create,
    epoll_ctl,
    epoll_wait,
    listen,
    recv,
    send,
    shutdown,
    socket,
)
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

scenario = Scenario(
    name="half-close",
    title="Half-close and TIME_WAIT",
    topic="lifecycle",
    place=60,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=(
        "the server's thread sleeps in epoll_wait while the handshake passes",
        "FIN_WAIT1 and FIN_WAIT2 on the client's side, CLOSE_WAIT on the server's",
        "data still flowing against the direction that has ended",
        "TIME_WAIT on the side that closed first, after both processes have gone",
    ),
    aftermath="TIME_WAIT of the client's side runs out",
    aftermath_seconds=66.0,  # TCP_TIMEWAIT_LEN is 60 s; the timer wheel rounds up, by 4.1 s at most
    questions=(
        ("After shutdown(SHUT_WR), which state is the client in once its FIN is acknowledged?", "FIN_WAIT2"),
        ("Which event tells the server's epoll loop that the client has finished?", "EPOLLIN with EPOLLRDHUP"),
        ("Who gets TIME_WAIT, and why?", "The client: it sent the first FIN"),
    ),
)


@scenario.step("server", "The server opens its door: socket, bind, listen.", watch="state LISTEN and two empty queues")
def opens(me: Actor) -> None:
    me.listener = socket(SOCK_NONBLOCK)
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("server", "It puts the listener under epoll and falls asleep in epoll_wait.", asleep_in="epoll_wait")
def sleeps(me: Actor) -> None:
    me.poll = epoll_create()
    epoll_ctl(me.poll, EPOLL_CTL_ADD, me.listener, EPOLLIN)
    epoll_wait(me.poll)


@scenario.step(
    "client",
    "The client connects: three packets pass, and the server's program has no part in it.",
    wakes="server",
    watch="the server wakes only when the connection is already in its accept queue",
)
def connects(me: Actor) -> None:
    me.connection = socket()
    connect(me.connection, me.at("server"))


@scenario.step(
    "server", "The server collects the finished connection with accept and waits for words.", asleep_in="epoll_wait"
)
def accepts(me: Actor) -> None:
    me.connection = accept(me.listener, SOCK_NONBLOCK)
    epoll_ctl(me.poll, EPOLL_CTL_ADD, me.connection, EPOLLIN | EPOLLRDHUP)
    epoll_wait(me.poll)


@scenario.step("client", "The client says hello and waits for the echo.", asleep_in="recv", wakes="server")
def says_hello(me: Actor) -> None:
    send(me.connection, b"hello")
    recv(me.connection, 4096)


@scenario.step("server", "The server echoes it and sleeps again.", asleep_in="epoll_wait", wakes="client")
def echoes(me: Actor) -> None:
    send(me.connection, recv(me.connection, 4096))
    epoll_wait(me.poll)


@scenario.step(
    "client",
    "The client has nothing more to say: shutdown(SHUT_WR). Its FIN goes out, its descriptor stays.",
    wakes="server",
    watch="client FIN_WAIT1; server CLOSE_WAIT; epoll_wait returns EPOLLIN|EPOLLRDHUP",
)
def half_closes(me: Actor) -> None:
    shutdown(me.connection, SHUT_WR)


@scenario.step(
    "client",
    "But it still listens: recv sleeps. The server's kernel owes the FIN an ACK, and takes its time.",
    asleep_in="recv",
    watch="FIN_WAIT2 begins with the ACK: delayed by 40 ms (TCP_ATO_MIN), for it might have gone out with data",
    lasts=0.1,
)
def still_listens(me: Actor) -> None:
    recv(me.connection, 4096)


@scenario.step("server", "The server reads the end of the client's words: recv returns nothing.", watch="CLOSE_WAIT")
def reads_the_end(me: Actor) -> None:
    if recv(me.connection, 4096):
        raise AssertionError("the client had nothing more to say, yet there are bytes")


@scenario.step("server", "It says its last words, against the closed direction.", wakes="client")
def last_words(me: Actor) -> None:
    send(me.connection, b"farewell")


@scenario.step(
    "server",
    "The server closes: its FIN ends the second direction.",
    watch="server LAST_ACK, then gone; client TIME_WAIT, although its program has done nothing",
)
def closes(me: Actor) -> None:
    close(me.connection)


@scenario.step("client", "The client reads the end: recv returns nothing.")
def reads_the_other_end(me: Actor) -> None:
    if recv(me.connection, 4096):
        raise AssertionError("the server had said its last words, yet there are bytes")


@scenario.step("client", "It closes its descriptor. No packet: TCP was done before.", watch="no segment at all")
def lets_go(me: Actor) -> None:
    close(me.connection)


@scenario.step("client", "The client's process ends. TIME_WAIT stays: it belongs to the kernel.")
def leaves(me: Actor) -> None:
    raise SystemExit(0)


@scenario.step("server", "The server closes its listener and leaves too.", watch="only TIME_WAIT is left")
def shuts_the_door(me: Actor) -> None:
    close(me.listener)
    close(me.poll)
    raise SystemExit(0)


@scenario.must_see("the server's thread sleeps in epoll_wait while the three packets of the handshake pass")
def sleeps_through(seen: Seen) -> str | None:
    syn, _, last = seen.handshake()
    return seen.asleep_during("server", "epoll_wait", syn, last)


@scenario.must_see("the client's side goes through ESTABLISHED, FIN_WAIT1, FIN_WAIT2 and TIME_WAIT")
def client_path(seen: Seen) -> str | None:
    return seen.went_through("client", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT")


@scenario.must_see("the server's side goes through ESTABLISHED and CLOSE_WAIT to its end")
def server_path(seen: Seen) -> str | None:
    return seen.went_through("server", "ESTABLISHED", "CLOSE_WAIT", "CLOSE")


@scenario.must_see("data flow from the server after the client's FIN")
def talks_on(seen: Seen) -> str | None:
    fin = seen.first("client", "FIN")
    if fin is None:
        return "the client sent no FIN"
    later = [packet for packet in seen.packets("server") if packet.order > fin.order and packet["length"]]
    return None if later else "the server sent no data after the client's FIN"


@scenario.must_see("the client reads those data although it has shut its own direction")
def hears_on(seen: Seen) -> str | None:
    shut = next((leave for _, leave in seen.calls("client", "shutdown") if leave is not None), None)
    if shut is None:
        return "the client's shutdown did not return"
    results = [leave["ret"] for _, leave in seen.calls("client", "recvfrom") if leave and leave.order > shut.order]
    return None if results == [8, 0] else f"after shutdown, recv gave {results}, not 8 bytes and then the end"


@scenario.must_see("TIME_WAIT begins on the client's side before its program closes the descriptor")
def waits_unasked(seen: Seen) -> str | None:
    born, closes = seen.reached("client", "TIME_WAIT"), seen.calls("client", "close")
    if born is None or not closes:
        return "there was no TIME_WAIT" if born is None else "the client did not close"
    if born.time < closes[-1][0].time:
        return None
    if born.evidence.name == "SAMPLED":
        seen.cannot_tell("the table was read too seldom to show which came first")
    return "the client closed first"
