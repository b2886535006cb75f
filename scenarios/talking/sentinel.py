"""A sentinel in the stream: the end that stood in the text.

A stream has no ends but its own, so protocols must say where a message ends. A tempting way is a mark, here a line that
says BYE. It works until somebody sends a text in which such a line occurs: the server takes it for the end, closes, and
what comes behind it lies unread, so that the close is a RST, and the client's answer is an error. No byte was lost, no
state was wrong; the two programs did not agree what an end is. Framing by length does not have this weakness.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, fails, listen, recv, send, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

END = b"BYE\n"
TEXT = b"Dear Sir,\nwhen she left she said\nBYE\nand did not look back.\n" + END
READ = TEXT.index(END) + len(END)

scenario = Scenario(
    name="sentinel",
    title="A sentinel in the text ends the conversation",
    topic="talking",
    place=80,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=("the server stops in the middle of the text", "bytes unread, so RST", "an error where thanks were due"),
    questions=(
        ("Which layer has made the mistake?", "The protocol above TCP: its end can stand in its text"),
        ("Why is there a RST?", "The server closed with bytes unread"),
        ("What would have helped?", "A length before the text, or an escape for the mark"),
    ),
)


@scenario.step("server", "The server listens.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("client", "The client sends a letter in which a line says BYE, and BYE at its end.")
def sends(me: Actor) -> None:
    me.connection = socket()
    connect(me.connection, me.at("server"))
    send(me.connection, TEXT)


@scenario.step("server", "The server reads line by line until BYE, and closes.", watch="bytes unread; RST")
def reads(me: Actor) -> None:
    me.connection = accept(me.listener)
    text = b""
    while not text.endswith(b"\n" + END):
        text += recv(me.connection, 1)
    me.say(f"the letter has {len(text)} bytes")
    close(me.connection)
    close(me.listener)


@scenario.step("client", "The client waits for thanks.", watch="ECONNRESET")
def waits(me: Actor) -> None:
    fails("ECONNRESET", recv, me.connection, 100)
    close(me.connection)


@scenario.must_see("the server has read up to the first BYE, and no further")
def stops(seen: Seen) -> str | None:
    read = [result for result in seen.results("server", "recv") if isinstance(result, int)]
    return seen.same(sum(read), READ, "bytes read")


@scenario.must_see("the rest of the letter had arrived: it is unread when the server closes")
def unread(seen: Seen) -> str | None:
    closing = seen.calls("server", "close")[0].enter
    told = [value for event, value in seen.values("server", "unread") if event.order <= closing.order]
    return seen.same(told[-1], len(TEXT) - READ, "bytes unread")


@scenario.must_see("so the server's close is a RST, and the client's recv fails with ECONNRESET")
def reset(seen: Seen) -> str | None:
    if not seen.packets("server", "RST"):
        return "there was no RST"
    return seen.same(seen.results("client", "recv"), ["ECONNRESET"], "what the client's recv gave")
