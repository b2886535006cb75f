"""The accept queue fills and overflows: connections that stand, and one that only believes so.

listen(fd, 2) lets three finished connections wait for accept(): the queue counts as full when it is *longer* than the
backlog (sk_acceptq_is_full()). Clients of waiting connections notice nothing: their connect() has returned, their data
are acknowledged. When the queue is full, a further SYN is not answered at all; the client sends it again and again, and
gets in when there is room (tcp_conn_request()). And if a handshake was begun while there was room, but its last ACK
comes when there is none, that ACK is dropped (tcp_v4_syn_recv_sock()): the client is ESTABLISHED and may send, the
server has only a request sock, and sends its SYN-ACK again. With tcp_abort_on_overflow it sends RST instead; that is
another scenario.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import SOCK_NONBLOCK, accept, begin_connect, bind, close, connect, listen, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

BACKLOG = 2
FIT = BACKLOG + 1

scenario = Scenario(
    name="accept-queue",
    title="The accept queue fills, and a SYN finds no room",
    topic="opening",
    place=20,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    sysctls={"net.ipv4.tcp_syncookies": "0"},
    watch=("the queue's length against its limit", "connect() returns although nobody accepts", "a SYN without answer"),
    questions=(
        ("How many connections fit into a backlog of 2?", "Three: it is full when it is longer than the backlog"),
        ("What does the client of a waiting connection notice?", "Nothing: it is ESTABLISHED and may send"),
        ("What does the client see whose SYN was dropped?", "Nothing, and a second later it sends its SYN again"),
    ),
)


@scenario.step("server", f"The server listens with a backlog of {BACKLOG}, and does not accept.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, BACKLOG)


@scenario.step("client", f"The client opens {FIT} connections: all of them stand.", watch="queue 1, 2, 3 of 2")
def fill(me: Actor) -> None:
    me.waiting = []
    for _ in range(FIT):
        connection = socket()
        connect(connection, me.at("server"))
        me.waiting.append(connection)


@scenario.step("client", "One more SYN: nobody answers.", watch="the overflow; SYN_SENT goes on", lasts=0.2)
def one_more(me: Actor) -> None:
    me.late = socket(SOCK_NONBLOCK)
    if not begin_connect(me.late, me.at("server")):
        raise AssertionError("it was accepted, although the queue is full")


@scenario.step("server", "The server accepts: there is room again.", watch="the queue gets shorter")
def accepts(me: Actor) -> None:
    me.connections = [accept(me.listener) for _ in range(FIT)]


@scenario.step("client", "After a second the SYN comes again, and is welcome.", lasts=1.3)
def comes_again(me: Actor) -> None:
    me.say("its timer does it")


@scenario.step("server", "The server accepts that one too.")
def accepts_the_last(me: Actor) -> None:
    me.connections.append(accept(me.listener))
    close(me.listener)


@scenario.must_see(f"the accept queue grows to {FIT}, with a limit of {BACKLOG}, and empties")
def fills(seen: Seen) -> str | None:
    listener = seen.listener()
    lengths = listener.accept_queue()
    if wrong := seen.same(lengths[: FIT + 1], list(range(FIT + 1)), "the first lengths of the accept queue"):
        return wrong
    return seen.same((max(lengths), lengths[-1], listener.limit()), (FIT, 0, BACKLOG), "longest, last, and limit")


@scenario.must_see("connections stand on both sides before anybody calls accept()")
def stand(seen: Seen) -> str | None:
    accepted = seen.calls("server", "accept4")
    for number in range(1, FIT + 1):
        for side in ("client", "server"):
            if wrong := seen.in_order(
                (f"{side} {number} ESTABLISHED", seen.connection(number).reached(side, "ESTABLISHED")),
                ("accept()", accepted[0].enter if accepted else None),
            ):
                return wrong
    return None


@scenario.must_see("the SYN that finds the queue full gets no answer and makes no request sock")
def no_answer(seen: Seen) -> str | None:
    late = seen.connection(FIT + 1)
    syns, answer = late.packets("client", "SYN"), late.first("server", "SYN ACK")
    if len(syns) < 2:
        return "the SYN did not have to come again"
    return seen.in_order(("the first SYN", syns[0]), ("the second SYN", syns[1]), ("the first SYN-ACK", answer))


@scenario.must_see("the kernel counts it as an overflow of this listener")
def counted(seen: Seen) -> str | None:
    if not seen.listener().overflows():
        return "no probe saw an overflow"
    overflows, drops = seen.listener().counted()
    return None if overflows >= 1 and drops >= 1 else f"the kernel counted {overflows} overflows and {drops} drops"


@scenario.must_see("its client is in SYN_SENT until the SYN has come again, about a second later, and then gets in")
def gets_in(seen: Seen) -> str | None:
    late = seen.connection(FIT + 1)
    syns = late.packets("client", "SYN")
    return late.went_through("client", "SYN_SENT", "ESTABLISHED") or seen.within(syns[0], syns[1], 0.7, 1.6)
