"""kill -9 of a server that had read everything: no RST, both connections look well ended."""

from __future__ import annotations

from scenarios.actor import Actor
from scenarios.calls import close, recv
from scenarios.ending.crash import scenario
from tests.scenarios.variants import taken_away


def says_nothing(me: Actor) -> None:
    recv(me.quiet, 100)


def reads_ends(me: Actor) -> None:
    recv(me.quiet, 100)
    recv(me.busy, 100)
    close(me.quiet)
    close(me.busy)


without_unread_data = taken_away(
    scenario,
    "without-unread-data",
    change={4: {"action": says_nothing}, 6: {"action": reads_ends}},
    fails=("on the second one", "both leave", "the client reads an end of file here"),
)
