"""One connection for many requests, or one for each: the same work counted twice.

A request and its answer are two segments with data, and two acknowledgements at most. A connection of its own for each
request adds three segments of the handshake and about four of the closing, a socket on either side, a descriptor on
either side, six system calls on the client's side instead of two, and one TIME_WAIT for a minute on the side that
closes first (RFC 9293 section 3.6.1). A pool keeps the connection and pays all of that once (and no slow start either).
Nothing here is a number from a book: both are done, and counted on the timeline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, listen, recv_exactly, recv_to_end, send, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import ConnectionSeen, Seen

REQUESTS = 20
REQUEST, ANSWER = b"GET something", b"here it is ..."

scenario = Scenario(
    name="pool-against-per-request",
    title="Twenty requests over one connection, and over twenty",
    topic="resources",
    place=40,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    isolation="required",
    watch=("packets for the same requests", "TIME_WAIT: one against twenty", "the client's ports"),
    questions=(
        ("How many segments does a request need that has the connection already?", "Two with data, and their ACKs"),
        ("And one with a connection of its own?", "Seven more or so: three to open, about four to close"),
        ("Who pays for TIME_WAIT, and for how long?", "The side that closes first: a port towards that server, 60 s"),
    ),
)


@scenario.step("server", "The server listens.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("server", f"It answers {REQUESTS} requests on one connection.", asleep_in="accept4")
def answers_on_one(me: Actor) -> None:
    connection = accept(me.listener)
    for _ in range(REQUESTS):
        recv_exactly(connection, len(REQUEST))
        send(connection, ANSWER)
    recv_to_end(connection)
    close(connection)


@scenario.step("client", f"Pool: one connection, {REQUESTS} requests.", wakes="server", lasts=0.05,
               watch="one handshake, one TIME_WAIT")  # fmt: skip
def asks_on_one(me: Actor) -> None:
    connection = socket()
    connect(connection, me.at("server"))
    for _ in range(REQUESTS):
        send(connection, REQUEST)
        recv_exactly(connection, len(ANSWER))
    close(connection)


@scenario.step("server", f"It answers {REQUESTS} requests on a connection each.", asleep_in="accept4")
def answers_on_each(me: Actor) -> None:
    for _ in range(REQUESTS):
        connection = accept(me.listener)
        recv_exactly(connection, len(REQUEST))
        send(connection, ANSWER)
        recv_to_end(connection)
        close(connection)


@scenario.step("client", f"Per request: {REQUESTS} connections, one request each.", wakes="server", lasts=0.05,
               watch=f"{REQUESTS} handshakes, {REQUESTS} TIME_WAITs")  # fmt: skip
def asks_on_each(me: Actor) -> None:
    for _ in range(REQUESTS):
        connection = socket()
        connect(connection, me.at("server"))
        send(connection, REQUEST)
        recv_exactly(connection, len(ANSWER))
        close(connection)


@scenario.step("server", "The server closes its listener.")
def ends(me: Actor) -> None:
    close(me.listener)


def both(seen: Seen, what: str) -> tuple[int, int]:
    """How many there were with the pool's connection, and with those of a request each."""
    pool, *each = seen.connections()
    if what == "packets":
        return len(pool.packets()), sum(len(one.packets()) for one in each)
    if what == "waits":
        return int(pool.timewait("client") is not None), sum(one.timewait("client") is not None for one in each)
    if what == "sockets":
        return _freed([pool]), _freed(each)
    change = seen.step(5)
    calls = [call for call in seen.calls("client") if call.enter.order > seen.step(3).order]
    return sum(c.enter.order < change.order for c in calls), sum(c.enter.order > change.order for c in calls)


def _freed(connections: list[ConnectionSeen]) -> int:
    """Sockets of these that were freed."""
    freed = (one.destroyed(side) for one in connections for side in ("client", "server"))
    return sum(event is not None for event in freed)


@scenario.must_see(f"all {2 * REQUESTS} requests are answered, over 1 connection and over {REQUESTS}")
def answered(seen: Seen) -> str | None:
    pool, *each = seen.connections()
    if wrong := seen.same(len(each), REQUESTS, "connections of the second half"):
        return wrong
    asked = [len(pool.packets("client", data=True)), sum(len(one.packets("client", data=True)) for one in each)]
    told = [len(pool.packets("server", data=True)), sum(len(one.packets("server", data=True)) for one in each)]
    return seen.same((asked, told), ([REQUESTS] * 2, [REQUESTS] * 2), "requests and answers")


@scenario.must_see("a connection each takes at least twice as many packets, and five more for each request")
def packets(seen: Seen) -> str | None:
    pool, each = both(seen, "packets")
    enough = each >= 2 * pool and each - pool >= 5 * (REQUESTS - 1)
    return None if enough else f"{pool} packets against {each}"


@scenario.must_see("and more than twice as many of the client's system calls: five for each request instead of two")
def calls(seen: Seen) -> str | None:
    wanted = (3 + 2 * REQUESTS, 5 * REQUESTS)
    return seen.same(both(seen, "calls"), wanted, "system calls of the client")


@scenario.must_see(f"two sockets are made and freed against {2 * REQUESTS}")
def sockets(seen: Seen) -> str | None:
    return seen.same(both(seen, "sockets"), (2, 2 * REQUESTS), "sockets")


@scenario.must_see(f"one TIME_WAIT is left on the client's side against {REQUESTS}, each at a port of its own")
def waits(seen: Seen) -> str | None:
    ports = {one.packets("client")[0]["sport"] for one in seen.connections()[1:]}
    return seen.same((both(seen, "waits"), len(ports)), ((1, REQUESTS), REQUESTS), "TIME_WAITs and ports")
