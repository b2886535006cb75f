"""A listener that does not allow fast open gives no cookie: the second visit is like the first."""

from __future__ import annotations

from scenarios.actor import Actor
from scenarios.calls import bind, listen, socket
from scenarios.opening.fast_open import scenario
from tests.scenarios.variants import taken_away


def listens_plainly(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


without_cookie = taken_away(
    scenario,
    "without-cookie",
    change={1: {"action": listens_plainly}},
    fails=("the second SYN carries", "its SYN-ACK acknowledges", "the second connection has a full socket"),
)
