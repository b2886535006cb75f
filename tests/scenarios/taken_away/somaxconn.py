"""A somaxconn as large as what is asked for caps nothing."""

from __future__ import annotations

from scenarios.limits.somaxconn import scenario
from tests.scenarios.variants import nothing, taken_away

no_cap = taken_away(
    scenario,
    "no-cap",
    change={3: {"action": nothing}},
    sysctls={"net.core.somaxconn": "4096", "net.ipv4.tcp_syncookies": "0"},
    fails=("listen() with 1,000", "the queue overflows", "only the second listen()"),
)
