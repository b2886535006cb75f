"""Without timestamps nothing tells old segments from new ones, and TIME_WAIT is never taken over."""

from __future__ import annotations

from scenarios.actor import Actor
from scenarios.calls import close, connect, fails, socket
from scenarios.limits.tw_reuse import scenario
from tests.scenarios.variants import taken_away


def connects_without(me: Actor) -> None:
    for nth in (1, 0):
        connection = socket()
        connect(connection, me.at("server", nth))
        close(connection)


def may_not(me: Actor) -> None:
    me.sysctl("net.ipv4.tcp_tw_reuse", 1)
    fails("EADDRNOTAVAIL", connect, me.connection, me.at("server"))


def ends(me: Actor) -> None:
    close(me.listener)


no_timestamps = taken_away(
    scenario,
    "no-timestamps",
    change={2: {"action": connects_without}, 6: {"action": may_not}, 8: {"action": ends}},
    sysctls={**scenario.sysctls, "net.ipv4.tcp_timestamps": "0"},
    fails=(
        "after a second it fails",
        "with it on, connect() ends",
        "the new connection has the same",
        "a connection that had no timestamps",
    ),
)
