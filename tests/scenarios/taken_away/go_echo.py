"""The Go server's story with a client that does not half-close, and with none at all."""

from __future__ import annotations

from scenarios.servers.go_echo import scenario
from tests.scenarios.variants import nothing, taken_away

without_end = taken_away(
    scenario,
    "without-end",
    change={4: {"action": nothing}, 5: {"action": nothing}},
    fails=("EOF: the FIN is readiness", "closed: the table has the listener alone", "the client half-closes"),
)

nobody_comes = taken_away(
    scenario,
    "nobody-comes",
    change={number: {"action": nothing} for number in (2, 3, 4, 5)},
    fails=("connection accepted: both", "before each park the descriptor"),
)
