"""tcp_abort_on_overflow left at 0: the second half is like the first, and the client waits for a RST in vain."""

from __future__ import annotations

from scenarios.actor import Actor
from scenarios.calls import bind, close, listen, socket
from scenarios.opening.accept_queue_abort import BACKLOG, scenario
from tests.scenarios.variants import taken_away


def listens_again(me: Actor) -> None:
    close(me.listener)
    me.listener = socket()
    bind(me.listener, me.at("server", 1))
    listen(me.listener, BACKLOG)


without_abort = taken_away(
    scenario,
    "without-abort",
    change={4: {"action": listens_again}},
    breaks=True,
    fails=("with tcp_abort_on_overflow",),
)
