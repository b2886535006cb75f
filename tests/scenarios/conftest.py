"""Stages for the tests: each kind of place a play can have, skipped with the reason where it is refused.

And an account of the plays: how many there were, and which were played again because they had not been seen as a whole
(tests/scenarios/whole.py). It stands at the end of `make scenarios`, for a play that is played again is not a failure,
but neither should it go unsaid.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest

from scenarios.namespaces import Kind
from scenarios.play import Play
from scenarios.script import Family
from scenarios.stage import Stage, StageError
from tests.scenarios.whole import Account

if not sys.platform.startswith("linux"):
    collect_ignore_glob = ["test_*.py"]

Perform = Callable[..., Play]


@pytest.fixture
def perform() -> Iterator[Perform]:
    """Open a stage and start a play on it; both end with the test."""
    plays: list[Play] = []

    def start(name: str, kinds: tuple[Kind, ...] | None = None, family: Family | None = None, **how: object) -> Play:
        stage = Stage.of(name, kinds, family)
        try:
            stage.open()
        except StageError as failure:
            if kinds and "refused" in str(failure):
                pytest.skip(str(failure))
            raise
        play = Play(stage, **how)  # type: ignore[arg-type]
        plays.append(play)
        play.start()
        return play

    yield start
    for play in plays:
        play.stop()
        play.stage.close()


@pytest.fixture
def account(request: pytest.FixtureRequest) -> Account:
    """Where a test notes its plays; travels with its report."""
    noted = Account(plays=0, again=[])
    request.node.user_properties.append(("plays", noted))
    return noted


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """How many plays there were, and why some were played again; only where they are repeated."""
    if not config.getoption("--repeat"):
        return
    reports = [one for each in terminalreporter.stats.values() for one in each if getattr(one, "when", "") == "call"]
    noted: list[Account] = [value for one in reports for key, value in one.user_properties if key == "plays"]
    again = [line for one in noted for line in one["again"]]
    plays = sum(one["plays"] for one in noted)
    terminalreporter.write_line(f"plays: {plays}; not seen as a whole, and played again up to twice: {len(again)}")
    for line in again:
        terminalreporter.write_line(f"  {line}")
