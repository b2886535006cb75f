"""The load's screen over a feed that a test fills."""

from __future__ import annotations

from typing import Any

import pytest

from scenarios.load.report import Moment, Usage
from scenarios.servers.service import COUNTERS
from tests.tui.waiting import until
from tui.load import LoadApp
from tui.load_feed import LoadFeed, busy, rates, standing
from tui.plot import plot, resampled
from tui.widgets.load_plots import drawn


def moment(model: str, second: float, **counted: int) -> Moment:
    return Moment(model, "talk", second, dict.fromkeys(COUNTERS, 0) | counted, 3, Usage(cpu=second / 2, memory=1 << 20))


def figures(model: str, **told: Any) -> dict[str, Any]:
    return {"model": model, "errors": {}, "server": {}, "notes": []} | told


@pytest.fixture
def feed() -> LoadFeed:
    made = LoadFeed("10 connections", ("one", "two"))
    for second in range(3):
        made.saw("one", 1, moment("one", second, accepted=10, messages=100 * second))
    made.ended("one", figures("one", held=10, threads=1))
    made.saw("two", 1, moment("two", 0, accepted=5))
    made.saw("two", 1, moment("two", 1, accepted=10, messages=50))
    return made


def test_plots_keep_peaks_and_show_all_above_zero() -> None:
    assert resampled([0, 9, 0, 0, 1, 0], 3) == [9, 0, 1]
    assert plot([0, 0.01, 8, 16], 6, 2, 16) == ["   █  ", " ▁██  "]
    assert plot([], 3, 1) == ["   "] and plot([0, 0], 3, 1) == ["   "]


def test_series_are_worked_out_of_moments(feed: LoadFeed) -> None:
    assert rates(feed.moments["one"], "messages") == [100, 100]
    assert busy(feed.moments["one"]) == [0.5, 0.5]
    assert standing(feed.moments["two"]) == [5, 10]


def test_models_stand_side_by_side_on_one_scale(feed: LoadFeed) -> None:
    lines = drawn(feed, 60, 1)
    assert lines[0].split() == ["one", "▶", "two"]
    at = next(n for n, line in enumerate(lines) if line.startswith("messages/s"))
    assert lines[at].split() == ["messages/s", "100", "messages/s", "50"]
    assert lines[at + 1].split() == ["██", "▄"]
    assert "two" in drawn(feed, 10, 1)[0] and "one" not in drawn(feed, 10, 1)[0], "the one under way, if one only"


async def test_screen(feed: LoadFeed) -> None:
    app = LoadApp(feed, ascii_only=True)
    async with app.run_test(size=(100, 40)) as pilot:

        def shown() -> str:
            return "\n".join(str(each.render()) for each in app.screen.query("Static"))

        await until(lambda: "load 2 of 2: two, run 1: messages flow, 1 s" in shown())
        assert "held to the end" in shown()
        feed.ended("two", figures("two", held=10, threads=1))
        feed.over = True
        await pilot.press("t")
        await until(lambda: "done: 2 of 2 loads" in shown() and "q quit" in shown())
        assert not app.screen.query_one("#load-plots").display
        await pilot.press("q")
    assert app.return_code == 0
