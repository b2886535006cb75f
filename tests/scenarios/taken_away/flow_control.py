"""A large receive buffer: the window never closes."""

from __future__ import annotations

from scenarios.actor import Actor
from scenarios.calls import MSG_DONTWAIT, bind, listen, send, send_all, socket
from scenarios.talking.flow_control import MUCH, PIECE, scenario
from tests.scenarios.variants import taken_away


def listens_wide(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


def sends_a_little(me: Actor) -> None:
    me.share(sent=send(me.connection, PIECE, MSG_DONTWAIT))


def goes_through(me: Actor) -> None:
    send_all(me.connection, PIECE)
    send_all(me.connection, MUCH[len(PIECE) :])


large_buffer = taken_away(
    scenario,
    "large-buffer",
    change={
        1: {"action": listens_wide},
        4: {"action": sends_a_little},
        5: {"lasts": 0.0},
        6: {"action": goes_through, "asleep_in": ""},
        7: {"wakes": ()},
    },
    fails=(
        "the server tells a window of zero",
        "bytes lie unread",
        "the client's persist timer",
        "when the server reads",
    ),
)
