"""Self-connect: one socket, connected to itself.

connect() to a port where nobody listens is refused, except when the port is one's own. Bound to a port and told to
connect to the same address and port, a socket's SYN comes back to itself: it is in SYN_SENT, receives a SYN, and that
is a simultaneous open (RFC 9293 section 3.5, figure 7), with itself as both parties. It goes through SYN_RECV to
ESTABLISHED, and what it writes it reads. There is no listener, no second socket, no accept(). It also happens unasked:
a client that tries again and again to reach a service which is down, on a port from the range for clients, will be
given that very port one day, and will then keep the service from starting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import bind, close, connect, recv, send, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

WORDS = b"hello, me"

scenario = Scenario(
    name="self-connect",
    title="A socket connected to itself",
    topic="lifecycle",
    place=110,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("client",),
    watch=("SYN_SENT, SYN_RECV, ESTABLISHED: a simultaneous open", "one socket at both ends"),
    questions=(
        ("Who listens?", "Nobody: two active opens meet, and both are the same socket"),
        ("Which state shows that it was no ordinary handshake?", "SYN_RECV after SYN_SENT, on one socket"),
        ("What keeps it from happening by chance?", "A service port outside of net.ipv4.ip_local_port_range"),
    ),
)


@scenario.step("client", "It takes a port.", watch="CLOSE, bound")
def takes_a_port(me: Actor) -> None:
    me.connection = socket()
    bind(me.connection, me.at("client"))


@scenario.step("client", "It connects to where it is: to itself.", watch="SYN_SENT, SYN_RECV, ESTABLISHED")
def connects(me: Actor) -> None:
    connect(me.connection, me.at("client"))


@scenario.step("client", "What it writes, it reads.", watch="data from a socket to itself")
def talks(me: Actor) -> None:
    send(me.connection, WORDS)
    if recv(me.connection, 100) != WORDS:
        raise AssertionError("it heard something else than it said")


@scenario.step("client", "It closes: its FIN meets itself.", watch="FIN_WAIT1, CLOSING, TIME_WAIT")
def closes(me: Actor) -> None:
    close(me.connection)


@scenario.must_see("it goes through SYN_SENT and SYN_RECV to ESTABLISHED")
def opens(seen: Seen) -> str | None:
    return seen.went_through("client", "SYN_SENT", "SYN_RECV", "ESTABLISHED")


@scenario.must_see("its SYN and its SYN-ACK come from and go to the same port")
def one_port(seen: Seen) -> str | None:
    for flags, without in (("SYN", "ACK"), ("SYN ACK", "")):
        packet = seen.first("client", flags, without)
        if packet is None:
            return f"no {flags} was sent"
        if packet["sport"] != packet["dport"]:
            return f"{flags} went from port {packet['sport']} to {packet['dport']}"
    return None


@scenario.must_see("nobody listens and nobody accepts")
def no_listener(seen: Seen) -> str | None:
    if seen.listeners():
        return "there was a listener"
    return "accept was called" if seen.calls("client", "accept", "listen") else None


@scenario.must_see("it reads what it has written")
def hears_itself(seen: Seen) -> str | None:
    said, heard = seen.results("client", "send"), seen.results("client", "recv")
    return seen.same((said, heard), ([len(WORDS)], [len(WORDS)]), "bytes written and read")


@scenario.must_see("it closes through CLOSING to TIME_WAIT")
def ends(seen: Seen) -> str | None:
    return seen.went_through("client", "FIN_WAIT1", "CLOSING", "TIME_WAIT")
