"""A client that sends its request at once holds nobody."""

from __future__ import annotations

from scenarios.actor import Actor
from scenarios.calls import close, connect, recv, send, socket
from scenarios.limits.deadlines import GREETING, REQUEST, scenario
from tests.scenarios.variants import taken_away


def sends_the_rest(me: Actor) -> None:
    send(me.connection, REQUEST[1:])
    recv(me.connection, 4096)
    close(me.connection)


def sends_at_once(me: Actor) -> None:
    connection = socket()
    connect(connection, me.at("server"))
    recv(connection, len(GREETING))
    send(connection, REQUEST)
    recv(connection, 4096)
    close(connection)


quick = taken_away(
    scenario,
    "quick",
    change={5: {"action": sends_the_rest}, 7: {"action": sends_at_once}},
    fails=("without a limit one client's dripping", "SO_RCVTIMEO never strikes"),
)
