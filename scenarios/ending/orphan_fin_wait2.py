"""An orphan in FIN_WAIT2: the program has closed, the peer never does.

After close() nobody can read from the connection any more; it waits in FIN_WAIT2 for a FIN that may never come. RFC
9293 sets no limit to this (section 3.6 lets a half-closed connection wait for ever), but an orphan has nobody who could
ever be told, so Linux gives it tcp_fin_timeout seconds, 60 unless set, TCP_LINGER2 for a single socket. The full socket
is freed at once, and a small object keeps the place (tcp_time_wait(), with FIN_WAIT2 as its substate: the same kind of
object as TIME_WAIT). When data come for it, there is nobody to read them: RST.

The client shuts its direction first and closes when the FIN has been acknowledged. With close() alone it would be the
same but for a race: an ACK that comes while close() is still at work leaves the full socket in place, with a timer of
its own and a RST at the end (tcp_rcv_state_process(), where sock_owned_by_user()).
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
    fails,
    listen,
    recv,
    send,
    setsockopt,
    shutdown,
    socket,
)
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

LIMIT = 1
"""Seconds the orphan may wait (TCP_LINGER2)."""
ACKNOWLEDGED = 0.3
"""Seconds in which the FIN is acknowledged: a delayed ACK takes 40 ms, up to 200."""

scenario = Scenario(
    name="orphan-fin-wait2",
    title="An orphan in FIN_WAIT2 waits for a FIN that does not come",
    topic="ending",
    place=40,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=("the full socket is freed, a small object stays", "its one second", "what the peer's next words are told"),
    questions=(
        ("Why may the kernel give up here, but not after shutdown(SHUT_WR)?", "After close() nobody can read any more"),
        ("What does the server learn?", "Nothing until it speaks: then a RST says that the connection is gone"),
        ("Which state is the server in all the time?", "CLOSE_WAIT: its program has not closed"),
    ),
)


@scenario.step("server", "The server listens.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("client", "The client connects and allows its orphan one second.")
def connects(me: Actor) -> None:
    me.connection = socket()
    setsockopt(me.connection, "TCP_LINGER2", LIMIT)
    connect(me.connection, me.at("server"))


@scenario.step("server", "The server accepts and reads the end, when it comes.", asleep_in="recv")
def accepts(me: Actor) -> None:
    me.connection = accept(me.listener)
    recv(me.connection, 100)


@scenario.step("client", "The client has said all: shutdown(SHUT_WR). It waits for the server's FIN.", wakes="server",
               lasts=ACKNOWLEDGED)  # fmt: skip
def says_all(me: Actor) -> None:
    shutdown(me.connection, SHUT_WR)


@scenario.step("client", "Then it closes, though no FIN has come. The server does not.", lasts=LIMIT + 0.8)
def closes(me: Actor) -> None:
    close(me.connection)


@scenario.step("server", "When it speaks at last, nobody knows the connection any more.", watch="RST, then EPIPE")
def speaks(me: Actor) -> None:
    send(me.connection, b"are you still there?")
    fails("EPIPE", send, me.connection, b"hello?")
    close(me.connection)
    close(me.listener)


@scenario.must_see("the client's socket is freed, and an object in FIN_WAIT2 keeps the place")
def keeps_the_place(seen: Seen) -> str | None:
    wait = seen.timewait("client")
    if wait is None:
        return "there is no such object"
    return seen.same(wait.state, "FIN_WAIT2", "its state") or seen.in_order(
        ("the object", wait.born), ("the socket is freed", seen.destroyed("client"))
    )


@scenario.must_see("it is armed for one second and expires")
def expires(seen: Seen) -> str | None:
    wait = seen.timewait("client")
    if wait is None:
        return "there is no such object"
    if not 0.9 * LIMIT <= wait.armed <= 1.1 * LIMIT:
        return f"it was armed for {wait.armed:.2f} s"
    return seen.same(wait.end, "expired", "its end") or (
        None if 0.9 * LIMIT <= wait.lasted <= 2 * LIMIT else f"it lasted {wait.lasted:.2f} s"
    )


@scenario.must_see("it never comes to TIME_WAIT: no FIN has come")
def no_time_wait(seen: Seen) -> str | None:
    return seen.never_in("client", "TIME_WAIT")


@scenario.must_see("what the server says afterwards is answered by RST: there is no socket")
def nobody(seen: Seen) -> str | None:
    wait, said = seen.timewait("client"), seen.first("server", data=True)
    reset = seen.first("client", "RST")
    return seen.in_order(
        ("the orphan's end", wait.ended if wait else None), ("the server's words", said), ("the RST", reset)
    ) or seen.same(seen.reset_reasons("client"), ["NO_SOCKET"], "the kernel's reason")


@scenario.must_see("the server's side is in CLOSE_WAIT until the RST")
def close_wait(seen: Seen) -> str | None:
    return seen.went_through("server", "ESTABLISHED", "CLOSE_WAIT", "CLOSE")
