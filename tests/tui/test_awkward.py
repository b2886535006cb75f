"""Traces that nobody would draw in a book: no beginning, equal times, times that go back, one event, none."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest
from rich.cells import cell_len
from textual.widget import Widget

from tests.tui.conftest import MakeApp
from tests.tui.stories import C, Story, V, half_close
from tests.tui.test_plainness import screen_lines
from tests.tui.test_screen import settled
from tracer.segments import ACK, FIN, PSH
from tracer.states import State
from tracer.timeline import Timeline
from tui.ladder.widget import Ladder
from tui.panes import NAMES

LONGEST_WIDGET = 400
"""Lines."""


def begun_before() -> Timeline:
    """The first that is seen of it is data, the other way round; then its end."""
    story = Story()
    story.packet(1, 1, V, PSH | ACK, 7000, 900, 100)
    story.packet(2, 1, C, ACK, 900, 7100)
    story.state(3, 1, C, State.ESTABLISHED, State.FIN_WAIT1)
    story.packet(3.1, 1, C, FIN | ACK, 900, 7100)
    return story.onto()


def one_moment() -> Timeline:
    """Everything in the same nanosecond."""
    story = Story()
    for seq in range(5):
        story.packet(1, 1, C, PSH | ACK, 100 + seq * 10, 1, 10)
    return story.onto()


def out_of_order() -> Timeline:
    """A source that comes late: its events are older than what is on the timeline."""
    first, late = Story(), Story()
    half_close(first, 1, 100)
    half_close(late, 2, 0)
    return late.onto(first.onto())


def one_lane() -> Timeline:
    """Calls alone: no wire, no kernel."""
    story = Story()
    story.call(0, 1, C, "connect", 5)
    story.call(1, 1, C, "connect", 5, ret=-111)
    return story.onto()


TRACES = {trace.__name__: trace for trace in (begun_before, one_moment, out_of_order, one_lane, Timeline)}


@pytest.mark.parametrize("name", TRACES)
async def test_it_is_drawn_in_every_pane_and_steps_through(make_app: MakeApp, name: str) -> None:
    timeline = TRACES[name]()
    app = make_app(timeline)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        for pane in ("", *NAMES):
            app.trace.show_pane(pane)
            await settled(pilot)
            assert all(cell_len(line) == 80 for line in screen_lines(app)), pane
        app.trace.show_pane("")
        app.trace.query_one(Ladder).focus()
        await pilot.press("g")
        seen = [app.trace.view.cursor]
        for _ in range(8):
            await pilot.press("full_stop")
            seen.append(app.trace.view.cursor)
        assert seen == sorted(seen), "order on the timeline, whatever the times say"
        await pilot.press("G", "w", "s", "a", "d", "f", "c", "e", "n", "t", "right_square_bracket")
        await settled(pilot)
        drawn = "\n".join(screen_lines(app))
    if name == "begun_before":
        assert "FIN,ACK" in drawn and "PSH,ACK 1:101" in drawn, "numbers count from the first that was seen"
        assert "SS" not in drawn and "SYN" not in drawn, "nothing is made up"
    if name == "one_lane":
        assert "ECONNREFUSED" in drawn


def test_every_widget_is_in_a_file_of_its_own() -> None:
    root = Path(__file__).resolve().parents[2]
    for path in [*sorted((root / "tui" / "widgets").glob("*.py")), root / "tui" / "ladder" / "widget.py"]:
        module = importlib.import_module(".".join(path.relative_to(root).with_suffix("").parts))
        widgets = [
            name for name, found in vars(module).items()
            if inspect.isclass(found) and issubclass(found, Widget) and found.__module__ == module.__name__
            and not name.startswith("_")
        ]  # fmt: skip
        assert len(widgets) <= 1, f"{path.name}: {widgets}"
        assert path.read_text().count("\n") < LONGEST_WIDGET, path.name
