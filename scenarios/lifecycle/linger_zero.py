"""Linger zero: close() that throws the connection away, with RST instead of FIN.

SO_LINGER with a time of zero turns close() into an abort (RFC 9293 section 3.10.5): what is not yet delivered is
dropped, a RST goes out, and the socket is gone at once, without FIN, without TIME_WAIT. The peer learns of it as an
error: its connection falls from ESTABLISHED to CLOSE, and its recv() fails with ECONNRESET, where an orderly end would
have read 0 bytes. People set it to be rid of TIME_WAIT; the price is that the peer cannot tell a finished conversation
from a broken one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, fails, linger, listen, recv, setsockopt, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

scenario = Scenario(
    name="linger-zero",
    title="SO_LINGER 0: close() with RST",
    topic="lifecycle",
    place=70,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=("RST where FIN is usual", "ESTABLISHED, then CLOSE, on both sides", "no TIME_WAIT anywhere"),
    questions=(
        ("What does the peer's recv() give?", "ECONNRESET; after a FIN it would be 0 bytes"),
        ("Why is there no TIME_WAIT?", "The connection was aborted, not closed: no FIN, so no last ACK to be lost"),
        ("What becomes of data that were written and not yet delivered?", "They are thrown away"),
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


@scenario.step("server", "The server accepts and sleeps in recv.", asleep_in="recv")
def sleeps(me: Actor) -> None:
    me.connection = accept(me.listener)
    fails("ECONNRESET", recv, me.connection, 100)


@scenario.step(
    "client",
    "The client sets SO_LINGER to zero seconds and closes: RST.",
    wakes="server",
    watch="RST; both sides fall to CLOSE; the server's recv fails with ECONNRESET",
)
def aborts(me: Actor) -> None:
    setsockopt(me.connection, "SO_LINGER", linger(0))
    close(me.connection)


@scenario.step("server", "The server still has a descriptor, of a connection that is no more. It closes it.")
def closes(me: Actor) -> None:
    close(me.connection)
    close(me.listener)


@scenario.must_see("the client sends RST, and nobody sends FIN")
def reset_instead(seen: Seen) -> str | None:
    if seen.packets(flags="FIN"):
        return "a FIN was sent"
    return seen.same(len(seen.packets("client", "RST")), 1, "RSTs of the client")


@scenario.must_see("both sides fall from ESTABLISHED to CLOSE, with no state between")
def both_fall(seen: Seen) -> str | None:
    for side in ("client", "server"):
        last = [state.name for state, _ in seen.path(side)][-2:]
        if last != ["ESTABLISHED", "CLOSE"]:
            return f"the {side}'s side ended with {', '.join(last)}"
    return None


@scenario.must_see("the server's recv fails with ECONNRESET")
def told_as_error(seen: Seen) -> str | None:
    return seen.same(seen.results("server", "recv"), ["ECONNRESET"], "results of recv")


@scenario.must_see("no TIME_WAIT, on neither side")
def no_wait(seen: Seen) -> str | None:
    return "there was one" if seen.timewait("client") or seen.timewait("server") else None


@scenario.must_see("the RST is the client's own decision, taken in close()")
def decided_in_close(seen: Seen) -> str | None:
    (closing,), sent = seen.calls("client", "close"), seen.resets_sent("client")
    if len(sent) != 1:
        return f"the client's side sent {len(sent)} RSTs"
    return seen.in_order(("close()", closing.enter), ("RST", sent[0]), ("close() returns", closing.leave))
