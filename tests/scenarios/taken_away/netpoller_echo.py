"""The netpoller's story told of another server, and of a client that does not half-close."""

from __future__ import annotations

from scenarios.actor import Actor
from scenarios.calls import send
from scenarios.servers.netpoller_echo import LAST, scenario
from tests.scenarios.variants import nothing, taken_away


def only_speaks(me: Actor) -> None:
    send(me.connection, LAST)


argv = scenario.steps[0].program
threads = tuple(word.replace("netpoll_one", "threads") for word in argv if word != "--report")

served_by_threads = taken_away(
    scenario,
    "served-by-threads",
    change={1: {"program": threads}},
    fails=("each park has its EAGAIN", "the table holds the descriptors", "in the end one task"),
)

without_shutdown = taken_away(
    scenario,
    "without-shutdown",
    change={4: {"action": only_speaks}, 5: {"action": nothing}},
    fails=("in the end one task is left", "the client half-closes", "the table holds the descriptors"),
)
