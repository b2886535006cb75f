"""A handler that closes: no descriptor is ever missing."""

from __future__ import annotations

from scenarios.actor import Actor
from scenarios.calls import accept, close, recv, send
from scenarios.resources.close_wait_leak import ANSWER, LEAKED, scenario
from tests.scenarios.variants import nothing, taken_away


def handles_and_closes(me: Actor) -> None:
    for _ in range(LEAKED):
        connection = accept(me.listener)
        send(connection, ANSWER + recv(connection, 4096)[:0])
        recv(connection, 4096)
        close(connection)


def serves_one_more(me: Actor) -> None:
    connection = accept(me.listener)
    send(connection, ANSWER)
    close(connection)


def closes_the_listener(me: Actor) -> None:
    close(me.listener)


closed = taken_away(
    scenario,
    "closed",
    change={
        2: {"action": handles_and_closes},
        5: {"action": nothing},
        6: {"action": serves_one_more},
        7: {"action": closes_the_listener},
    },
    fails=(
        "4 connections are in CLOSE_WAIT",
        "each accept() gets a descriptor of its own",
        "its client sleeps",
        "the lints find",
    ),
)
