"""Two descriptors, one socket: FIN goes out with the last close(), and shutdown() asks nobody.

dup() makes a second number for the same open socket, and fork() gives all numbers to the child as well. The kernel
counts them (struct file's f_count), and close() only takes one away; tcp_close(), which sends FIN, runs when the last
one goes (fput()). So a server that forks and forgets to close its copy keeps the connection open, and its peer never
sees the end. shutdown() is about the connection and not about a number: one call, and FIN is out for all who hold it.
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
    dup,
    fails,
    listen,
    recv,
    recv_exactly,
    recv_to_end,
    send,
    shutdown,
    socket,
)
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

scenario = Scenario(
    name="two-fds-one-socket",
    title="dup and fork: one socket, many descriptors, one FIN",
    topic="resources",
    place=50,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client", "worker"),
    children={"worker": "client"},
    watch=("close() without FIN", "the same socket in two processes", "shutdown() in one, EPIPE in the other"),
    questions=(
        ("Which close() sends FIN?", "The last one, whoever makes it"),
        ("How does one process end a connection that others hold, too?", "By shutdown()"),
        ("What does the other one's send() say then?", "EPIPE: the sending side is shut"),
    ),
)


@scenario.step("server", "The server listens.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("client", "The client opens two connections, and doubles the first one's descriptor.",
               watch="dup(3) = 5: no packet, no new socket")  # fmt: skip
def doubles(me: Actor) -> None:
    me.first, me.second = socket(), socket()
    connect(me.first, me.at("server"))
    connect(me.second, me.at("server"))
    me.copy = dup(me.first)


@scenario.step("server", "The server accepts both.")
def accepts(me: Actor) -> None:
    me.first, me.second = accept(me.listener), accept(me.listener)


@scenario.step("client", "It closes the first number: nothing happens, and the other one still sends.",
               watch="close() without a packet")  # fmt: skip
def closes_one(me: Actor) -> None:
    close(me.first)
    send(me.copy, b"by the copy")


@scenario.step("client", "The client forks a worker: four descriptors for two sockets.", watch="no packet")
def forks(me: Actor) -> None:
    me.fork("worker")


@scenario.step("client", "It closes the last of its own numbers: still no FIN.", lasts=0.05)
def closes_its_own(me: Actor) -> None:
    close(me.copy)


@scenario.step("worker", "The worker sends on the same connection.", watch="a third hand on one socket")
def works(me: Actor) -> None:
    send(me.copy, b"by the worker")


@scenario.step("server", "The server reads all of it, and sleeps: the end has not come.", asleep_in="recv")
def reads(me: Actor) -> None:
    recv_exactly(me.first, len(b"by the copy" + b"by the worker"))
    recv_to_end(me.first)
    close(me.first)


@scenario.step("worker", "The worker closes: that was the last one.", wakes="server", watch="now there is a FIN")
def closes_the_last(me: Actor) -> None:
    close(me.copy)


@scenario.step("server", "The server waits for the second one's end.", asleep_in="recv")
def waits(me: Actor) -> None:
    recv(me.second, 4096)


@scenario.step("worker", "The worker calls shutdown() on the second connection.", wakes="server",
               watch="FIN at once, though two processes hold it")  # fmt: skip
def shuts(me: Actor) -> None:
    shutdown(me.second, SHUT_WR)


@scenario.step("client", "The client, who closed nothing, cannot send any more: EPIPE.")
def cannot_send(me: Actor) -> None:
    fails("EPIPE", send, me.second, b"and I?")
    close(me.second)


@scenario.step("server", "The server closes.")
def ends(me: Actor) -> None:
    close(me.second)
    close(me.listener)


@scenario.must_see("dup() gives a new number, and both numbers are the same socket")
def same_socket(seen: Seen) -> str | None:
    made = seen.calls("client", "dup")[0]
    sends = [*seen.calls("client", "send")[:1], *seen.calls("worker", "send")]
    if made.result is None or made.result == made.enter.fd:
        return f"dup() gave {made.result}"
    ends = {call.enter.sock for call in sends} | {seen.calls("client", "close")[0].enter.sock}
    return seen.same(len(ends), 1, "sockets behind the numbers")


@scenario.must_see("two close() calls of the client send nothing, the worker's sends FIN")
def last_close(seen: Seen) -> str | None:
    first, second = (call.leave for call in seen.calls("client", "close")[:2])
    last = seen.calls("worker", "close")[0].enter
    return seen.in_order(
        ("the client's first close()", first),
        ("its second", second),
        ("words of the worker", seen.last("client", data=True)),
        ("the worker's close()", last),
        ("FIN", seen.first("client", "FIN")),
    )


@scenario.must_see("the client's side leaves ESTABLISHED in the worker's close() only")
def leaves(seen: Seen) -> str | None:
    last = seen.calls("worker", "close")[0]
    return seen.in_order(
        ("the worker's close()", last.enter), ("FIN_WAIT1", seen.reached("client", "FIN_WAIT1")),
        ("its return", last.leave),
    )  # fmt: skip


@scenario.must_see("shutdown() sends FIN at once, while both processes hold the socket")
def at_once(seen: Seen) -> str | None:
    call = seen.calls("worker", "shutdown")[0]
    return seen.in_order(
        ("shutdown()", call.enter),
        ("FIN", seen.connection(2).first("client", "FIN")),
        ("its return", call.leave),
        ("the client's own close()", seen.calls("client", "close")[2].enter),
    )


@scenario.must_see("and the other process's send() says EPIPE")
def for_all(seen: Seen) -> str | None:
    failed = seen.actor("client").failed("send", "EPIPE")
    return seen.in_order(("shutdown()", seen.calls("worker", "shutdown")[0].leave), ("EPIPE", failed and failed.leave))
