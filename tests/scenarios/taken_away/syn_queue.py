"""No cookies in the second half: its flood is dropped like the first, and the honest client with it."""

from __future__ import annotations

from scenarios.actor import Actor
from scenarios.calls import bind, close, listen, socket
from scenarios.opening.syn_queue import BACKLOG, scenario
from tests.scenarios.variants import taken_away


def listens_without(me: Actor) -> None:
    close(me.listener)
    me.listener = socket()
    bind(me.listener, me.at("server", 1))
    listen(me.listener, BACKLOG)


without_cookies = taken_away(
    scenario,
    "without-cookies",
    change={4: {"action": listens_without}},
    breaks=True,
    fails=("with cookies every SYN",),
)
