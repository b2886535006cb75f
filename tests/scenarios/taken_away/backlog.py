"""Every backlog is 16: none is ever full."""

from __future__ import annotations

from scenarios.actor import Actor
from scenarios.calls import bind, listen, socket
from scenarios.limits.backlog import BACKLOGS, scenario
from tests.scenarios.variants import nothing, taken_away


def listens_wide(me: Actor) -> None:
    me.listeners = []
    for nth in range(len(BACKLOGS)):
        listener = socket()
        bind(listener, me.at("server", nth))
        listen(listener, 16)
        me.listeners.append(listener)


wide = taken_away(
    scenario,
    "wide",
    change={1: {"action": listens_wide}, 4: {"action": nothing}},
    fails=("each queue takes", "the next SYN finds", "a second"),
)
