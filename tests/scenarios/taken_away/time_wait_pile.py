"""The clients close first: the server collects nothing, and the pile is theirs."""

from __future__ import annotations

from scenarios.actor import Actor
from scenarios.calls import accept, close, connect, recv, socket
from scenarios.resources.time_wait_pile import BEYOND, MANY, ROOM, scenario
from tests.scenarios.variants import taken_away


def serve(me: Actor, many: int) -> None:
    for _ in range(many):
        connection = accept(me.listener)
        recv(connection, 4096)
        close(connection)


def come(me: Actor, many: int) -> None:
    for _ in range(many):
        connection = socket()
        connect(connection, me.at("server"))
        close(connection)


clients_first = taken_away(
    scenario,
    "clients-first",
    change={
        2: {"action": lambda me: serve(me, MANY)},
        3: {"action": lambda me: come(me, MANY)},
        4: {"action": lambda me: serve(me, ROOM + BEYOND)},
        5: {"action": lambda me: come(me, ROOM + BEYOND)},
    },
    fails=("each of the first 100", "beyond tcp_max_tw_buckets"),
)
