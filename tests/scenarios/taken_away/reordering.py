"""Nothing is overtaken."""

from __future__ import annotations

from scenarios.talking.reordering import scenario
from tests.scenarios.variants import taken_away

in_order = taken_away(
    scenario, "in-order", drop=(4,), fails=("the segments leave in one order", "the receiver tells of the gap")
)
