"""Framing by length: a message may contain anything, and arrive in any pieces.

Before each message goes its length, four bytes in network order. The reader always knows how much is still to come: it
reads until it has that much, however many recv() calls it takes, and never looks into the payload for an end. TCP keeps
no message boundaries: two send() calls may arrive as one piece, one as many. The same letter that broke the protocol
with a sentinel passes here, and so does a second message in the same segment.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, listen, recv_exactly, send, setsockopt, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

LETTER = b"Dear Sir,\nwhen she left she said\nBYE\nand did not look back.\nBYE\n"
NOTHING = b""
LENGTH = struct.Struct("!I")
CUTS = (3, 20)
"""Where the client cuts what it sends: in the middle of the length, and of the text."""

scenario = Scenario(
    name="framing",
    title="Framing by length: any payload, in any pieces",
    topic="talking",
    place=81,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=("a length that comes in two pieces", "two messages in one segment", "an end in good order: FIN, no RST"),
    questions=(
        ("Why may recv() give fewer bytes than a message has?", "A stream has no messages, only bytes"),
        ("What if the length itself arrives in two pieces?", "It is read until four bytes are there"),
        ("What must a reader check before it believes a length?", "That it is not absurd: memory is reserved for it"),
    ),
)


def frame(payload: bytes) -> bytes:
    return LENGTH.pack(len(payload)) + payload


@scenario.step("server", "The server listens.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("client", "The client connects and sends the first three bytes.", watch="not even a length")
def begins(me: Actor) -> None:
    me.connection = socket()
    setsockopt(me.connection, "TCP_NODELAY", 1)
    connect(me.connection, me.at("server"))
    me.all = frame(LETTER) + frame(NOTHING)
    send(me.connection, me.all[: CUTS[0]])


@scenario.step("server", "The server wants a length, and sleeps.", asleep_in="recv")
def reads(me: Actor) -> None:
    me.connection = accept(me.listener)
    for expected in (LETTER, NOTHING):
        (length,) = LENGTH.unpack(recv_exactly(me.connection, LENGTH.size))
        if recv_exactly(me.connection, length) != expected:
            raise AssertionError("another message has arrived")


@scenario.step("client", "The client sends a bit of the text.", watch="the server wakes and sleeps again", lasts=0.05)
def goes_on(me: Actor) -> None:
    send(me.connection, me.all[CUTS[0] : CUTS[1]])


@scenario.step("client", "Then all the rest, and a second, empty message with it.", wakes="server")
def ends(me: Actor) -> None:
    send(me.connection, me.all[CUTS[1] :])


@scenario.step("server", "The server has read both, and answers.")
def answers(me: Actor) -> None:
    send(me.connection, b"thanks")
    close(me.connection)
    close(me.listener)


@scenario.step("client", "The client reads its thanks, and closes.")
def closes(me: Actor) -> None:
    if recv_exactly(me.connection, 6) != b"thanks":
        raise AssertionError("no thanks")
    close(me.connection)


@scenario.must_see("the messages arrive in three segments that are not cut where the messages end")
def pieces(seen: Seen) -> str | None:
    lengths = [event["length"] for event in seen.arrived("client", data=True)]
    whole = len(frame(LETTER) + frame(NOTHING))
    return seen.same(lengths, [CUTS[0], CUTS[1] - CUTS[0], whole - CUTS[1]], "bytes in the segments")


@scenario.must_see("the server reads every byte, and no recv gives less than nothing")
def every_byte(seen: Seen) -> str | None:
    read = [result for result in seen.results("server", "recv") if isinstance(result, int)]
    return seen.same(sum(read), len(frame(LETTER) + frame(NOTHING)), "bytes read")


@scenario.must_see("the server waited in the middle of a length, and in the middle of a text")
def waited(seen: Seen) -> str | None:
    segments = seen.arrived("client", data=True)
    asleep = [
        call for call in seen.calls("server", "recv")
        if call.leave and any(call.enter.time < event.time < call.leave.time for event in segments[1:])
    ]  # fmt: skip
    return None if len(asleep) >= 2 else f"it waited {len(asleep)} times"


@scenario.must_see("the end is in good order: no RST")
def in_good_order(seen: Seen) -> str | None:
    return "there was a RST" if seen.packets("", "RST") else None
