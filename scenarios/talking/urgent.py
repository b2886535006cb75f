"""Urgent data: one byte out of line, and a pointer nobody agrees about.

send(MSG_OOB) sets the URG bit and the urgent pointer of a segment. In TCP urgent data are not a second channel: the
bytes stand in the stream like all others, and the pointer says only up to where the reader should hurry (RFC 9293
section 3.8.5, RFC 6093). The sockets API made of it one "out-of-band" byte, which the kernel takes out of the stream
and keeps for recv(MSG_OOB); a second one pushes the first back into line. And whether the pointer names the last urgent
byte or the one behind it was never settled in practice: Linux points behind it. RFC 6093 advises against using it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import MSG_OOB, POLLPRI, accept, bind, close, connect, listen, poll, recv, send, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

scenario = Scenario(
    name="urgent",
    title="Urgent data: the byte that is taken out of line",
    topic="talking",
    place=70,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=("the URG bit and its pointer", "POLLPRI", "a stream with one byte missing"),
    questions=(
        ("How many urgent bytes can there be at a time?", "One; a second pushes the first back into the stream"),
        ("What does poll() tell?", "POLLPRI"),
        ("Where does the pointer point?", "On Linux to the byte behind the urgent one"),
    ),
)


@scenario.step("server", "The server listens.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("client", "The client connects and sends abc, an urgent !, and def.")
def connects(me: Actor) -> None:
    me.connection = socket()
    connect(me.connection, me.at("server"))
    send(me.connection, b"abc")
    send(me.connection, b"!", MSG_OOB)
    send(me.connection, b"def")


@scenario.step("server", "The server is told of it, and reads the urgent byte first.", watch="POLLPRI")
def hurries(me: Actor) -> None:
    me.connection = accept(me.listener)
    if not poll({me.connection: POLLPRI}, 5000):
        raise AssertionError("poll() did not tell of urgent data")
    if recv(me.connection, 1, MSG_OOB) != b"!":
        raise AssertionError("another byte is urgent")


@scenario.step("server", "Then it reads the rest: the urgent byte is not in it.", watch="a read stops at the mark")
def reads(me: Actor) -> None:
    before, after = recv(me.connection, 100), recv(me.connection, 100)
    if (before, after) != (b"abc", b"def"):
        raise AssertionError(f"the stream is {before!r} and {after!r}")
    close(me.connection)
    close(me.listener)


@scenario.step("client", "The client closes.")
def closes(me: Actor) -> None:
    close(me.connection)


@scenario.must_see("a segment has the URG bit, and its pointer names the byte behind the urgent one")
def pointer(seen: Seen) -> str | None:
    marked = seen.urgent("client")
    if not marked:
        return "no segment has it"
    data = seen.first("client", data=True)
    if data is None:
        return "there are no data"
    behind = (marked[0]["seq"] + marked[0]["urgent"] - data["seq"]) % 2**32
    return seen.same(behind, len(b"abc!"), "bytes from the beginning to the pointer")


@scenario.must_see("poll() tells of it before the stream is read")
def told(seen: Seen) -> str | None:
    return seen.same(seen.results("server", "poll"), [1], "what poll() gave")


@scenario.must_see("the stream is read in two parts, without the urgent byte")
def two_parts(seen: Seen) -> str | None:
    return seen.same(seen.results("server", "recv"), [1, 3, 3], "what recv gave")
