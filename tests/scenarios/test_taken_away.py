"""A scenario's checks fail when what it shows is taken away (tests/scenarios/variants.py says how to add one)."""

from __future__ import annotations

from pathlib import Path

import pytest

from scenarios import registry
from scenarios.performance import Performance, perform
from scenarios.stage import Stage
from tests.scenarios.variants import TakenAway, taken_away
from tests.scenarios.whole import Account, whole

FOLDER = Path(__file__).resolve().parent / "taken_away"


def variants(file: Path) -> list[TakenAway]:
    """All that a file makes."""
    return [value for value in vars(registry.module_of(file)).values() if isinstance(value, TakenAway)]


def needs(variant: TakenAway) -> list[pytest.MarkDecorator]:
    """What it takes to play it."""
    return [pytest.mark.needs("go")] if variant.go_programs else []


EVERY = [
    pytest.param(file, variant, id=variant.name, marks=needs(variant))
    for file in sorted(FOLDER.glob("*.py"))
    for variant in variants(file)
]


@pytest.mark.kernel(own_network=True)
@pytest.mark.parametrize(("file", "variant"), EVERY)
def test_what_is_not_there_is_not_seen(file: Path, variant: TakenAway, account: Account) -> None:
    def unnoticed(shown: Performance) -> list[str]:
        missed = [outcome.text for outcome in shown.outcomes if outcome.verdict == "not seen"]
        held = [beginning for beginning in variant.fails if not any(text.startswith(beginning) for text in missed)]
        return [f"this holds although it was taken away: {beginning}" for beginning in held]

    shown = whole(lambda: perform(Stage.of(f"{file}#{variant.name}")), account, unnoticed)
    assert variant.breaks or shown.failure == ""
    assert unnoticed(shown) == []


def test_every_file_takes_something_from_a_scenario_there_is() -> None:
    for file in FOLDER.glob("*.py"):
        assert variants(file), file.name
        assert file.stem.replace("_", "-") in registry.names()


def test_a_variant_names_steps_and_checks_there_are() -> None:
    scenario = registry.find("half-close")
    with pytest.raises(ValueError, match="half-close has no step 99"):
        taken_away(scenario, "x", drop=(99,), fails=())
    with pytest.raises(ValueError, match="half-close has no check 'pigs fly'"):
        taken_away(scenario, "x", fails=("pigs fly",))
    shorter = taken_away(scenario, "x", drop=(3,), fails=())
    assert [step.number for step in shorter.steps] == list(range(1, len(scenario.steps)))
