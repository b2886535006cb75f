"""The acknowledgement is in time."""

from __future__ import annotations

from scenarios.talking.spurious import scenario
from tests.scenarios.variants import taken_away

in_time = taken_away(
    scenario, "in-time", drop=(4, 6), fails=("the data arrive more", "the server's answer to a copy", "the sender goes")
)
