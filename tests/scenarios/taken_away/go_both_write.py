"""The same bytes, few enough for the buffers; and a second task that reads from the beginning."""

from __future__ import annotations

from scenarios.actor import Actor
from scenarios.calls import recv_exactly, send
from scenarios.servers.go_both_write import scenario
from tests.scenarios.variants import taken_away

LITTLE = 1000


def writes_little(me: Actor) -> None:
    send(me.connection, b"x" * LITTLE)


def reads_little(me: Actor) -> None:
    recv_exactly(me.connection, LITTLE)


little = taken_away(
    scenario,
    "little",
    change={3: {"action": writes_little, "asleep_in": ""}, 4: {"action": reads_little, "wakes": ()}},
    fails=("both are stuck", "it wanted to write", "both windows are closed"),
)
