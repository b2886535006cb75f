"""A process is killed: its kernel closes for it, in good order or not.

`kill -9` gives a program no chance to close anything, but its descriptors are closed all the same, by the kernel on the
way out (exit_files()). For a connection from which everything was read that is an ordinary close(): FIN, FIN_WAIT1,
TIME_WAIT; the peer reads an end of file and cannot tell that nobody meant it. Where bytes lie unread it is close() with
unread data: RST. So a crash looks like a goodbye or like a breakdown, depending on what happened to lie in a buffer,
and a protocol that takes end-of-file for "all is said" takes half a message for a whole one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, fails, kill, listen, recv, send, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

scenario = Scenario(
    name="crash",
    title="kill -9: the kernel says goodbye for the dead",
    topic="ending",
    place=60,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client", "onlooker"),
    watch=("a FIN without any close()", "FIN on one connection, RST on the other", "both in the same moment"),
    questions=(
        ("Who sends the FIN when the process is dead?", "The kernel, which closes all its descriptors (exit_files())"),
        ("Why is there a RST on the second connection?", "Bytes lay unread: that is close() with unread data"),
        ("Can the client tell the FIN of a crash from a real one?", "No: the protocol must say when all is said"),
    ),
)


@scenario.step("server", "The server listens.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("client", "The client opens two connections.")
def connects(me: Actor) -> None:
    me.quiet, me.busy = socket(), socket()
    connect(me.quiet, me.at("server"))
    connect(me.busy, me.at("server"))


@scenario.step("server", "The server accepts both and says something on the first.")
def accepts(me: Actor) -> None:
    me.quiet, me.busy = accept(me.listener), accept(me.listener)
    send(me.quiet, b"half a mess")


@scenario.step("client", "The client sends on the second one; nobody reads it.")
def sends(me: Actor) -> None:
    recv(me.quiet, 100)
    send(me.busy, b"will you read this?")


@scenario.step("onlooker", "kill -9 of the server.", ends="server", watch="FIN on the first, RST on the second")
def kills(me: Actor) -> None:
    kill(me.pid("server"))


@scenario.step("client", "On the first connection the client reads an end of file, on the second an error.")
def reads(me: Actor) -> None:
    if recv(me.quiet, 100):
        raise AssertionError("there is more to read")
    fails("ECONNRESET", recv, me.busy, 100)
    close(me.quiet)
    close(me.busy)


@scenario.must_see("the server makes no close() and no shutdown()")
def no_close(seen: Seen) -> str | None:
    made = seen.calls("server", "close", "shutdown")
    return f"it made {len(made)}" if made else None


@scenario.must_see("on the first connection the server's side closes in good order: FIN_WAIT1, FIN_WAIT2, TIME_WAIT")
def goodbye(seen: Seen) -> str | None:
    return seen.connection(1).went_through("server", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT")


@scenario.must_see("on the second one the server's side sends RST and no FIN")
def breakdown(seen: Seen) -> str | None:
    second = seen.connection(2)
    if second.packets("server", "FIN"):
        return "it sent a FIN"
    return None if second.packets("server", "RST") else "it sent no RST"


@scenario.must_see("both leave while the process is being taken down")
def on_the_way_out(seen: Seen) -> str | None:
    exiting = seen.actor("server").exited()
    for number, flag in ((1, "FIN"), (2, "RST")):
        sent = seen.connection(number).first("server", flag)
        if wrong := seen.in_order(("the process begins to exit", exiting), (f"its {flag}", sent)):
            return wrong
    return None


@scenario.must_see("the client reads an end of file here and ECONNRESET there")
def reads_both(seen: Seen) -> str | None:
    return seen.same(seen.results("client", "recv")[1:], [0, "ECONNRESET"], "what the client's recv gave")
