"""A letter without such a line: the mark ends it where it should, and the close is a FIN."""

from __future__ import annotations

from scenarios.actor import Actor
from scenarios.calls import close, connect, recv, send, socket
from scenarios.talking.sentinel import END, scenario
from tests.scenarios.variants import taken_away


def sends_harmless(me: Actor) -> None:
    me.connection = socket()
    connect(me.connection, me.at("server"))
    send(me.connection, b"Dear Sir,\nall is well.\n" + END)


def reads_the_end(me: Actor) -> None:
    recv(me.connection, 100)
    close(me.connection)


harmless = taken_away(
    scenario,
    "harmless",
    change={2: {"action": sends_harmless}, 4: {"action": reads_the_end}},
    fails=("the server has read up to", "the rest of the letter", "so the server's close"),
)
