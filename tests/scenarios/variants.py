"""Scenarios with one thing taken away, to see that their checks notice.

A check that holds whatever happens shows nothing. So for a scenario there may be a file beside this one,
`taken_away/NAME.py`, which makes variants of it: a step left out or played otherwise, an impairment removed, another
backlog. Each names the checks that must fail then (by the beginning of their text), and `test_taken_away.py` plays it
with kernel probes and looks that exactly this is so. The pattern:

    from scenarios.lifecycle.half_close import scenario
    from tests.scenarios.variants import nothing, taken_away

    without_shutdown = taken_away(
        scenario,
        "without-shutdown",                              # name of the variant
        drop=(9, 10),                                    # steps that are not played, by their numbers
        change={8: {"action": nothing, "wakes": ()}},    # fields of steps (scenarios.script.Step) put otherwise
        fails=("the client's side goes through",),       # these are not seen any more
        impairments=(),                                  # any other field of the scenario, put otherwise
    )

Such a file is read by the actors' processes too, as any script is: it must not import pytest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from scenarios.actor import Actor
from scenarios.script import Scenario, Step


@dataclass
class TakenAway(Scenario):
    """A scenario without something it needs."""

    fails: tuple[str, ...] = ()
    """Beginnings of the texts of the checks that are not seen then."""
    breaks: bool = False
    """The play itself may fail, too."""


def nothing(me: Actor) -> None:
    """An action in whose place nothing is done."""


def taken_away(
    original: Scenario,
    name: str,
    *,
    fails: tuple[str, ...],
    drop: tuple[int, ...] = (),
    change: Mapping[int, Mapping[str, Any]] | None = None,
    breaks: bool = False,
    **otherwise: Any,
) -> TakenAway:
    """A variant of a scenario, as the module's docstring shows. Raises ValueError for a check or step there is not."""
    changed = change or {}
    numbers = {step.number for step in original.steps}
    if unknown := (set(drop) | set(changed)) - numbers:
        raise ValueError(f"{original.name} has no step {min(unknown)}")
    for beginning in fails:
        if not any(sight.text.startswith(beginning) for sight in original.sights):
            raise ValueError(f"{original.name} has no check {beginning!r}")
    steps: list[Step] = []
    for step in original.steps:
        if step.number not in drop:
            steps.append(replace(step, **changed.get(step.number, {}), number=len(steps) + 1))
    same = {field.name: getattr(original, field.name) for field in fields(Scenario)}
    same |= {"name": f"{original.name}-{name}", "steps": steps} | otherwise
    return TakenAway(**same, fails=fails, breaks=breaks)
