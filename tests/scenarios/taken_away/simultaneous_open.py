"""The wire holds nothing back: the first SYN meets nobody, for the other end has not called connect() yet."""

from __future__ import annotations

from scenarios.opening.simultaneous_open import scenario
from tests.scenarios.variants import taken_away

without_holding = taken_away(
    scenario,
    "without-holding",
    drop=(1,),
    change={2: {"lasts": 0.1}},  # the one SYN is there before the other leaves
    breaks=True,
    fails=("both sides go", "each SYN has left"),
)
