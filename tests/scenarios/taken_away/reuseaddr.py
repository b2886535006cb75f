"""The client closes first: the port is free at once, and bind() is never refused for a TIME_WAIT."""

from __future__ import annotations

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, recv_to_end, socket
from scenarios.limits.reuseaddr import scenario
from tests.scenarios.variants import taken_away


def connects_and_closes(me: Actor) -> None:
    me.connection = socket()
    connect(me.connection, me.at("server"))
    close(me.connection)


def closes_second(me: Actor) -> None:
    connection = accept(me.listener)
    recv_to_end(connection)
    close(connection)
    close(me.listener)


def binds(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    close(me.listener)
    me.listener = socket()


client_first = taken_away(
    scenario,
    "client-first",
    change={
        2: {"action": connects_and_closes, "asleep_in": ""},
        3: {"action": closes_second, "wakes": ()},
        4: {"action": binds},
    },
    fails=("bind() is refused without", "when it is refused first", "with the option the new listener"),
)
