"""Refused: a SYN to a port where nobody listens is answered with RST.

"Connection refused" is not silence: a machine that is there says no. Its kernel finds no listener for the SYN and
answers with RST and ACK (RFC 9293 section 3.10.7.1); the client's socket goes from SYN_SENT straight back to CLOSE, and
connect() fails with ECONNREFUSED after one round trip. A port that is only bound refuses as well: it is listen() that
opens it. The refused socket is not used up: when the server listens at last, the same descriptor connects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, fails, listen, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

scenario = Scenario(
    name="refused",
    title="Connection refused: RST for a SYN",
    topic="lifecycle",
    place=30,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=("RST in answer to a SYN", "SYN_SENT, then CLOSE at once", "the same descriptor, tried again"),
    questions=(
        ("Who sends the RST?", "The server's kernel: no program has to run for it"),
        ("Why is the SYN not sent again?", "It has been answered, with no"),
        ("What does bind() without listen() do for a caller?", "Nothing: the port refuses until listen()"),
    ),
)


@scenario.step("server", "The server takes its port, but does not listen yet.", watch="CLOSE: the port is only bound")
def only_binds(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))


@scenario.step("client", "The client connects, and is refused.", watch="SYN, RST; connect gives ECONNREFUSED")
def is_refused(me: Actor) -> None:
    me.connection = socket()
    fails("ECONNREFUSED", connect, me.connection, me.at("server"))


@scenario.step("server", "Now the server listens.", watch="LISTEN")
def listens(me: Actor) -> None:
    listen(me.listener, 8)


@scenario.step("client", "The client tries the same descriptor again, and is let in.", watch="another SYN, ESTABLISHED")
def is_let_in(me: Actor) -> None:
    connect(me.connection, me.at("server"))


@scenario.step("server", "The server accepts and closes everything.")
def closes(me: Actor) -> None:
    close(accept(me.listener))
    close(me.listener)


@scenario.step("client", "The client closes too.")
def closes_too(me: Actor) -> None:
    close(me.connection)


@scenario.must_see("the SYN is answered with RST, and nothing else passes")
def answered_no(seen: Seen) -> str | None:
    syn, rst = seen.first("client", "SYN", without="ACK"), seen.first("server", "RST ACK")
    return seen.in_order(("a SYN", syn), ("a RST", rst)) or seen.same(len(seen.packets()), 2, "packets of this attempt")


@scenario.must_see("the client's side goes from SYN_SENT to CLOSE and was never in ESTABLISHED")
def path(seen: Seen) -> str | None:
    return seen.went_through("client", "SYN_SENT", "CLOSE") or seen.never_in("client", "ESTABLISHED")


@scenario.must_see("connect() fails with ECONNREFUSED, and then succeeds with the same descriptor")
def told(seen: Seen) -> str | None:
    calls = seen.calls("client", "connect")
    if len({call.enter.fd for call in calls}) != 1:
        return "the calls were about different descriptors"
    return seen.same(seen.results("client", "connect"), ["ECONNREFUSED", 0], "results of connect")


@scenario.must_see("the kernel's reason for the RST: no socket listens")
def reason(seen: Seen) -> str | None:
    return seen.same(seen.reset_reasons("server"), ["NO_SOCKET"], "reasons of the RST")


@scenario.must_see("the second attempt is let in")
def second_time(seen: Seen) -> str | None:
    return seen.connection(2).went_through("client", "SYN_SENT", "ESTABLISHED")
