"""One listener only: nothing is dealt out, and after it nobody is left."""

from __future__ import annotations

from scenarios.actor import Actor
from scenarios.calls import bind, listen, setsockopt, socket
from scenarios.limits.reuseport import CLIENTS, scenario
from tests.scenarios.variants import nothing, taken_away


def listens_alone(me: Actor) -> None:
    listener = socket()
    setsockopt(listener, "SO_REUSEPORT", 1)
    bind(listener, me.at("server"))
    listen(listener, 2 * CLIENTS)
    me.listeners = [listener]


alone = taken_away(
    scenario,
    "alone",
    change={1: {"action": listens_alone}, 5: {"action": nothing}},
    fails=("3 sockets are in LISTEN", "the 12 that come later"),
)
