"""Stages for the tests: each kind of place a play can have, skipped with the reason where it is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest

from scenarios.namespaces import Kind
from scenarios.play import Play
from scenarios.script import Family
from scenarios.stage import Stage, StageError

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
