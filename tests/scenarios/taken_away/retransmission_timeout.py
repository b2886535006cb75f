"""Nothing is lost."""

from __future__ import annotations

from scenarios.talking.retransmission_timeout import scenario
from tests.scenarios.variants import taken_away

without_loss = taken_away(
    scenario, "without-loss", drop=(4,), fails=("the word leaves", "a timer is behind", "the congestion state is loss")
)
