"""Every scenario shows what it says it shows: played for real, and its checks asked of the kernel's own events.

With kernel probes every check must be *seen*, and none undecided; without them (packets and tables in a user namespace)
none may be *not seen*. Each is played twice in a row in its first family and once in each other; those that take
longer (`slow=True`) are left to `make soak`, and `--repeat 20` plays each as often (`make scenarios` does both).
"""

from __future__ import annotations

import pytest

from scenarios import registry
from scenarios.performance import perform
from scenarios.script import Family
from scenarios.stage import Stage, StageError

SLOW = [scenario.name for scenario in registry.every() if scenario.slow]
EVERY = [
    pytest.param(scenario.name, family, marks=[pytest.mark.slow, pytest.mark.timeout(900)] if scenario.slow else [])
    for scenario in registry.every()
    for family in scenario.families
]
PLAIN = [scenario.name for scenario in registry.every() if scenario.topic == "lifecycle" and not scenario.slow]


def times(name: str, family: Family, config: pytest.Config) -> int:
    """How often in a row."""
    first = registry.find(name).families[0]
    asked: int = config.getoption("--repeat")
    return asked or (2 if family == first and name not in SLOW else 1)


@pytest.mark.kernel
@pytest.mark.parametrize(("name", "family"), EVERY)
def test_all_that_must_be_seen_is_seen(name: str, family: Family, pytestconfig: pytest.Config) -> None:
    for _ in range(times(name, family, pytestconfig)):
        shown = perform(Stage.of(name, family=family), aftermath=name in SLOW)
        assert shown.complaints(undecided=True) == []


@pytest.mark.parametrize("name", PLAIN)
def test_without_rights_nothing_is_missed_that_could_be_told(name: str, pytestconfig: pytest.Config) -> None:
    for _ in range(pytestconfig.getoption("--repeat") or 1):
        try:
            shown = perform(Stage.of(name, ("user-namespace",)), probes=False, pace=0.01)
        except StageError as refused:
            pytest.skip(str(refused))
        assert shown.complaints() == []
        assert any(outcome.verdict == "seen" for outcome in shown.outcomes)
