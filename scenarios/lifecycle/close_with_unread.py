"""Close with unread data: the kernel says RST where the program meant FIN.

A program that closes while there are bytes in its receive buffer will never read them, and its kernel tells the peer
so: instead of FIN it sends RST (RFC 2525 section 2.17; tcp_close()). A server that answers early and closes, without
reading the rest of the request, does this to its clients. The answer may be lost by it: what the client has already
received Linux still lets it read (other systems throw it away), but what was under way, or was to be sent again, is
lost, and after the answer comes ECONNRESET where the end of file should be. So the client cannot know whether the
answer is whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, fails, listen, recv, send, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

REQUEST = b"x" * 1000
READ = 100
ANSWER = b"no"

scenario = Scenario(
    name="close-with-unread",
    title="close() with unread data: RST instead of FIN",
    topic="lifecycle",
    place=80,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=("bytes unread at the server when it closes", "RST instead of FIN", "an error where the answer should end"),
    questions=(
        ("Why RST and not FIN?", "Bytes were thrown away unread; the peer must not believe they were received"),
        ("How does the client's answer end?", "With ECONNRESET instead of 0 bytes: it may be whole or not"),
        ("How should the server have closed?", "shutdown(SHUT_WR), then read until 0, then close"),
    ),
)


@scenario.step("server", "The server listens.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("client", "The client connects and sends a request of 1000 bytes.")
def asks(me: Actor) -> None:
    me.connection = socket()
    connect(me.connection, me.at("server"))
    send(me.connection, REQUEST)


@scenario.step("server", "The server reads 100 bytes of it, knows enough, and answers.", watch="900 bytes unread")
def answers_early(me: Actor) -> None:
    me.connection = accept(me.listener)
    recv(me.connection, READ)
    send(me.connection, ANSWER)


@scenario.step("server", "It closes: 900 bytes lie unread in its receive buffer.", watch="RST instead of FIN")
def closes(me: Actor) -> None:
    close(me.connection)
    close(me.listener)


@scenario.step("client", "The client reads the answer; where it should end there is an error.", watch="ECONNRESET")
def reads(me: Actor) -> None:
    recv(me.connection, 100)
    fails("ECONNRESET", recv, me.connection, 100)
    close(me.connection)


@scenario.must_see("900 bytes are unread when the server closes")
def unread(seen: Seen) -> str | None:
    closing, *_ = seen.calls("server", "close")
    left = seen.value_before("server", "unread", closing.enter)
    return seen.same(left, len(REQUEST) - READ, "bytes unread before close()")


@scenario.must_see("the server's side sends RST and no FIN")
def reset_instead(seen: Seen) -> str | None:
    if seen.packets("server", "FIN"):
        return "the server sent a FIN"
    return None if seen.packets("server", "RST") else "the server sent no RST"


@scenario.must_see("the kernel's reason for it: closed with data unread")
def reason(seen: Seen) -> str | None:
    return seen.same(seen.reset_reasons("server"), ["TCP_ABORT_ON_CLOSE"], "reasons of the RST")


@scenario.must_see("the client reads the answer that came before the RST, and then ECONNRESET instead of its end")
def no_end(seen: Seen) -> str | None:
    return seen.same(seen.results("client", "recv"), [len(ANSWER), "ECONNRESET"], "results of the client's recv")


@scenario.must_see("the client's side is ended by the RST")
def ended(seen: Seen) -> str | None:
    return None if seen.resets_received("client") else "no RST ended the client's side"
