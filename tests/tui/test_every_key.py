"""Every key of the table, pressed: each has a test of what it changes, and a test sees to it that none is left out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import pytest
from textual.pilot import Pilot

from tests.tui.conftest import MakeApp
from tests.tui.stories import START, Story
from tests.tui.test_screen import NARROW, WIDE, Held, settled
from tracer.events import NUMBER
from tui.keys import KEYS
from tui.ladder.widget import Ladder
from tui.player import Mode
from tui.screens.export import ExportScreen
from tui.screens.focus import FocusScreen
from tui.screens.help import HelpScreen
from tui.screens.trace import TraceScreen
from tui.widgets.filter_bar import FilterBar
from tui.widgets.overview import Overview
from tui.widgets.scrubber import Scrubber

Check = Callable[[Pilot[None], TraceScreen], Awaitable[None]]


def changes(key: str, what: Callable[[TraceScreen], object], *before: str) -> Check:
    """After `before` the key changes what `what` gives."""

    async def check(pilot: Pilot[None], trace: TraceScreen) -> None:
        await pilot.press(*before)
        await settled(pilot)
        was = what(trace)
        await pilot.press(key)
        await settled(pilot)
        assert what(trace) != was

    return check


def shown(trace: TraceScreen) -> object:
    return trace.view.player.shown


def cursor(trace: TraceScreen) -> int:
    return trace.view.cursor


def span(trace: TraceScreen) -> object:
    return trace.query_one(Overview).span.of(0, 1)


def panes(trace: TraceScreen) -> object:
    return trace.arrangement()


def on_top(trace: TraceScreen) -> str:
    return type(trace.app.screen).__name__


async def to_a_state_change(pilot: Pilot[None], trace: TraceScreen) -> None:
    await pilot.press("right_curly_bracket", "right_curly_bracket")
    first = trace.view.cursor
    assert trace.timeline[first].number == NUMBER["socket:state"]
    await pilot.press("right_curly_bracket")
    assert trace.timeline[trace.view.cursor].number == NUMBER["socket:state"]
    assert trace.view.cursor > first
    await pilot.press("left_curly_bracket")
    assert trace.view.track.row_of(trace.view.cursor) == trace.view.track.row_of(first)


async def to_a_problem(pilot: Pilot[None], trace: TraceScreen) -> None:
    await pilot.press("right_parenthesis")
    assert not trace.problems.before(len(trace.timeline)), "nothing is wrong yet"
    story = Story()
    for ms in (5000, 5001):
        story.builder.add("trace:lost", START + ms * 1_000_000, {"lost": 3, "total": 3})
    story.onto(trace.timeline)
    await pilot.press("right_parenthesis")
    await settled(pilot)
    problem = trace.problems.before(len(trace.timeline))[0]
    assert trace.view.cursor == problem.order
    await pilot.press("right_parenthesis")
    assert trace.view.cursor == problem.order + 1
    await pilot.press("left_parenthesis")
    assert trace.view.cursor == problem.order


async def along_links(pilot: Pilot[None], trace: TraceScreen) -> None:
    received = next(event for event in trace.timeline.events() if event.name == "packet:received")
    trace.view.go(received.order)
    await pilot.press("c")
    assert trace.view.cursor == received.order - 1
    await pilot.press("e")
    assert trace.view.cursor == received.order


async def out_again(pilot: Pilot[None], trace: TraceScreen) -> None:
    await pilot.press("S", "escape")
    await settled(pilot)
    assert not trace.pane and not trace.arrangement().over
    trace.look_for("flag:fin")
    await pilot.press("escape")
    assert trace.finder is None
    await pilot.press("z", "escape")
    assert not trace.has_class("-zoom")


async def the_script(pilot: Pilot[None], trace: TraceScreen) -> None:
    script = trace.feed.play
    assert script is not None
    await pilot.press("enter")
    assert script.position == 1
    await pilot.press("p")
    assert script.state == "playing"


async def in_and_out(pilot: Pilot[None], trace: TraceScreen) -> None:
    trace.feed.play = None  # type: ignore[misc]
    await pilot.press("enter")
    assert trace.arrangement().shown == ("inspector",)
    await pilot.press("enter")
    assert trace.arrangement().shown == ()


async def pages(pilot: Pilot[None], trace: TraceScreen) -> None:
    await pilot.press("home", "pagedown")
    await settled(pilot)
    far = trace.view.cursor
    assert far > trace.view.track[0]
    await pilot.press("pageup")
    await settled(pilot)
    assert trace.view.cursor < far


async def matches(pilot: Pilot[None], trace: TraceScreen) -> None:
    trace.look_for("flag:fin")
    await pilot.press("home", "n", "n")
    second = trace.view.cursor
    await pilot.press("N")
    assert trace.view.cursor < second


async def marks(pilot: Pilot[None], trace: TraceScreen) -> None:
    await pilot.press("j", "m")
    await settled(pilot)
    at = trace.view.cursor
    assert trace.view.marks == {at}
    ladder = trace.query_one(Ladder)
    await pilot.press("j", "j")
    await settled(pilot)
    assert any(ladder.render_line(y).text.startswith("◆") for y in range(ladder.size.height)), "a sign, not a colour"
    await pilot.press("apostrophe")
    assert trace.view.cursor == at


async def copies(pilot: Pilot[None], trace: TraceScreen) -> None:
    trace.view.go(3)
    await pilot.press("y")
    row = pilot.app.clipboard
    assert "SYN" in row and "\n" not in row
    await pilot.press("Y")
    assert pilot.app.clipboard != row


async def the_palette(pilot: Pilot[None], trace: TraceScreen) -> None:
    await pilot.press("ctrl+p")
    await settled(pilot)
    assert on_top(trace) == "CommandPalette"
    await pilot.press("escape")


async def a_lesson(pilot: Pilot[None], trace: TraceScreen) -> None:
    await pilot.press("4")
    assert trace.lesson is None, "nothing is asked yet"
    await pilot.press("l")
    await settled(pilot)
    lesson = trace.lesson
    assert lesson is not None and lesson.question is not None
    for number in "87654321":  # those that are no choice do nothing; one of them is the answer
        await pilot.press(number)
    await settled(pilot)
    assert lesson.asked == 1
    await pilot.press("l")
    await settled(pilot)
    assert trace.lesson is None and trace.view.gate is None


async def the_end(pilot: Pilot[None], trace: TraceScreen) -> None:
    await pilot.press("q")
    await settled(pilot)
    assert not pilot.app.is_running


CHECKS: Final[dict[str, tuple[Check, str]]] = {
    "space": (changes("space", lambda trace: trace.view.player.mode), "space"),
    ",.": (changes("full_stop", shown, "g", "full_stop", "full_stop", "comma"), "comma full_stop"),
    "<>": (changes("less_than_sign", lambda t: t.view.player.speed, "greater_than_sign"),
           "less_than_sign greater_than_sign"),
    "b": (changes("b", lambda trace: trace.query_one(Scrubber).facts.by_time), "b"),
    "g": (changes("g", shown), "g"),
    "G": (changes("G", shown, "g"), "G"),
    "p": (the_script, "p"),
    "[]": (changes("right_square_bracket", lambda t: t.view.focus, "right_square_bracket", "left_square_bracket"),
           "left_square_bracket right_square_bracket"),
    "w s": (changes("s", span, "w", "w"), "w s"),
    "a d": (changes("a", span, "w", "w", "d", "d"), "a d"),
    "f": (changes("f", span, "w"), "f"),
    "o": (changes("o", lambda trace: trace.has_class("-overview")), "o"),
    "j k ↑ ↓": (changes("up", cursor, "j", "j", "down", "k"), "j down k up"),
    "PgUp PgDn": (pages, "pageup pagedown"),
    "Home End": (changes("home", cursor, "end"), "home end"),
    "c e": (along_links, "c e"),
    "{}": (to_a_state_change, "left_curly_bracket right_curly_bracket"),
    "()": (to_a_problem, "left_parenthesis right_parenthesis"),
    "enter esc": (in_and_out, "enter escape"),
    "/": (changes("slash", lambda trace: trace.query_one(FilterBar).display), "slash"),
    "n N": (matches, "n N"),
    "h": (changes("h", lambda trace: trace.hide), "h"),
    "F": (changes("F", on_top), "F"),
    "m": (marks, "m"),
    "'": (marks, "apostrophe"),
    "i": (changes("i", panes), "i"),
    "S": (changes("S", panes), "S"),
    "Q": (changes("Q", panes), "Q"),
    "R": (changes("R", panes), "R"),
    "P": (changes("P", panes), "P"),
    "L": (changes("L", panes), "L"),
    "O": (changes("O", panes), "O"),
    "l": (a_lesson, "l"),
    "1 … 8": (a_lesson, "1 2 3 4 5 6 7 8"),
    "tab": (changes("tab", panes, "tab", "tab"), "tab"),
    "z": (changes("z", lambda trace: trace.has_class("-zoom")), "z"),
    "t": (changes("t", lambda trace: trace.query_one(Ladder).render_line(0).text), "t"),
    "x": (changes("x", on_top), "x"),
    "y": (copies, "y"),
    "Y": (copies, "Y"),
    "?": (changes("question_mark", on_top), "question_mark"),
    "^p": (the_palette, "ctrl+p"),
    "q": (the_end, "q"),
}  # fmt: skip
"""For each row of the table of keys a check, and the keys that it presses."""


def test_no_key_of_the_table_is_left_out() -> None:
    assert {key.shown: {bound.key for bound in key.bound} for key in KEYS} == {
        shown: set(keys.split()) for shown, (_, keys) in CHECKS.items()
    }


@pytest.mark.parametrize("shown", CHECKS)
async def test_the_key_does_what_the_table_says(make_app: MakeApp, shown: str) -> None:
    app = make_app(play=Held() if shown in ("p", "enter esc") else None)
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        await CHECKS[shown][0](pilot, app.trace)


async def test_escape_leads_out_of_pane_filter_and_zoom(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        await out_again(pilot, app.trace)


@pytest.mark.parametrize(("key", "screen"), [("F", FocusScreen), ("x", ExportScreen), ("question_mark", HelpScreen)])
async def test_what_a_key_opens_another_closes(make_app: MakeApp, key: str, screen: type) -> None:
    app = make_app()
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        await pilot.press(key)
        await settled(pilot)
        assert isinstance(app.screen, screen)
        await pilot.press("escape")
        await settled(pilot)
        assert app.screen is app.trace


async def test_playing_by_time_goes_on_as_the_clock_does(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        clock = [100.0]
        app.trace._clock = lambda: clock[0]
        await pilot.press("g", "b", "space")
        view = app.trace.view
        assert view.player.mode is Mode.PLAY
        start = view.timeline[view.track[0]].time
        for seconds, at_least in ((0.1, 0.0003), (2.0, 0.0003), (2.4, 2.3)):
            clock[0] = 100.0 + seconds
            app.trace.look()
            shown_until = view.timeline[view.track[view.player.shown - 1]].time - start
            assert at_least * 1e9 <= shown_until <= seconds * 1e9
