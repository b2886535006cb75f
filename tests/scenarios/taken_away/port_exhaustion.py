"""The server closes first: TIME_WAIT is its, and the client's ports are free again at once."""

from __future__ import annotations

from scenarios.actor import Actor
from scenarios.calls import accept, close, connect, recv_to_end, socket
from scenarios.resources.port_exhaustion import PORTS, scenario
from tests.scenarios.variants import nothing, taken_away


def closes_first(me: Actor) -> None:
    for _ in range(PORTS):
        close(accept(me.listeners[0]))


def closes_second(me: Actor) -> None:
    for _ in range(PORTS):
        connection = socket()
        connect(connection, me.at("server"))
        recv_to_end(connection)
        close(connection)


def one_more(me: Actor) -> None:
    me.connection = socket()
    connect(me.connection, me.at("server"))


def accepts(me: Actor) -> None:
    for listener in me.listeners:
        close(listener)


server_first = taken_away(
    scenario,
    "server-first",
    change={
        2: {"action": closes_first},
        3: {"action": closes_second},
        4: {"action": one_more},
        5: {"action": nothing},
        6: {"action": accepts},
    },
    fails=(
        "each port of the range", "TIME_WAIT holds every one", "the connect() that fails", "the lint finds it"
    ),
)  # fmt: skip
