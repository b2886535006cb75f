"""The client closes first: TIME_WAIT is its own, so no SYN of its port comes to meet one at the server."""

from __future__ import annotations

from scenarios.actor import Actor
from scenarios.calls import bind, close, connect, setsockopt, socket
from scenarios.ending.time_wait_reuse import PORT, scenario
from tests.scenarios.variants import taken_away


def connects_and_closes(me: Actor) -> None:
    me.connection = socket()
    setsockopt(me.connection, "SO_REUSEADDR", 1)
    bind(me.connection, (me.host, PORT))
    connect(me.connection, me.at("server"))
    close(me.connection)


def connects_otherwise(me: Actor) -> None:
    me.connection = socket()
    connect(me.connection, me.at("server"))


client_first = taken_away(
    scenario,
    "client-first",
    change={2: {"action": connects_and_closes, "asleep_in": ""}, 3: {"wakes": ()}, 5: {"action": connects_otherwise}},
    drop=(4,),
    fails=("the first connection leaves", "the second one has the same", "its SYN ends the TIME_WAIT"),
)
