"""A Go client that dials while nothing holds the answer: it need not wait."""

from __future__ import annotations

from scenarios.servers.go_dial import scenario
from tests.scenarios.variants import nothing, taken_away

nothing_held = taken_away(
    scenario,
    "nothing-held",
    change={2: {"action": nothing}},
    fails=("while the SYN-ACK is on its way", "the SYN-ACK makes it ESTABLISHED"),
)
