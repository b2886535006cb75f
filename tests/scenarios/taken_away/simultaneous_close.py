"""Simultaneous close on a wire that holds nothing back: the second side to close is a passive one."""

from __future__ import annotations

from scenarios.ending.simultaneous_close import scenario
from tests.scenarios.variants import taken_away

without_holding = taken_away(
    scenario,
    "without-holding",
    drop=(4, 7),
    fails=("both sides go through", "neither side is ever", "each FIN has left", "both sides have a TIME_WAIT"),
)
