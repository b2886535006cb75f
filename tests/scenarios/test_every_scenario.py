"""Every scenario shows what it says it shows: played for real, and its checks asked of the kernel's own events.

Each is also an oracle for the replay engine: the states inferred from its packets are held against the kernel's.

With kernel probes every check must be *seen*, and none undecided; without them (packets and tables in a user namespace)
none may be *not seen*, and of the lifecycle some must be seen. In the ordinary run each is played over IPv4 and over
IPv6, one after the other. v4-mapped, those that take longer (`slow=True`), and without probes all but the lifecycle,
are left to `make soak`. `make scenarios` plays all of them twenty times in a row.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from scenarios import registry
from scenarios.performance import Performance, perform
from scenarios.script import Family, Scenario
from scenarios.sights import Seen
from scenarios.stage import Stage, StageError
from tests.scenarios.second_oracle import EXCEPTIONS
from tests.scenarios.second_oracle import differences as differences_between
from tests.scenarios.whole import Account, whole
from tracer.export import text
from tracer.recording.writer import Recorder

STALE = "nothing differs any more: take it out of the exceptions (tests/scenarios/second_oracle.py)"
LATE = [pytest.mark.slow, pytest.mark.timeout(3600)]


def marks(scenario: Scenario, family: Family) -> list[pytest.MarkDecorator]:
    """What it needs, and whether it is left out of the ordinary run."""
    late = LATE if scenario.slow or (family == "mapped" and len(scenario.families) > 1) else []
    needs = [pytest.mark.needs("go")] if scenario.go_programs else []
    return [*needs, *late]


SLOW = [scenario.name for scenario in registry.every() if scenario.slow]
EVERY = [
    pytest.param(scenario.name, family, marks=marks(scenario, family))
    for scenario in registry.every()
    for family in scenario.families
]


def recorded(name: str, family: Family, folder: Path, account: Account) -> tuple[Performance, list[str]]:
    """A performance, and where the states inferred from its recording's packets are others than the kernel's."""
    path = folder / "play.pcapng"

    def play() -> Performance:
        recorder = Recorder(str(path))
        try:
            return perform(Stage.of(name, family=family), aftermath=name in SLOW, sinks=[recorder])
        finally:
            recorder.close(recorder.written, 0)

    def differences(shown: Performance) -> list[str]:
        return differences_between(Seen(shown.timeline), path)

    def wrong(shown: Performance) -> list[str]:
        return [*shown.complaints(), *([] if name in EXCEPTIONS else differences(shown))]

    shown = whole(play, account, wrong)
    return shown, differences(shown)


def told(shown: Performance, complaints: list[str], folder: Path) -> str:
    """The complaints, and where all events are to be read."""
    file = folder / f"{shown.scenario.name}.txt"
    first = shown.timeline[0].time if len(shown.timeline) else 0
    file.write_text("\n".join(text.line(event, first, None) for event in shown.timeline.events()))
    return "\n".join([*complaints, f"its events: {file}"])


PLAIN = [
    pytest.param(scenario.name, marks=[*marks(scenario, "ipv4"), *([] if scenario.topic == "lifecycle" else LATE)])
    for scenario in registry.every()
    if not scenario.slow
]


@pytest.mark.kernel(own_network=True)
@pytest.mark.parametrize(("name", "family"), EVERY)
def test_all_that_must_be_seen_is_seen(
    name: str, family: Family, pytestconfig: pytest.Config, tmp_path: Path, account: Account
) -> None:
    for _ in range(pytestconfig.getoption("--repeat") or 1):
        shown, differences = recorded(name, family, tmp_path, account)
        wrong = shown.complaints(undecided=True)
        assert not wrong, told(shown, wrong, tmp_path)
        # Its packets alone, given to the replay engine, must tell the states that the kernel had.
        assert bool(differences) == (name in EXCEPTIONS), told(shown, differences or [STALE], tmp_path)


@pytest.mark.parametrize("name", PLAIN)
def test_without_rights_nothing_is_missed_that_could_be_told(
    name: str, pytestconfig: pytest.Config, tmp_path: Path, account: Account
) -> None:
    for _ in range(pytestconfig.getoption("--repeat") or 1):
        try:
            shown = perform(Stage.of(name, ("user-namespace",)), probes=False, pace=0.01)
        except StageError as refused:
            pytest.skip(str(refused))
        account["plays"] += 1
        wrong = shown.complaints()
        assert not wrong, told(shown, wrong, tmp_path)
        # What some of the others show is shown by probes alone: a timer, a reset's reason, a queue for a moment.
        if shown.scenario.topic == "lifecycle":
            assert any(outcome.verdict == "seen" for outcome in shown.outcomes)
