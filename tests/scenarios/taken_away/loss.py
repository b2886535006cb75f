"""Nothing is lost."""

from __future__ import annotations

from scenarios.talking.loss import scenario
from tests.scenarios.variants import taken_away

without_loss = taken_away(
    scenario,
    "without-loss",
    drop=(4,),
    fails=("one segment of data", "the server repeats its ACK", "the client sends exactly", "its congestion state"),
)
