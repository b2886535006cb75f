"""Without TCP_DEFER_ACCEPT the server is woken by the handshake alone."""

from __future__ import annotations

from scenarios.actor import Actor
from scenarios.calls import accept, bind, listen, socket
from scenarios.opening.deferred_accept import scenario
from tests.scenarios.variants import taken_away


def listens_plainly(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)
    me.connection = accept(me.listener)


without_deferring = taken_away(
    scenario,
    "without-deferring",
    change={1: {"action": listens_plainly}, 2: {"wakes": ("server",)}, 3: {"wakes": ()}},
    fails=(
        "the client is ESTABLISHED before",
        "the server's thread sleeps",
        "the request sock stays",
        "the accept queue",
    ),
)
