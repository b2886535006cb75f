"""Pictures of screens, compared cell by cell. After a change that is meant: `pytest tests/tui --snapshot-update`.

Each test is named by what the picture shows and the size of the terminal. Nothing in them moves: the timeline is
fixed to the nanosecond and both clocks stand still.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.conftest import MakeApp
from tests.tui.test_panes import recorded
from tests.tui.test_screen import Held
from tracer.segments import FIN
from tracer.timeline import Timeline
from tui.panes import NAMES
from tui.screens.start import Entry
from tui.screens.trace import TraceScreen
from tui.start import StartApp
from tui.widgets.filter_bar import FilterBar

SMALL, LARGE = (80, 24), (160, 48)
RUN = ("run", "half-close")
ENTRIES = (
    Entry("Scenarios", "lifecycle: the plain course of a life", "refused", "RST for a SYN", ("run", "refused"),
          "A SYN knocks at a port where nobody listens."),
    Entry("Scenarios", "lifecycle: the plain course of a life", "half-close", "Half-close and TIME_WAIT", RUN,
          "A connection is two streams, and each has its own end. " * 12, (*RUN, "--lesson"), (*RUN, "--step")),
    Entry("Lessons", "with real actors", "half-close", "Half-close and TIME_WAIT", (*RUN, "--lesson"), again=True),
    Entry("Captures", "in this folder", "run.pcapng", "34 KiB, 2026-01-01 00:00", ("replay", "./run.pcapng")),
    Entry("Live", "These rights are enough.", "port 8080", "nginx listens; 3 connections", ("trace", "--port", "8080")),
)  # fmt: skip


async def quiet(pilot: Pilot[Any]) -> None:
    """All drawn."""
    for _ in range(4):
        await pilot.pause()


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "160x48"])
def test_a_recording_as_it_opens(make_app: MakeApp, snap_compare: Any, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(), terminal_size=size, run_before=quiet)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "160x48"])
def test_a_step_at_the_fin_hides_what_lies_ahead(make_app: MakeApp, snap_compare: Any, size: tuple[int, int]) -> None:
    async def to_the_fin(pilot: Pilot[Any]) -> None:
        await pilot.press("g", *["full_stop"] * 6)
        await quiet(pilot)

    assert snap_compare(make_app(), terminal_size=size, run_before=to_the_fin)


def test_a_live_run_held_with_losses_160x48(make_app: MakeApp, snap_compare: Any) -> None:
    async def hold(pilot: Pilot[Any]) -> None:
        await quiet(pilot)
        await pilot.press("space", "k", "k", "m")
        await quiet(pilot)

    app = make_app(mode="live", finished=False, lost=12, recording="run.pcapng")
    assert snap_compare(app, terminal_size=LARGE, run_before=hold)


def test_the_inspector_instead_of_the_ladder_80x24(make_app: MakeApp, snap_compare: Any) -> None:
    async def inspect(pilot: Pilot[Any]) -> None:
        await quiet(pilot)
        await pilot.press("j", "i")
        await quiet(pilot)

    assert snap_compare(make_app(), terminal_size=SMALL, run_before=inspect)


def test_the_next_line_of_a_held_script_80x24(make_app: MakeApp, snap_compare: Any) -> None:
    app = make_app(mode="live", finished=False, play=Held())
    assert snap_compare(app, terminal_size=SMALL, run_before=quiet)


def test_on_a_light_background_160x48(make_app: MakeApp, snap_compare: Any) -> None:
    async def light(pilot: Pilot[Any]) -> None:
        pilot.app.theme = "synfin-light"
        await quiet(pilot)

    assert snap_compare(make_app(), terminal_size=LARGE, run_before=light)


def test_the_ladder_alone_60x16(make_app: MakeApp, snap_compare: Any) -> None:
    assert snap_compare(make_app(), terminal_size=(60, 16), run_before=quiet)


def test_too_small_20x5(make_app: MakeApp, snap_compare: Any) -> None:
    assert snap_compare(make_app(), terminal_size=(20, 5), run_before=quiet)


def test_nothing_has_happened_yet_80x24(make_app: MakeApp, snap_compare: Any) -> None:
    app = make_app(Timeline(), mode="live", finished=False)
    assert snap_compare(app, terminal_size=SMALL, run_before=quiet)


def test_help_over_the_trace_80x24(make_app: MakeApp, snap_compare: Any) -> None:
    async def ask(pilot: Pilot[Any]) -> None:
        await quiet(pilot)
        await pilot.press("question_mark")
        await quiet(pilot)

    assert snap_compare(make_app(), terminal_size=SMALL, run_before=ask)


SIZES = {"80x24": SMALL, "120x40": (120, 40), "160x48": LARGE}


async def still(pilot: Pilot[Any]) -> None:
    """All drawn, no cursor blinks."""
    await quiet(pilot)
    pilot.app.screen.query_one("#start-search").cursor_blink = False  # type: ignore[attr-defined]
    await quiet(pilot)


async def search(pilot: Pilot[Any]) -> None:
    await still(pilot)
    await pilot.press(*"half")
    await quiet(pilot)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_the_start_page_with_a_search(snap_compare: Any, size: tuple[int, int]) -> None:
    assert snap_compare(StartApp(ENTRIES), terminal_size=size, run_before=search)


@pytest.mark.parametrize("look", ["light", "ascii", "colourless"])
def test_the_start_page_otherwise_80x24(snap_compare: Any, monkeypatch: pytest.MonkeyPatch, look: str) -> None:
    async def show(pilot: Pilot[Any]) -> None:
        await still(pilot)
        if look == "light":
            pilot.app.theme = "synfin-light"
        await pilot.press("down")
        await quiet(pilot)

    if look == "colourless":
        monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(StartApp(ENTRIES, ascii_only=look == "ascii"), terminal_size=SMALL, run_before=show)


def lesson(*keys: str, theme: str = "") -> Callable[[Pilot[Any]], Awaitable[None]]:
    """A lesson, after these keys."""

    async def show(pilot: Pilot[Any]) -> None:
        if theme:
            pilot.app.theme = theme
        await quiet(pilot)
        for key in ("l", *keys):
            await pilot.press(key)
            await quiet(pilot)

    return show


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("keys", [(), ("1",), ("2", "enter", "3")], ids=["asked", "wrong", "right"])
def test_a_lesson(make_app: MakeApp, snap_compare: Any, keys: tuple[str, ...], size: tuple[int, int]) -> None:
    assert snap_compare(make_app(recorded()), terminal_size=size, run_before=lesson(*keys))


def test_a_lesson_on_a_light_background_120x40(make_app: MakeApp, snap_compare: Any) -> None:
    run = lesson("1", theme="synfin-light")
    assert snap_compare(make_app(recorded()), terminal_size=(120, 40), run_before=run)


def test_a_lesson_in_ascii_80x24(make_app: MakeApp, snap_compare: Any) -> None:
    assert snap_compare(make_app(recorded(), ascii_only=True), terminal_size=SMALL, run_before=lesson("1"))


def test_a_lesson_without_colour_80x24(make_app: MakeApp, snap_compare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(make_app(recorded()), terminal_size=SMALL, run_before=lesson("2", "enter", "3"))


def opened(pane: str, theme: str = "") -> Callable[[Pilot[Any]], Awaitable[None]]:
    """The cursor on the first FIN, with that pane."""

    async def show(pilot: Pilot[Any]) -> None:
        trace = pilot.app.screen
        assert isinstance(trace, TraceScreen)
        if theme:
            pilot.app.theme = theme
        await quiet(pilot)
        fin = next(event for event in trace.timeline.events() if event.name == "packet:sent" and event["flags"] & FIN)
        trace.view.go(fin.order)
        trace.problems.refresh()
        trace.show_pane(pane)
        await quiet(pilot)

    return show


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("pane", NAMES)
def test_each_pane_at_the_fin(make_app: MakeApp, snap_compare: Any, pane: str, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(recorded()), terminal_size=size, run_before=opened(pane))


@pytest.mark.parametrize("pane", NAMES)
def test_a_pane_on_a_light_background_120x40(make_app: MakeApp, snap_compare: Any, pane: str) -> None:
    assert snap_compare(make_app(recorded()), terminal_size=(120, 40), run_before=opened(pane, "synfin-light"))


@pytest.mark.parametrize("pane", NAMES)
def test_a_pane_in_ascii_80x24(make_app: MakeApp, snap_compare: Any, pane: str) -> None:
    assert snap_compare(make_app(recorded(), ascii_only=True), terminal_size=SMALL, run_before=opened(pane))


@pytest.mark.parametrize("pane", NAMES)
def test_a_pane_without_colour_160x48(
    make_app: MakeApp, snap_compare: Any, monkeypatch: pytest.MonkeyPatch, pane: str
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(make_app(recorded()), terminal_size=LARGE, run_before=opened(pane))


def test_a_filter_being_typed_80x24(make_app: MakeApp, snap_compare: Any) -> None:
    async def typed(pilot: Pilot[Any]) -> None:
        await quiet(pilot)
        pilot.app.screen.query_one(FilterBar).line.cursor_blink = False
        await pilot.press("slash", *"flag:fin sta")
        await quiet(pilot)

    assert snap_compare(make_app(), terminal_size=SMALL, run_before=typed)


@pytest.mark.parametrize("hide", [False, True], ids=["dimmed", "hidden"])
def test_matches_of_a_filter_80x24(make_app: MakeApp, snap_compare: Any, hide: bool) -> None:
    async def found(pilot: Pilot[Any]) -> None:
        await quiet(pilot)
        trace = pilot.app.screen
        assert isinstance(trace, TraceScreen)
        trace.look_for("flag:fin")
        await pilot.press("n", "m", *("h" if hide else ""), "n")
        trace.app.clear_notifications()
        await quiet(pilot)

    assert snap_compare(make_app(), terminal_size=SMALL, run_before=found)


def test_what_can_be_saved_80x24(make_app: MakeApp, snap_compare: Any) -> None:
    assert snap_compare(make_app(), terminal_size=SMALL, press=["x"])


def test_what_can_be_focused_80x24(make_app: MakeApp, snap_compare: Any) -> None:
    async def ask(pilot: Pilot[Any]) -> None:
        await quiet(pilot)
        await pilot.press("F")
        await quiet(pilot)
        pilot.app.screen.query_one("#focus-line").cursor_blink = False  # type: ignore[attr-defined]
        await quiet(pilot)

    assert snap_compare(make_app(), terminal_size=SMALL, run_before=ask)
