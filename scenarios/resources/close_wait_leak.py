"""A handler that forgets close(): CLOSE_WAIT piles up until there are no descriptors left.

A peer's FIN takes a connection to CLOSE_WAIT, and only a close() of the program takes it further (RFC 9293 section
3.6). Here a handler answers and returns, and nobody calls close(). Each connection then keeps its descriptor, its
socket and its buffers, and the number of descriptors is limited (RLIMIT_NOFILE). When the last one is taken, accept()
fails with EMFILE (get_unused_fd_flags()), before it takes anything out of the accept queue. So the next client notices
nothing: the kernel has made its connection and acknowledges its request. It just never gets an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import (
    accept,
    bind,
    close,
    connect,
    fails,
    limit_descriptors,
    listen,
    recv,
    send,
    socket,
)
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

LIMIT = 8
"""Descriptors end below this number; the first three belong to every process."""
LEAKED = LIMIT - 4
"""Connections that fit beside the listener."""
ANSWER = b"done"

scenario = Scenario(
    name="close-wait-leak",
    title="Nobody closes: CLOSE_WAIT piles up, until accept() fails with EMFILE",
    topic="resources",
    place=20,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=("the server's sides stay in CLOSE_WAIT", "EMFILE", "a client that waits for ever, on a sound connection"),
    questions=(
        ("Who can end a CLOSE_WAIT?", "The program, by close(); the kernel has no timer for it"),
        ("What does the client see whose accept() failed?", "An ESTABLISHED connection that never answers"),
        ("Where is the bug, in connect, in accept or in the handler?", "In the handler, long before the error"),
    ),
)


@scenario.step("server", f"The server listens; it may have {LIMIT} descriptors.")
def listens(me: Actor) -> None:
    limit_descriptors(LIMIT)
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("server", "Its handler answers each request, and returns without close().", asleep_in="accept4",
               watch="one descriptor more each time, none back")  # fmt: skip
def handles(me: Actor) -> None:
    me.forgotten = []
    for _ in range(LEAKED):
        connection = accept(me.listener)
        send(connection, ANSWER + recv(connection, 4096)[:0])
        me.forgotten.append(connection)


@scenario.step("client", f"{LEAKED} clients, one after another: ask, read the answer, close.", wakes="server",
               watch="CLOSE_WAIT 1, 2, 3, 4", lasts=0.1)  # fmt: skip
def ask(me: Actor) -> None:
    for _ in range(LEAKED):
        connection = socket()
        connect(connection, me.at("server"))
        send(connection, b"please")
        recv(connection, 4096)
        close(connection)


@scenario.step("client", "The next client connects, asks, and waits.", asleep_in="recv",
               watch="ESTABLISHED on both sides")  # fmt: skip
def waits(me: Actor) -> None:
    me.connection = socket()
    connect(me.connection, me.at("server"))
    send(me.connection, b"please")
    me.answer = recv(me.connection, 4096)
    close(me.connection)


@scenario.step("server", "accept() fails, and fails again.", watch="EMFILE; the connection stays in the accept queue")
def has_none(me: Actor) -> None:
    fails("EMFILE", accept, me.listener)
    fails("EMFILE", accept, me.listener)


@scenario.step("server", "One forgotten connection is closed: accept() works again.", wakes="client",
               watch="CLOSE_WAIT → LAST_ACK; the waiting client is answered")  # fmt: skip
def closes_one(me: Actor) -> None:
    close(me.forgotten.pop(0))
    connection = accept(me.listener)
    send(connection, ANSWER + recv(connection, 4096)[:0])
    close(connection)


@scenario.step("server", "The server closes the rest.")
def closes_all(me: Actor) -> None:
    for connection in me.forgotten:
        close(connection)
    close(me.listener)


@scenario.must_see(f"{LEAKED} connections are in CLOSE_WAIT on the server's side when accept() first fails")
def piled_up(seen: Seen) -> str | None:
    failed = seen.actor("server").failed("accept", "EMFILE")
    if failed is None:
        return "no accept() failed with EMFILE"
    for number in range(1, LEAKED + 1):
        one = seen.connection(number)
        reached, left = one.reached("server", "CLOSE_WAIT"), one.reached("server", "LAST_ACK")
        if wrong := seen.in_order(
            (f"CLOSE_WAIT of connection {number}", reached), ("EMFILE", failed.leave), ("its LAST_ACK", left)
        ):
            return wrong
    return None


@scenario.must_see("each accept() gets a descriptor of its own and none comes back, up to the limit")
def descriptors(seen: Seen) -> str | None:
    given = seen.results("server", "accept")
    fresh = list(range(4, LIMIT))
    return seen.same(given, [*fresh, "EMFILE", "EMFILE", fresh[0]], "what accept() gave")


@scenario.must_see("the next client's connection stands on both sides, and its request is acknowledged all the same")
def stands(seen: Seen) -> str | None:
    last = seen.connection(LEAKED + 1)
    failed = seen.actor("server").failed("accept", "EMFILE")
    request = last.first("client", data=True)
    if request is None:
        return "it sent no request"
    end = request["seq"] + request["length"]
    acked = next((ack for ack in last.packets("server", "ACK") if ack["ack"] == end & 0xFFFF_FFFF), None)
    return seen.in_order(
        ("ESTABLISHED", last.reached("server", "ESTABLISHED")),
        ("the request is acknowledged", acked),
        ("EMFILE", failed.leave if failed else None),
    )


@scenario.must_see("its client sleeps in recv() until a descriptor is free again")
def sleeps(seen: Seen) -> str | None:
    failed = seen.actor("server").failed("accept", "EMFILE")
    freed = seen.actor("server").closed()[0][1]
    if failed is None or failed.leave is None:
        return "no accept() failed with EMFILE"
    return seen.asleep_during("client", "recv", failed.leave, freed)


@scenario.must_see("the lints find the leak by its EMFILE, and each connection that was kept in CLOSE_WAIT")
def linted(seen: Seen) -> str | None:
    leaks = seen.lint("fd-leak")
    if not leaks or "no descriptor left" not in leaks[0].words:
        return f"fd-leak found {[leak.words for leak in leaks]}"
    kept = seen.lint("close-wait", close_wait=50_000_000)
    return None if len(kept) >= LEAKED else f"close-wait found {len(kept)} connections, not {LEAKED}"
