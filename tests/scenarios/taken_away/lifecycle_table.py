"""The server closes first: TIME_WAIT is its, and the client's things go all at once."""

from __future__ import annotations

from scenarios.actor import Actor
from scenarios.calls import close, epoll_wait, recv, recv_exactly, send
from scenarios.resources.lifecycle_table import WORDS, scenario
from tests.scenarios.variants import taken_away


def reads_to_the_end(me: Actor) -> None:
    recv_exactly(me.connection, len(WORDS))
    recv(me.connection, 4096)
    close(me.connection)


def answers_and_closes(me: Actor) -> None:
    recv_exactly(me.connection, len(WORDS))
    send(me.connection, WORDS)
    close(me.connection)
    epoll_wait(me.poll, 0)


def ends(me: Actor) -> None:
    close(me.listener)
    close(me.poll)


server_first = taken_away(
    scenario,
    "server-first",
    change={
        5: {"action": answers_and_closes, "asleep_in": ""},
        6: {"action": reads_to_the_end, "wakes": ()},
        7: {"action": ends},
    },
    fails=("the server has no TIME_WAIT", "the TIME_WAIT object is freed last of all"),
)
