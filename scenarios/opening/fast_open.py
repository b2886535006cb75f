"""Fast open: data in the SYN, for a client that has been here before.

The first visit is an ordinary one, with a question in its SYN: may I have a cookie? The server gives it in its SYN-ACK,
and the client's kernel keeps it by address (RFC 7413). From then on sendto(MSG_FASTOPEN) puts the data and the cookie
into the SYN itself; the server checks the cookie, makes a full socket in SYN_RECV (tcp_fastopen_create_child()) and
hands the data to the program before the handshake has ended. That saves one round trip. A SYN that is duplicated by the
network may deliver its data twice, so it is only for requests that bear it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import MSG_FASTOPEN, accept, bind, close, listen, recv, sendto, setsockopt, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

scenario = Scenario(
    name="fast-open",
    title="TCP Fast Open: data in the SYN",
    topic="opening",
    place=65,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    sysctls={"net.ipv4.tcp_fastopen": "3"},
    watch=("a cookie asked for and given", "data in the second SYN", "accept() before the handshake's last ACK"),
    questions=(
        ("What does the cookie prove?", "That the client really is at its address: it received the cookie there"),
        ("In which state does the server's program get the data?", "SYN_RECV"),
        ("Why is it not for every request?", "A duplicated SYN delivers its data twice"),
    ),
)


def asks(me: Actor, request: bytes) -> None:
    me.connection = socket()
    sendto(me.connection, request, MSG_FASTOPEN, me.at("server"))


def answers(me: Actor) -> None:
    me.connection = accept(me.listener)
    recv(me.connection, 100)


@scenario.step("server", "The server listens, and allows fast open.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    setsockopt(me.listener, "TCP_FASTOPEN", 8)
    listen(me.listener, 8)


@scenario.step(
    "client", "The client's first visit: it has no cookie and asks for one.", watch="data after the handshake"
)
def first(me: Actor) -> None:
    asks(me, b"first")


@scenario.step("server", "The server reads the first request.")
def reads_first(me: Actor) -> None:
    answers(me)
    close(me.connection)


@scenario.step("client", "The client's second visit: its request is in the SYN.", watch="SYN with data")
def second(me: Actor) -> None:
    close(me.connection)
    asks(me, b"second")


@scenario.step("server", "The server reads the second request.")
def reads_second(me: Actor) -> None:
    answers(me)
    close(me.connection)
    close(me.listener)


@scenario.step("client", "The client closes.")
def closes(me: Actor) -> None:
    close(me.connection)


@scenario.must_see("the first SYN has no data, and they come after the handshake")
def ordinary(seen: Seen) -> str | None:
    one = seen.connection(1)
    syn = one.first("client", "SYN")
    if syn is None or syn["length"]:
        return "there are data in the first SYN"
    return seen.in_order(("the SYN-ACK", one.first("server", "SYN ACK")), ("the data", one.first("client", data=True)))


@scenario.must_see("the second SYN carries the request")
def in_the_syn(seen: Seen) -> str | None:
    syn = seen.connection(2).first("client", "SYN")
    return seen.same(syn["length"] if syn else None, len(b"second"), "bytes in the second SYN")


@scenario.must_see("its SYN-ACK acknowledges SYN and data together")
def acknowledged(seen: Seen) -> str | None:
    two = seen.connection(2)
    syn, answer = two.first("client", "SYN"), two.first("server", "SYN ACK")
    if syn is None or answer is None:
        return "SYN or SYN-ACK is missing"
    return seen.same((answer["ack"] - syn["seq"]) % 2**32, 1 + len(b"second"), "sequence numbers acknowledged")


@scenario.must_see("the second connection has a full socket and is readable before the last ACK arrives")
def early(seen: Seen) -> str | None:
    two = seen.connection(2)
    acks = two.arrived("client", "ACK", without="SYN")
    return seen.in_order(
        ("in the accept queue", seen.listener().queued()[-1]), ("the client's first ACK", acks[0] if acks else None)
    )
