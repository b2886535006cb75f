"""Half-close without shutdown(): the connection ends all the same, but the other side closes first and in one go."""

from __future__ import annotations

from scenarios.actor import Actor
from scenarios.calls import recv, send
from scenarios.lifecycle.half_close import scenario
from tests.scenarios.variants import nothing, taken_away


def echoes_and_stays_awake(me: Actor) -> None:
    send(me.connection, recv(me.connection, 4096))


without_shutdown = taken_away(
    scenario,
    "without-shutdown",
    change={6: {"action": echoes_and_stays_awake, "asleep_in": ""}, 7: {"action": nothing, "wakes": ()}},
    drop=(9,),
    fails=(
        "the client's side goes through ESTABLISHED, FIN_WAIT1",
        "data flow from the server after the client's FIN",
        "the client reads those data",
        "TIME_WAIT begins on the client's side",
    ),
)
