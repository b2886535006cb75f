"""CLOSE_WAIT has no timer: the peer is long gone, and the connection is still kept.

In CLOSE_WAIT the kernel waits for its own program and for nobody else (RFC 9293 section 3.6, case 2), so there is no
clock that would end it. The client here has closed and forgotten: its orphan waits in FIN_WAIT2 for tcp_fin_timeout
seconds and is gone then (tcp_fin_time(), tcp_time_wait()). The server's program does not close, so its socket, its
buffer and its descriptor are kept for nobody. When it writes at last, the client's side has no connection any more, and
answers RST. Ten such connections for five seconds are what the lint calls a leak.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import SHUT_WR, accept, bind, close, connect, listen, recv, send, shutdown, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

MANY = 10
KEPT = 5.3
"""Seconds: a little longer than the lints' 5 s."""
ACKNOWLEDGED = 0.3
"""Seconds in which the FINs are acknowledged, before the close(): orphan-fin-wait2 says why."""

scenario = Scenario(
    name="close-wait",
    title="CLOSE_WAIT lasts as long as its program does not close",
    topic="resources",
    place=25,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    isolation="required",
    sysctls={"net.ipv4.tcp_fin_timeout": "1"},
    slow=True,
    watch=("FIN_WAIT2 ends by a timer, CLOSE_WAIT by none", "no packet for seconds", "RST for a write that comes late"),
    questions=(
        ("How long does CLOSE_WAIT last?", "Until the program closes; there is no time-out"),
        ("And FIN_WAIT2 of a closed socket?", "tcp_fin_timeout seconds, 60 unless told otherwise"),
        ("Would keepalive help?", "It would find out that the peer is gone, two hours later by default"),
    ),
)


@scenario.step("server", "The server listens.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, MANY)


@scenario.step("client", f"{MANY} clients connect, and have nothing to say: shutdown(SHUT_WR).", lasts=ACKNOWLEDGED,
               watch="FIN_WAIT2 here, CLOSE_WAIT there")  # fmt: skip
def come(me: Actor) -> None:
    me.clients = [socket() for _ in range(MANY)]
    for connection in me.clients:
        connect(connection, me.at("server"))
        shutdown(connection, SHUT_WR)


@scenario.step("client", "They close, and are orphans.", watch="small objects in FIN_WAIT2 instead of sockets")
def go(me: Actor) -> None:
    for connection in me.clients:
        close(connection)


@scenario.step("server", "The server accepts them, reads their end, and keeps them.", lasts=KEPT,
               watch="the clients' sides vanish after a second; the server's do not")  # fmt: skip
def keeps(me: Actor) -> None:
    me.kept = [accept(me.listener) for _ in range(MANY)]
    for connection in me.kept:
        recv(connection, 4096)


@scenario.step("server", "It writes to one of them, too late: RST.", watch="CLOSE_WAIT → CLOSE by a RST", lasts=0.1)
def writes(me: Actor) -> None:
    send(me.kept[0], b"are you there?")


@scenario.step("server", "It closes them all.")
def closes(me: Actor) -> None:
    for connection in me.kept:
        close(connection)
    close(me.listener)


@scenario.must_see("all clients' sides wait in FIN_WAIT2 for a second or two, and are gone by a timer")
def gone(seen: Seen) -> str | None:
    for connection in seen.connections():
        wait = connection.timewait("client")
        if wait is None or wait.state != "FIN_WAIT2":
            return f"connection {connection.number} left no object in FIN_WAIT2"
        if wait.end != "expired" or not 0.9 < wait.lasted < 3:
            return f"that of connection {connection.number} {wait.end or 'waits'} after {wait.lasted:.1f} s"
    return seen.same(len(seen.connections()), MANY, "connections")


@scenario.must_see("the server's sides stay in CLOSE_WAIT, and nothing is sent, for five seconds")
def stays(seen: Seen) -> str | None:
    for connection in seen.connections():
        reached = connection.reached("server", "CLOSE_WAIT")
        after = next((p for p in connection.packets() if reached and p.order > reached.order and p["length"]), None)
        left = next((event for _, event in connection.path("server") if reached and event.order > reached.order), None)
        if reached is None or left is None:
            return f"connection {connection.number} did not come to CLOSE_WAIT and leave it"
        if wrong := seen.within(reached, after or left, 5, 9):
            return wrong
    return None


@scenario.must_see("what is written then meets no connection, and the answer is RST")
def too_late(seen: Seen) -> str | None:
    wait = seen.timewait("client")
    return seen.in_order(
        ("the client's object is gone", wait.ended if wait else None),
        ("the late words", seen.first("server", data=True)),
        ("RST", seen.first("client", "RST")),
        ("CLOSE", seen.reached("server", "CLOSE")),
    )


@scenario.must_see(f"the lints find {MANY} connections in CLOSE_WAIT, and call it a leak of descriptors")
def linted(seen: Seen) -> str | None:
    kept, leaks = seen.lint("close-wait"), seen.lint("fd-leak")
    if len(kept) != MANY:
        return f"close-wait found {len(kept)}"
    return None if leaks and f"keeps {MANY} descriptors" in leaks[0].words else f"fd-leak: {[x.words for x in leaks]}"
