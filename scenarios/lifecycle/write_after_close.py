"""Write after close: the first write succeeds, the second one fails.

A program that writes to a peer who has closed learns of it late. The peer's FIN only says "I send no more"; whether it
still reads, TCP cannot tell. So the first send() is taken into the send buffer and goes out. At the other end nobody
has the connection any more (an orphan in FIN_WAIT2), and the kernel there answers with RST. That RST ends the
connection here, and the second send() fails with EPIPE; in most programs SIGPIPE would come with it. The one byte of
warning there was, a recv() of 0, this program did not look at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, fails, listen, send, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

scenario = Scenario(
    name="write-after-close",
    title="Writing to who has closed: RST, then EPIPE",
    topic="lifecycle",
    place=90,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=("a send that succeeds, in CLOSE_WAIT", "RST in answer to data", "EPIPE for the next send"),
    questions=(
        ("Why does the first send succeed?", "FIN only ends the peer's direction; it may still read"),
        ("What does send() promise when it returns?", "That the bytes are in the send buffer, nothing more"),
        ("Which call would have told the client earlier?", "recv(): it returns 0 after the peer's FIN"),
    ),
)


@scenario.step("server", "The server listens.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("client", "The client connects.")
def connects(me: Actor) -> None:
    me.connection = socket()
    connect(me.connection, me.at("server"))


@scenario.step("server", "The server accepts and closes.", watch="server FIN_WAIT2, client CLOSE_WAIT", lasts=0.1)
def closes(me: Actor) -> None:
    close(accept(me.listener))
    close(me.listener)


@scenario.step("client", "The client sends all the same, and it works.", watch="data, then RST", lasts=0.05)
def writes(me: Actor) -> None:
    send(me.connection, b"is anybody there?")


@scenario.step("client", "It sends again: EPIPE.", watch="the connection is already in CLOSE")
def writes_again(me: Actor) -> None:
    fails("EPIPE", send, me.connection, b"hello?")
    close(me.connection)


@scenario.must_see("the first send succeeds, the second one fails with EPIPE")
def results(seen: Seen) -> str | None:
    return seen.same(seen.results("client", "send"), [17, "EPIPE"], "results of send")


@scenario.must_see("FIN of the server, data of the client, RST of the server, in this order")
def packets(seen: Seen) -> str | None:
    return seen.in_order(
        ("FIN", seen.first("server", "FIN")),
        ("data", seen.first("client", data=True)),
        ("RST", seen.first("server", "RST")),
    )


@scenario.must_see("the client's side goes from CLOSE_WAIT to CLOSE, by the RST and not by its program")
def path(seen: Seen) -> str | None:
    left = seen.went_through("client", "ESTABLISHED", "CLOSE_WAIT", "CLOSE")
    return left or seen.never_in("client", "LAST_ACK")


@scenario.must_see("the RST comes before the second send is called")
def order(seen: Seen) -> str | None:
    _, second = seen.calls("client", "send")
    return seen.in_order(("RST", seen.first("server", "RST")), ("the second send", second.enter))


@scenario.must_see("the server's side is an orphan in FIN_WAIT2, which the client's data end")
def orphan(seen: Seen) -> str | None:
    left, wait = seen.went_through("server", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2"), seen.timewait("server")
    if left or wait is None:
        return left or "no small object stood in for the orphan"
    return None if wait.end == "cancelled" else f"it was {wait.end or 'still there'}"
