"""A reader that reads until EAGAIN each time: nothing turns, no edge is lost."""

from __future__ import annotations

from scenarios.actor import Actor
from scenarios.calls import MSG_DONTWAIT, epoll_wait, fails, recv
from scenarios.limits.level_and_edge import scenario
from tests.scenarios.variants import taken_away


def reads_by_level(me: Actor) -> None:
    epoll_wait(me.level)
    recv(me.first, 4096)


def reads_by_edge(me: Actor) -> None:
    epoll_wait(me.edge)
    recv(me.second, 4096, MSG_DONTWAIT)
    fails("EAGAIN", recv, me.second, 4096, MSG_DONTWAIT)


reads_on = taken_away(
    scenario,
    "reads-on",
    change={4: {"action": reads_by_level}, 6: {"action": reads_by_edge}},
    fails=("by level it is told each time", "by edge it is told once", "one new byte", "the lints find both"),
)
