"""Every scenario shows what it says it shows: played for real, and its checks asked of the kernel's own events.

With kernel probes every check must be *seen*, and none undecided; without them (packets and tables in a user namespace)
none may be *not seen*. Each is played twice in a row in its first family and once in each other; those that take
longer than some ten seconds (`slow=True`) are left to `make soak`, which plays the whole set with `--repeat 20`.
"""

from __future__ import annotations

import pytest

from scenarios import registry
from scenarios.performance import perform
from scenarios.stage import Stage, StageError

NAMES = registry.names()
PLAIN = [scenario.name for scenario in registry.every() if scenario.topic == "lifecycle"]


@pytest.mark.kernel
@pytest.mark.parametrize("name", NAMES)
def test_all_that_must_be_seen_is_seen(name: str, pytestconfig: pytest.Config) -> None:
    for _ in range(pytestconfig.getoption("--repeat", 0) or 2):
        shown = perform(Stage.of(name))
        assert shown.complaints(undecided=True) == []


@pytest.mark.parametrize("name", PLAIN)
def test_without_rights_nothing_is_missed_that_could_be_told(name: str, pytestconfig: pytest.Config) -> None:
    stage = Stage.of(name, ("user-namespace",))
    for _ in range(pytestconfig.getoption("--repeat", 0) or 1):
        try:
            shown = perform(stage, probes=False, pace=0.01)
        except StageError as refused:
            pytest.skip(str(refused))
        assert shown.complaints() == []
        assert any(outcome.verdict == "seen" for outcome in shown.outcomes)
