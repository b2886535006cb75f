"""TIME_WAIT that no RST can kill (tcp_rfc1337): the old segment stays out, and so does the connection on top of it."""

from __future__ import annotations

from scenarios.ending.old_duplicate import scenario
from tests.scenarios.variants import taken_away

with_rfc1337 = taken_away(
    scenario,
    "with-rfc1337",
    sysctls={"net.ipv4.tcp_rfc1337": "1"},
    breaks=True,
    fails=("the RST ends the TIME_WAIT", "and the server reads the old order"),
)
