"""SO_REUSEADDR: a server comes back to a port where its past still waits.

bind() refuses a port on which another socket of this machine lives (EADDRINUSE), and to bind() a TIME_WAIT object or a
connection that goes on counts, too (inet_csk_bind_conflict()). So a server that has closed its connections first cannot
start again for a minute. With SO_REUSEADDR on *both* sockets, the old and the new one (a TIME_WAIT object and an
accepted connection have it from their listener), bind() minds listeners only. Two listeners on one port are never
allowed by it; that is SO_REUSEPORT. On Linux the option does no more than this, and no server should be without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, fails, listen, recv_to_end, setsockopt, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

scenario = Scenario(
    name="reuseaddr",
    title="SO_REUSEADDR: the port is taken, by nobody any more",
    topic="limits",
    place=30,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    isolation="required",
    watch=("EADDRINUSE, while only a TIME_WAIT is left", "bind() beside a connection that goes on"),
    questions=(
        ("Which side of a connection meets this?", "The one that closed first: it has the TIME_WAIT"),
        ("Does it suffice that the new socket has the option?", "No, the old one must have had it as well"),
        ("Can two sockets listen on one port with it?", "Never"),
    ),
)


@scenario.step("server", "The server listens, with SO_REUSEADDR.")
def listens(me: Actor) -> None:
    me.listener = socket()
    setsockopt(me.listener, "SO_REUSEADDR", 1)
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("client", "The client connects and reads to the end.", asleep_in="recv")
def connects(me: Actor) -> None:
    me.connection = socket()
    connect(me.connection, me.at("server"))
    recv_to_end(me.connection)
    close(me.connection)


@scenario.step("server", "The server closes the connection first, and its listener: it is gone.", wakes="client",
               lasts=0.05, watch="nothing but a TIME_WAIT is left")  # fmt: skip
def goes(me: Actor) -> None:
    close(accept(me.listener))
    close(me.listener)


@scenario.step("server", "It starts again, without the option: EADDRINUSE.", watch="bind() refused for a TIME_WAIT")
def without(me: Actor) -> None:
    me.listener = socket()
    fails("EADDRINUSE", bind, me.listener, me.at("server"))


@scenario.step("server", "With the option bind() works, and it listens.", watch="TIME_WAIT goes on all the same")
def with_it(me: Actor) -> None:
    setsockopt(me.listener, "SO_REUSEADDR", 1)
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("server", "A second listener on the port: EADDRINUSE, with the option, too.")
def second(me: Actor) -> None:
    me.other = socket()
    setsockopt(me.other, "SO_REUSEADDR", 1)
    fails("EADDRINUSE", bind, me.other, me.at("server"))


@scenario.step("client", "The client connects to the new listener.")
def connects_again(me: Actor) -> None:
    me.connection = socket()
    connect(me.connection, me.at("server"))


@scenario.step("server", "The listener is closed; the connection goes on. A new one binds beside it.",
               watch="ESTABLISHED and LISTEN on one port")  # fmt: skip
def beside(me: Actor) -> None:
    me.connection = accept(me.listener)
    close(me.listener)
    bind(me.other, me.at("server"))
    listen(me.other, 8)


@scenario.step("server", "All is closed.")
def ends(me: Actor) -> None:
    close(me.connection)
    close(me.other)


@scenario.must_see("bind() is refused without the option, allowed with it, and refused to a second listener")
def results(seen: Seen) -> str | None:
    wanted = [0, "EADDRINUSE", 0, "EADDRINUSE", 0]
    return seen.same(seen.results("server", "bind"), wanted, "what bind() gave")


@scenario.must_see("when it is refused first, no socket is left on the port, only a TIME_WAIT")
def only_time_wait(seen: Seen) -> str | None:
    wait, refused = seen.timewait("server"), seen.actor("server").failed("bind", "EADDRINUSE")
    if wait is None:
        return "the server's side left no TIME_WAIT"
    for words, moment in (("TIME_WAIT is born", wait.born), ("the listener is closed", seen.listener(1).closed)):
        if wrong := seen.in_order((words, moment), ("EADDRINUSE", refused.enter if refused else None)):
            return wrong
    return None


@scenario.must_see("with the option the new listener begins while that TIME_WAIT goes on")
def goes_on(seen: Seen) -> str | None:
    wait, opened = seen.timewait("server"), seen.listener(2).opened
    if wait is None:
        return "the server's side left no TIME_WAIT"
    if wait.ended is not None and wait.ended.order < opened.order:
        return "TIME_WAIT was over"
    return seen.in_order(("TIME_WAIT is born", wait.born), ("LISTEN", opened))


@scenario.must_see("a third one begins beside a connection of the same port that stands")
def beside_a_connection(seen: Seen) -> str | None:
    second = seen.connection(2)
    left = next((event for state, event in second.path("server") if state.name == "FIN_WAIT1"), None)
    return seen.in_order(
        ("ESTABLISHED", second.reached("server", "ESTABLISHED")),
        ("the second listener is closed", seen.listener(2).closed),
        ("the third listens", seen.listener(3).opened),
        ("the connection is closed", left),
    )
