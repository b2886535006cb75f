"""The last ACK is lost: what TIME_WAIT is for.

The side that closed second sends its FIN and stays in LAST_ACK until it is acknowledged. If that acknowledgement is
lost it can only send its FIN again, and somebody must still be there who knows the connection and answers: the side in
TIME_WAIT (RFC 9293 section 3.6.1; tcp_timewait_state_process()). It acknowledges once more, and its wait begins anew,
for this acknowledgement may be lost as well. Without TIME_WAIT the FIN would meet no socket and be answered by RST, and
a connection that ended well would look broken to the other side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, listen, recv_to_end, socket
from scenarios.network import Network
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

AGAIN = 0.6
"""Seconds until the FIN has come again: a timer of a fresh connection, some 200 ms (TCP_RTO_MIN)."""

scenario = Scenario(
    name="last-ack-lost",
    title="The last ACK is lost, and TIME_WAIT sends it again",
    topic="ending",
    place=20,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=("LAST_ACK goes on until a FIN is acknowledged", "the FIN comes again", "TIME_WAIT answers and begins anew"),
    questions=(
        ("Who answers the second FIN? The program is long gone.", "The client's kernel: its TIME_WAIT object"),
        ("What if it had forgotten the connection?", "The FIN would be answered by RST: an error where none was"),
        ("Why does the wait begin anew?", "Its ACK may be lost again, and then the FIN comes once more"),
    ),
)


@scenario.step("server", "The server listens.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("client", "The client connects.")
def connects(me: Actor) -> None:
    me.connection = socket()
    connect(me.connection, me.at("server"))


@scenario.step("server", "The server accepts and reads to the end.", asleep_in="recv")
def accepts(me: Actor) -> None:
    me.connection = accept(me.listener)
    recv_to_end(me.connection)


@scenario.step("client", "The client closes.", wakes="server", watch="client FIN_WAIT1, FIN_WAIT2", lasts=0.1)
def client_closes(me: Actor) -> None:
    close(me.connection)


@scenario.step("network", "The client's next ACK will be lost.")
def loses(me: Network) -> None:
    me.drop("client", "ACK", nth=1)


@scenario.step(
    "server",
    "The server closes. Its FIN arrives, but the answer does not: it stays in LAST_ACK and sends the FIN again.",
    watch="the FIN twice, the second one answered by a TIME_WAIT object",
    lasts=AGAIN,
)
def server_closes(me: Actor) -> None:
    close(me.connection)
    close(me.listener)


@scenario.must_see("the server's FIN leaves twice, and both times the client acknowledges it")
def twice(seen: Seen) -> str | None:
    fins = seen.packets("server", "FIN")
    answers = [packet for packet in seen.packets("client", "ACK", without="FIN") if packet.order > fins[0].order]
    return seen.same((len(fins), len(answers)), (2, 2), "FINs of the server and ACKs of the client after the first")


@scenario.must_see("only one of the two acknowledgements arrives")
def one_arrives(seen: Seen) -> str | None:
    fins = seen.packets("server", "FIN")
    came = [packet for packet in seen.arrived("client", "ACK", without="FIN") if packet.order > fins[0].order]
    return seen.same(len(came), 1, "acknowledgements that reached the server")


@scenario.must_see("the server sends its FIN again because a timer fires in LAST_ACK")
def by_timer(seen: Seen) -> str | None:
    fins = seen.packets("server", "FIN")
    fired = [*seen.timers("server", "loss-probe"), *seen.timers("server", "retransmission")]  # RFC 8985 section 7
    return seen.in_order(
        ("LAST_ACK", seen.reached("server", "LAST_ACK")),
        ("the first FIN", fins[0]),
        ("a timer for it", fired[0] if fired else None),
        ("the second FIN", fins[1] if len(fins) > 1 else None),
        ("the server's end", seen.reached("server", "CLOSE")),
    )


@scenario.must_see("the second FIN is answered although the client's socket is long gone: by its TIME_WAIT object")
def by_time_wait(seen: Seen) -> str | None:
    wait, fins = seen.timewait("client"), seen.arrived("server", "FIN")
    return seen.in_order(
        ("the TIME_WAIT object is born", wait.born if wait else None),
        ("the client's socket is freed", seen.destroyed("client")),
        ("the second FIN arrives", fins[1] if len(fins) > 1 else None),
        ("its acknowledgement", seen.last("client", "ACK", without="FIN")),
    )


@scenario.must_see("nobody sends a RST")
def in_good_order(seen: Seen) -> str | None:
    return "there was a RST" if seen.packets("", "RST") else None
