"""Without window scaling the large buffer that was set in time is of no use, either."""

from __future__ import annotations

from scenarios.limits.buffer_sizes import scenario
from tests.scenarios.variants import taken_away

no_scaling = taken_away(
    scenario,
    "no-scaling",
    isolation="required",
    sysctls={"net.ipv4.tcp_window_scaling": "0"},
    fails=("the SYN's window scale", "the early one's window"),
)
