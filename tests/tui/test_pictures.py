"""Pictures of screens, compared cell by cell. After a change that is meant: `pytest tests/tui --snapshot-update`.

Each test is named by what the picture shows and the size of the terminal. Nothing in them moves: the timeline is
fixed to the nanosecond and both clocks stand still.
"""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.conftest import MakeApp
from tests.tui.test_screen import Held
from tracer.timeline import Timeline
from tui.screens.start import Entry
from tui.start import StartApp

SMALL, LARGE = (80, 24), (160, 48)
ENTRIES = (
    Entry("Scenarios", "half-close", "Half-close and TIME_WAIT"),
    Entry("Scenarios", "refused", "A closed port answers with RST"),
    Entry("Recordings", "half-close.pcapng", "34 kB"),
)


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


def test_the_start_page_with_a_search_80x24(snap_compare: Any) -> None:
    async def search(pilot: Pilot[Any]) -> None:
        await quiet(pilot)
        pilot.app.screen.query_one("#start-search").cursor_blink = False  # type: ignore[attr-defined]
        await pilot.press(*"half")
        await quiet(pilot)

    assert snap_compare(StartApp(ENTRIES), terminal_size=SMALL, run_before=search)
