"""RST in each state: what one segment does to a connection, wherever it stands.

A valid RST ends a connection at once, in every state and without an answer (RFC 9293 section 3.10.7.4): the full socket
goes to CLOSED (tcp_reset()), a request sock leaves the SYN queue, a TIME_WAIT object is killed (unless tcp_rfc1337 is
set). Valid is one whose sequence number is exactly the next expected one; if it only lies in the window it may be
forged, and the answer is a challenge ACK (RFC 5961 section 3.2): a peer that really knows nothing of the connection
answers that with a RST of the right number. What the program learns differs by state: ECONNREFUSED while connecting,
ECONNRESET while the connection stands, EPIPE when the peer had finished already, and nothing at all when it has closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import SHUT_WR, accept, bind, close, connect, fails, listen, send, shutdown, so_error, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen
    from scenarios.sights_connection import ConnectionSeen

STANDING = ("ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "CLOSING", "CLOSE_WAIT", "LAST_ACK")
"""States of a full socket behind the handshake, each shown by a connection of its own, in this order."""

scenario = Scenario(
    name="rst-in-each-state",
    title="RST in each state",
    topic="ending",
    place=90,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    peers=("client",),
    sysctls={"net.ipv4.tcp_rfc1337": "0"},
    watch=("every state ends in CLOSED", "no answer to a valid RST", "a challenge ACK to one that is slightly off"),
    questions=(
        ("Which state survives a valid RST?", "None (LISTEN ignores it)"),
        ("Why is a RST in the window not enough?", "Anybody could guess one: RFC 5961 wants the exact number"),
        ("What does connect() say when a RST comes?", "ECONNREFUSED"),
    ),
)


@scenario.step("server", "The server listens.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("client", "SYN_RECV: the client, by hand, sends a SYN, and a RST instead of the last ACK.")
def in_syn_recv(me: Actor) -> None:
    me.talk = me.peer.talk("server")
    me.talk.send("SYN")
    me.talk.expect("SYN ACK")
    me.talk.send("RST")


def bring_to(state: str) -> None:
    """The steps that bring a fresh connection to a state and end it there."""

    @scenario.step("client", f"{state}: a fresh connection.")
    def opens(me: Actor) -> None:
        me.talk = me.peer.talk("server")
        me.talk.open()

    if state in ("CLOSE_WAIT", "LAST_ACK"):

        @scenario.step("client", "The client finishes first.")
        def finishes(me: Actor) -> None:
            me.talk.send("FIN ACK")
            me.talk.expect("ACK", without="SYN")

    passive = state in ("ESTABLISHED", "CLOSE_WAIT")

    @scenario.step("server", f"The server accepts and {'does nothing' if passive else 'finishes'}.")
    def accepts(me: Actor) -> None:
        me.connection = accept(me.listener)
        if not passive:
            shutdown(me.connection, SHUT_WR)

    @scenario.step("client", f"In {state} comes a RST.", watch=f"{state} → CLOSED")
    def resets(me: Actor) -> None:
        if state == "FIN_WAIT2":
            me.talk.expect("FIN")
            me.talk.send("ACK")
        elif state == "CLOSING":
            unacknowledged = me.talk.rcv_nxt
            me.talk.expect("FIN")
            me.talk.send("FIN ACK", ack=unacknowledged)  # our FIN, which does not acknowledge theirs
        me.talk.send("RST")

    @scenario.step("server", "The server sees what it is told, and closes its descriptor.")
    def learns(me: Actor) -> None:
        me.say(f"{state}: {so_error(me.connection) or 'no error'}")
        close(me.connection)


for each in STANDING:
    bring_to(each)


@scenario.step("client", "TIME_WAIT: a fresh connection.")
def opens_the_last(me: Actor) -> None:
    me.talk = me.peer.talk("server")
    me.talk.open()


@scenario.step("server", "The server accepts and closes.")
def closes(me: Actor) -> None:
    close(accept(me.listener))


@scenario.step("client", "The client finishes, and in TIME_WAIT comes a RST.", watch="TIME_WAIT ends before its time")
def in_time_wait(me: Actor) -> None:
    me.talk.expect("FIN")
    me.talk.send("FIN ACK")
    me.talk.expect("ACK", without="FIN")
    me.talk.send("RST")


@scenario.step("client", "A RST in the window, but not exact: the answer is a challenge ACK.", watch="no CLOSED")
def off_by_a_little(me: Actor) -> None:
    me.talk = me.peer.talk("server")
    me.talk.open()
    me.talk.send("RST", seq=me.talk.snd_nxt + 10)
    me.talk.expect("ACK", without="RST SYN FIN")


@scenario.step("server", "The server's connection stands: it can send.")
def stands(me: Actor) -> None:
    me.connection = accept(me.listener)
    send(me.connection, b"still here")


@scenario.step("server", "SYN_SENT: the server connects to the client.", asleep_in="connect")
def connects(me: Actor) -> None:
    me.out = socket()
    fails("ECONNREFUSED", connect, me.out, me.at("client"))


@scenario.step("client", "In SYN_SENT comes a RST.", wakes="server", watch="SYN_SENT → CLOSED, ECONNREFUSED")
def in_syn_sent(me: Actor) -> None:
    talk = me.peer.expect_syn()
    talk.send("RST ACK")


@scenario.must_see("in SYN_RECV the RST takes the request sock out of the SYN queue")
def request_gone(seen: Seen) -> str | None:
    first = seen.connection(1)
    reset = next(iter(first.arrived("client", "RST")), None)
    gone = [event for event in first.requests() if event.name == "request:gone"]
    return seen.in_order(("the RST", reset), ("the request sock is gone", gone[0] if gone else None))


def ends_in(state: str, number: int) -> None:
    @scenario.must_see(f"in {state} the RST closes the server's side, and nothing answers it")
    def closed(seen: Seen) -> str | None:
        connection = seen.connection(number)
        return _closed_from(connection, "server", state) or _unanswered(connection)


for place, each in enumerate(STANDING, 2):
    ends_in(each, place)


@scenario.must_see("in TIME_WAIT the RST kills the TIME_WAIT object")
def wait_killed(seen: Seen) -> str | None:
    wait = seen.connection(8).timewait("server")
    if wait is None or wait.end != "cancelled" or wait.ended is None:
        return "TIME_WAIT was not cancelled"
    return seen.in_order(("the RST", seen.connection(8).first("client", "RST")), ("the end of TIME_WAIT", wait.ended))


@scenario.must_see("a RST that is not exact is answered with an ACK, and the connection stands")
def challenged(seen: Seen) -> str | None:
    connection = seen.connection(9)
    if connection.resets_received("server"):
        return "it was taken for valid"
    return seen.in_order(
        ("the RST", connection.first("client", "RST")),
        ("the challenge ACK", connection.last("server", "ACK", without="SYN PSH")),
        ("data afterwards", connection.last("server", data=True)),
    )


@scenario.must_see("in SYN_SENT the RST ends connect() with ECONNREFUSED")
def refused(seen: Seen) -> str | None:
    if seen.actor("server").failed("connect", "ECONNREFUSED") is None:
        return "connect() did not fail with ECONNREFUSED"
    return _closed_from(seen.connection(10), "client", "SYN_SENT")


def _closed_from(connection: ConnectionSeen, side: str, state: str) -> str | None:
    """None when a RST brought the side from this state to CLOSED."""
    names = [reached.name for reached, _ in connection.path(side)]
    if names[-2:] != [state, "CLOSE"]:
        return f"the {side} went through {', '.join(names)}"
    return None if connection.resets_received(side) else "no RST ended it"


def _unanswered(connection: ConnectionSeen) -> str | None:
    reset = connection.first("client", "RST")
    if reset is None:
        return "no RST was sent"
    after = [packet for packet in connection.packets("server") if packet.order > reset.order]
    return f"{len(after)} segments answered it" if after else None
