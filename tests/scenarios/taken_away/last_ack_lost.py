"""The last ACK arrives: there is no second FIN."""

from __future__ import annotations

from scenarios.ending.last_ack_lost import scenario
from tests.scenarios.variants import taken_away

without_loss = taken_away(
    scenario,
    "without-loss",
    drop=(5,),
    fails=("the server's FIN leaves twice", "the server sends its FIN again", "the second FIN is answered"),
)
