"""Filter, search and focus by keys, as a person would use them."""

from __future__ import annotations

import pytest
from textual.events import Key
from textual.pilot import Pilot

from tests.tui.conftest import MakeApp
from tests.tui.stories import START, Story, half_close
from tests.tui.test_screen import NARROW, WIDE, header, settled
from tests.tui.waiting import until
from tui.app import SynfinApp
from tui.ladder.widget import Ladder
from tui.screens.focus import FocusScreen
from tui.widgets.filter_bar import FilterBar, completed, hint
from tui.widgets.inspector import Inspector
from tui.widgets.lines_pane import LinesPane
from tui.widgets.overview import Overview


async def ask(pilot: Pilot[None], text: str, *more: str) -> None:
    """Type a filter and press enter, and then `more`."""
    await pilot.press("slash")
    pilot.app.screen.query_one(FilterBar).line.value = text
    await pilot.press("enter", *more)
    await settled(pilot)


def ladder_lines(app: SynfinApp) -> list[str]:
    ladder = app.screen.query_one(Ladder)
    return [ladder.render_line(y).text for y in range(ladder.size.height)]


async def test_a_filter_counts_its_matches_in_the_header_and_signs_them(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        await ask(pilot, "flag:fin")
        assert app.trace.finder is not None and len(app.trace.finder) == 8
        assert "flag:fin (8 found)" in header(app)
        signed = [line for line in ladder_lines(app) if line.startswith("•")]
        assert signed and all("FIN" in line for line in signed)
        await pilot.press("escape")
        await settled(pilot)
        assert app.trace.finder is None
        assert not [line for line in ladder_lines(app) if line.startswith("•")]


async def test_n_goes_through_rows_with_a_match_in_all_connections_and_back(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        await ask(pilot, "flag:fin")
        view, seen = app.trace.view, []
        for _ in range(6):
            await pilot.press("n")
            seen.append((view.focus, view.cursor))
        rows = list(dict.fromkeys(seen))
        assert [focus for focus, _ in rows] == [1, 1, 2, 2], "two rows with a FIN in each, then it stays"
        assert all(view.timeline[order]["flags"] & 1 for _, order in rows)
        for focus, _ in reversed(rows[:-1]):
            await pilot.press("N")
            assert view.focus == focus


async def test_brackets_and_overview_keep_to_connections_with_a_match(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        await ask(pilot, "flag:rst")
        assert app.trace.view.focus == 3, "the first connection that has a match"
        assert "2 without a match hidden" in app.screen.query_one(Overview).render().plain
        await pilot.press("left_square_bracket")
        assert app.trace.view.focus == 3
        await ask(pilot, "")
        await pilot.press("left_square_bracket")
        assert app.trace.view.focus == 2


async def test_h_hides_what_does_not_match_and_shows_it_again(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        everything = [line for line in ladder_lines(app)[1:] if line.strip()]
        await ask(pilot, "flag:fin", "h")
        few = [line for line in ladder_lines(app)[1:] if line.strip()]
        assert len(few) == 2 < len(everything)
        await pilot.press("j", "k", "end", "home", "h")
        await settled(pilot)
        assert len([line for line in ladder_lines(app)[1:] if line.strip()]) == len(everything)


async def test_a_line_that_is_no_filter_stays_with_a_sentence_and_esc_leaves_all_as_it_was(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        await ask(pilot, "prot:80")
        bar = app.screen.query_one(FilterBar)
        assert bar.display
        assert "no key is called 'prot'" in str(bar.query_one("#filter-hint").render())
        await pilot.press("escape")
        assert not bar.display
        assert app.trace.finder is None
        await pilot.press("j")
        assert app.screen.focused is app.screen.query_one(Ladder), "keys are the ladder's again"


async def test_tab_completes_and_up_brings_back_what_was_asked(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        await pilot.press("slash", *"stat", "tab")
        line = app.screen.query_one(FilterBar).line
        assert line.value == "state:"
        await pilot.press(*"fin-wait-2", "enter", "escape", "slash", "up")
        assert line.value == "state:fin-wait-2"


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("st", "state:"),
        ("port:80 fl", "port:80 flag:"),
        ("state:fin", "state:fin-wait-"),
        ("zzz", "zzz"),
        ("side:c", "side:client"),
    ],
)
def test_completion_goes_as_far_as_it_can_only_become(text: str, after: str) -> None:
    assert completed(text) == after


@pytest.mark.parametrize("width", [40, 80, 160])
def test_the_hint_fits_and_an_error_is_not_told_by_colour(width: int) -> None:
    for text in ("", "port", "port:80", "prot:80 ", "\x1b[31m:", "port:80 ("):
        line = hint(text, width)
        assert line.cell_length <= width
        assert "\x1b" not in line.plain
    assert hint("prot:80 ", 160).plain.startswith("  ✗ no key is called 'prot'")
    assert "✓" in hint("port:80", 160).plain


async def test_a_connection_a_listener_or_a_process_is_chosen_from_a_list(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        await pilot.press("F")
        await settled(pilot)
        assert isinstance(app.screen, FocusScreen)
        await pilot.press(*"40003", "enter")
        await settled(pilot)
        assert app.trace.view.focus == 3
        await pilot.press("F", *"process", "enter")
        await settled(pilot)
        assert app.trace.finder is not None and app.trace.finder.text == "pid:101"
        await pilot.press("F", *"listener", "enter")
        await settled(pilot)
        assert app.trace.finder.text == "port:8080"
        await pilot.press("F", *"nothing of the kind", "enter", "escape")
        await settled(pilot)
        assert app.screen is app.trace


async def test_matches_of_a_live_run_are_found_as_they_come(make_app: MakeApp) -> None:
    story = Story()
    half_close(story, 1)
    timeline = story.onto()
    app = make_app(timeline, mode="live", finished=False)
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        await ask(pilot, "flag:fin")
        finder = app.trace.finder
        assert finder is not None
        before = len(finder)
        half_close(story, 2, 3000)
        story.onto(timeline)
        await pilot.press("G")
        await until(lambda: f"({2 * before} found)" in header(app))
        assert len(finder) == 2 * before


async def test_a_click_on_a_link_follows_it_and_nothing_needs_the_mouse(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        app.trace.view.go(3)
        app.trace.at_once()
        await settled(pilot)
        pane = app.screen.query_one(Inspector)
        line = next(at for at, text in enumerate(pane.text.split("\n")) if text.startswith("c cause"))
        await pilot.click(pane, offset=(14, line))
        await settled(pilot)
        assert app.trace.view.cursor == 2


async def test_the_list_of_problems_follows_a_live_run(make_app: MakeApp) -> None:
    story = Story()
    half_close(story, 1)
    timeline = story.onto()
    app = make_app(timeline, mode="live", finished=False)
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        clock = [100.0]
        app.trace._clock = lambda: clock[0]
        await pilot.press("L")
        await settled(pilot)
        pane = app.screen.query_one("#lints", LinesPane)
        assert "0 found" in pane.text
        story.builder.add("trace:lost", START + 3_000_000_000, {"lost": 3, "total": 3})
        story.onto(timeline)
        clock[0] += 3
        app.trace.look()
        app.trace.look()
        await settled(pilot)
        assert "1 found" in pane.text and "events-lost" in pane.text


async def test_who_is_traced_is_no_filter_of_the_view(make_app: MakeApp) -> None:
    app = make_app(title="port 8080")
    app.trace.feed.filter = "port 8080"  # type: ignore[misc]
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        assert "filter: none" in header(app)


async def test_what_is_typed_in_one_go_with_the_slash_is_no_command(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        for key in ("slash", *"flat"):
            app.post_message(Key(key, "/" if key == "slash" else key))
        await settled(pilot)
        assert app.trace.query_one(FilterBar).line.value == "flat"
        assert app.trace.lesson is None, "l and t were typed, not pressed"
