"""A larger backlog: nothing overflows."""

from __future__ import annotations

from scenarios.actor import Actor
from scenarios.calls import SOCK_NONBLOCK, begin_connect, bind, listen, socket
from scenarios.opening.accept_queue import scenario
from tests.scenarios.variants import taken_away


def listens_wide(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 16)


def one_more(me: Actor) -> None:
    me.late = socket(SOCK_NONBLOCK)
    begin_connect(me.late, me.at("server"))


larger_backlog = taken_away(
    scenario,
    "larger-backlog",
    change={1: {"action": listens_wide}, 3: {"action": one_more}},
    fails=("the accept queue grows", "the SYN that finds", "the kernel counts", "its client is in SYN_SENT"),
)
