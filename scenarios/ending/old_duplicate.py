"""An old duplicate: what TIME_WAIT keeps out, and what comes in without it.

A segment may be lost in the network for a while and turn up when its connection is over. If by then a new connection
with the same four numbers stands, and the old sequence number happens to lie in its window, nothing in the segment
tells that it is old: it becomes part of the new conversation. TIME_WAIT is the protection (RFC 9293 section 3.6.1,
after RFC 1337): while it lasts, an old segment is only answered with an acknowledgement, and a SYN whose sequence
number lies before the end of the old connection is refused the same way. But a RST kills a TIME_WAIT, and then the old
segment is let in: RFC 1337 calls it TIME-WAIT assassination, and Linux guards against it only when asked to
(net.ipv4.tcp_rfc1337). The client here speaks TCP by hand and without timestamps, which would also have told old from
new (PAWS, RFC 7323 section 5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, listen, recv, setsockopt, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

PORT = 42000
FIRST = 1_000_000
"""Initial sequence number of the first connection."""
ORDER = b"transfer 100"
GREETING = b"good day, "
OLD = FIRST + 1
"""Sequence number of the order, on its first way and when it turns up again."""

scenario = Scenario(
    name="old-duplicate",
    title="An old duplicate: refused by TIME_WAIT, let in without it",
    topic="ending",
    place=80,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    peers=("client",),
    watch=("an old segment answered by TIME_WAIT", "a SYN refused with an ACK", "an order that is carried out twice"),
    sysctls={"net.ipv4.tcp_rfc1337": "0"},
    questions=(
        ("How does the server know in the end that the order is old?", "It does not: it fits the window"),
        ("What would have kept it out?", "TIME_WAIT, timestamps, or an initial number far away (RFC 6528)"),
        ("Why is a SYN answered with an ACK and no SYN-ACK?", "For TIME_WAIT it is an old segment out of order"),
    ),
)


@scenario.step("server", "The server listens.")
def listens(me: Actor) -> None:
    me.listener = socket()
    setsockopt(me.listener, "SO_REUSEADDR", 1)
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("client", "The client, by hand, connects and gives its order. A copy of it is lost on the way, for now.")
def orders(me: Actor) -> None:
    me.talk = me.peer.talk("server", sport=PORT, iss=FIRST)
    me.talk.open()
    me.talk.send("PSH ACK", ORDER)
    me.talk.expect("ACK", without="SYN")


@scenario.step("server", "The server reads the order and closes: TIME_WAIT will be its.")
def carries_out(me: Actor) -> None:
    me.connection = accept(me.listener)
    recv(me.connection, 100)
    close(me.connection)


@scenario.step("client", "The client closes too.", watch="TIME_WAIT on the server's side")
def closes(me: Actor) -> None:
    me.talk.expect("FIN")
    me.talk.send("ACK")
    me.talk.send("FIN ACK")
    me.talk.expect("ACK", without="FIN")


@scenario.step("client", "The copy of the order turns up.", watch="an ACK, and nothing else")
def turns_up(me: Actor) -> None:
    me.talk.send("PSH ACK", ORDER, seq=OLD)
    me.talk.expect("ACK", without="FIN SYN RST")


@scenario.step("client", "A new connection, whose numbers would take in the old ones, is refused.", watch="no SYN-ACK")
def is_refused(me: Actor) -> None:
    me.again = me.peer.talk("server", sport=PORT, iss=OLD - len(GREETING) - 1)
    me.again.send("SYN")
    me.again.expect("ACK", without="SYN")


@scenario.step("client", "A RST kills the TIME_WAIT, and the same SYN is welcome.", watch="TIME-WAIT assassination")
def kills(me: Actor) -> None:
    me.talk.send("RST")
    me.again = me.peer.talk("server", sport=PORT, iss=OLD - len(GREETING) - 1)
    me.again.open()
    me.again.send("PSH ACK", GREETING)
    me.again.expect("ACK", without="SYN")


@scenario.step("client", "Now the copy of the order turns up once more.", watch="it is acknowledged as new data")
def turns_up_again(me: Actor) -> None:
    me.talk.send("PSH ACK", ORDER, seq=OLD, ack=me.again.rcv_nxt)
    me.again.expect("ACK", without="SYN")


@scenario.step("server", "The server reads the new conversation.", watch="the old order is in it")
def reads(me: Actor) -> None:
    me.connection = accept(me.listener)
    if recv(me.connection, 100) != GREETING + ORDER:
        raise AssertionError("the old order is not in it")
    close(me.connection)
    close(me.listener)


@scenario.must_see("the server's side of the first connection is in TIME_WAIT")
def waits(seen: Seen) -> str | None:
    return seen.connection(1).went_through("server", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT")


@scenario.must_see("the old segment meets the TIME_WAIT and is answered with an ACK")
def answered(seen: Seen) -> str | None:
    wait = seen.connection(1).timewait("server")
    copies = [packet for packet in seen.connection(1).packets("client", data=True) if packet["seq"] == OLD]
    later = seen.connection(1).packets("server", "ACK", without="SYN FIN")
    return seen.in_order(
        ("TIME_WAIT is born", wait.born if wait else None),
        ("the old segment", copies[1] if len(copies) > 1 else None),
        ("an ACK", next((event for event in later if len(copies) > 1 and event.order > copies[1].order), None)),
    )


@scenario.must_see("the RST ends the TIME_WAIT before its time")
def assassinated(seen: Seen) -> str | None:
    wait = seen.connection(1).timewait("server")
    if wait is None or wait.end != "cancelled":
        return "TIME_WAIT was not cancelled"
    resets = [event for each in seen.connections() for event in each.packets("client", "RST")]
    return seen.in_order(("the RST", resets[0] if resets else None), ("the end of TIME_WAIT", wait.ended))


@scenario.must_see("without it the SYN is accepted: a new connection stands")
def stands(seen: Seen) -> str | None:
    if len(seen.connections()) < 2:
        return "there is no second connection"
    return seen.connections()[-1].went_through("server", "ESTABLISHED")


@scenario.must_see("and the server reads the old order in the new conversation")
def let_in(seen: Seen) -> str | None:
    return seen.same(seen.results("server", "recv"), [len(ORDER), len(GREETING) + len(ORDER)], "what recv gave")
