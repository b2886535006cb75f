"""A pool in the second half as well: there is no difference to be counted."""

from __future__ import annotations

from scenarios.resources.pool_against_per_request import answers_on_one, asks_on_one, scenario
from tests.scenarios.variants import taken_away

pool_twice = taken_away(
    scenario,
    "pool-twice",
    change={4: {"action": answers_on_one}, 5: {"action": asks_on_one}},
    fails=(
        "all 40 requests are answered",
        "a connection each takes at least twice as many packets",
        "and more than twice as many",
        "two sockets are made",
        "one TIME_WAIT is left",
    ),
)
