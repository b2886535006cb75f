"""The large buffer both times: the difference is gone."""

from __future__ import annotations

from scenarios.actor import Actor
from scenarios.calls import close, recv
from scenarios.limits.read_buffer_size import LARGE, scenario
from tests.scenarios.variants import taken_away


def reads_much(me: Actor) -> None:
    while recv(me.connections[0], LARGE):
        pass
    close(me.connections[0])


large_twice = taken_away(
    scenario, "large-twice", change={4: {"action": reads_much}}, fails=("with 128 bytes it takes",)
)
