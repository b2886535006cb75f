"""All local ports are taken, and nothing but TIME_WAIT holds them.

A connection is told from others by four numbers. Towards one server's port a client can vary only its own port, within
net.ipv4.ip_local_port_range; and a connection that it has closed first keeps its port for a minute more, in TIME_WAIT
(RFC 9293 section 3.6.1). So whoever opens a connection for each request runs out of ports: connect() fails with
EADDRNOTAVAIL, and not one connection is open (__inet_hash_connect() finds each port in use). The limit is for one
destination: towards another port or address the same local ports are free. net.ipv4.tcp_tw_reuse, which would let the
client take such a port after a second, is off here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, fails, listen, recv_to_end, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

FIRST, PORTS = 40000, 4
RANGE = range(FIRST, FIRST + PORTS)

scenario = Scenario(
    name="port-exhaustion",
    title="No local port left: EADDRNOTAVAIL, and TIME_WAIT holds them all",
    topic="resources",
    place=30,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    ports=2,
    isolation="required",
    sysctls={
        "net.ipv4.ip_local_port_range": f"{RANGE[0]} {RANGE[-1]}",
        "net.ipv4.tcp_tw_reuse": "0",
        "net.ipv4.tcp_rfc1337": "1",  # an ACK that comes late, from another processor, does not end TIME_WAIT by a RST
    },
    watch=("one TIME_WAIT more with each request", "EADDRNOTAVAIL without a packet", "another destination works"),
    questions=(
        ("How many connections were open when connect() failed?", "None: TIME_WAIT held the ports"),
        ("How many requests a second does the default range allow?", "28,232 ports for 60 s: about 470"),
        ("What helps?", "A pool; a server that closes first; more addresses; tcp_tw_reuse"),
    ),
)


@scenario.step("server", "The server listens on two ports.")
def listens(me: Actor) -> None:
    me.listeners = []
    for nth in range(2):
        listener = socket()
        bind(listener, me.at("server", nth))
        listen(listener, 8)
        me.listeners.append(listener)


@scenario.step("server", f"It serves {PORTS} clients; each closes first.", asleep_in="accept4")
def serves(me: Actor) -> None:
    for _ in range(PORTS):
        connection = accept(me.listeners[0])
        recv_to_end(connection)
        close(connection)


@scenario.step("client", f"The client opens and closes {PORTS} connections, one after another.", wakes="server",
               lasts=0.05, watch="TIME_WAIT at every port of the range")  # fmt: skip
def uses_up(me: Actor) -> None:
    for _ in range(PORTS):
        connection = socket()
        connect(connection, me.at("server"))
        close(connection)


@scenario.step("client", "One more: connect() fails at once.", watch="EADDRNOTAVAIL, and no packet")
def has_none(me: Actor) -> None:
    me.connection = socket()
    fails("EADDRNOTAVAIL", connect, me.connection, me.at("server"))


@scenario.step("client", "The same socket, to the server's other port: that works.", watch="a port twice")
def elsewhere(me: Actor) -> None:
    connect(me.connection, me.at("server", 1))


@scenario.step("server", "The server accepts it; both close.")
def accepts(me: Actor) -> None:
    close(accept(me.listeners[1]))
    for listener in me.listeners:
        close(listener)


@scenario.must_see("each port of the range has been used once when connect() fails")
def used_up(seen: Seen) -> str | None:
    failed = seen.actor("client").failed("connect", "EADDRNOTAVAIL")
    if failed is None:
        return "no connect() failed with EADDRNOTAVAIL"
    syns = [seen.connection(number).first("client", "SYN") for number in range(1, PORTS + 1)]
    if late := [syn for syn in syns if syn is None or syn.order > failed.enter.order]:
        return f"{len(late)} connections are missing before it"
    return seen.same(sorted(syn["sport"] for syn in syns if syn), list(RANGE), "the ports of the SYNs")


@scenario.must_see("TIME_WAIT holds every one of them at that moment, on the client's side, and no connection is open")
def held(seen: Seen) -> str | None:
    failed = seen.actor("client").failed("connect", "EADDRNOTAVAIL")
    for number in range(1, PORTS + 1):
        connection = seen.connection(number)
        wait = connection.timewait("client")
        if wait is None or connection.timewait("server") is not None:
            return f"TIME_WAIT of connection {number} is not the client's"
        if wrong := seen.in_order(
            ("a TIME_WAIT", wait.born),
            ("the server's side CLOSED", connection.reached("server", "CLOSE")),
            ("EADDRNOTAVAIL", failed.leave if failed else None),
        ):
            return wrong
        if wait.ended is not None and failed is not None and wait.ended.order < failed.enter.order:
            return f"TIME_WAIT of connection {number} was over"
    return None


@scenario.must_see("the connect() that fails sends nothing")
def nothing_sent(seen: Seen) -> str | None:
    failed = seen.actor("client").failed("connect", "EADDRNOTAVAIL")
    if failed is None or failed.leave is None:
        return "no connect() failed"
    during = [e for e in seen.all_of("packet:sent") if failed.enter.order < e.order < failed.leave.order]
    return seen.same(len(during), 0, "packets sent meanwhile")


@scenario.must_see("towards another port of the server, a local port that TIME_WAIT holds is used a second time")
def twice(seen: Seen) -> str | None:
    other = seen.listener(2).port
    sent = [packet for packet in seen.all_of("packet:sent") if packet["dport"] == other]
    if not sent:
        return "no packet went to the other port"
    return None if sent[0]["sport"] in RANGE else f"its port was {sent[0]['sport']}"


@scenario.must_see("the lint finds it, and says how many wait")
def linted(seen: Seen) -> str | None:
    found = [finding.words for finding in seen.lint("port-pressure")]
    return None if len(found) == 1 and f"{PORTS} connections are in TIME-WAIT" in found[0] else f"it found {found}"
