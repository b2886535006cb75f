"""The app driven by keys, as a person would, over a fixed timeline with clocks that stand still."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from textual.color import Color
from textual.pilot import Pilot

from tests.tui.conftest import MakeApp
from tests.tui.stories import Story, half_close, three
from tests.tui.waiting import until
from tracer.kinds import Side
from tracer.states import State
from tracer.timeline import Timeline
from tui.app import SynfinApp
from tui.ladder.widget import Ladder
from tui.player import Mode
from tui.screens.help import HelpScreen
from tui.widgets.footer import KeyFooter
from tui.widgets.header import Header
from tui.widgets.inspector import Inspector
from tui.widgets.overview import Overview
from tui.widgets.queues import Queues
from tui.widgets.scrubber import Scrubber
from tui.widgets.sentence import Sentence
from tui.widgets.step_line import StepLine

WIDE, NARROW = (160, 48), (80, 24)


def header(app: SynfinApp) -> str:
    return app.screen.query_one(Header).render().plain


def sentence(app: SynfinApp) -> str:
    return app.screen.query_one(Sentence).render().plain


async def settled(pilot: Pilot[None]) -> None:
    """What keys and resizes have set going is done."""
    for _ in range(3):
        await pilot.pause()


async def test_a_recording_opens_whole_and_space_plays_it_from_its_start(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        view = app.trace.view
        assert (view.focus, view.player.mode) == (1, Mode.HOLD)
        assert view.track.row_of(view.cursor)[0] == 0, "the cursor is in the first row"
        assert "REPLAY" in header(app)
        await pilot.press("space")
        assert view.player.mode is Mode.PLAY
        assert 0 < view.player.shown < view.player.count
        await pilot.press("space")
        assert view.player.mode is Mode.HOLD


async def test_steps_go_by_rows_and_hide_what_lies_ahead(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        view = app.trace.view
        await pilot.press("g")
        shown = [view.player.shown]
        for _ in range(3):
            await pilot.press("full_stop")
            shown.append(view.player.shown)
        assert shown == sorted(set(shown)), "every step shows more"
        await pilot.press("comma", "comma")
        assert view.player.shown == shown[1]
        assert all(view.timeline[order].order < view.limit for order in [view.cursor])
        await pilot.press("G")
        assert view.player.shown == view.player.count


async def test_the_cursor_walks_rows_and_the_inspector_follows(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        view, seen = app.trace.view, set()
        for _ in range(6):
            seen.add(view.cursor)
            await pilot.press("j")
            await settled(pilot)
        assert len(seen) == 6
        at = view.cursor
        await pilot.press("k")
        await settled(pilot)
        assert view.cursor < at
        await pilot.press("end")
        await settled(pilot)
        last = view.cursor
        await pilot.press("home")
        await settled(pilot)
        assert view.cursor < last
        assert view.player.shown == view.player.count, "moving the cursor hides nothing"


async def test_brackets_change_the_connection_and_header_and_ladder_follow(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        assert "#1 127.0.0.1:40001 → 127.0.0.1:8080" in header(app)
        await pilot.press("right_square_bracket", "right_square_bracket", "right_square_bracket")
        assert "#3 127.0.0.1:40003" in header(app)
        await pilot.press("left_square_bracket")
        assert "#2 127.0.0.1:40002" in header(app)


async def test_cause_and_effect_are_links_to_follow(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        view = app.trace.view
        sent = next(e for e in app.trace.timeline.events() if e.name == "packet:sent")
        view.go(sent.order + 1)
        await pilot.press("c")
        assert view.cursor == sent.order, "a segment received was caused by the same segment sent"
        await pilot.press("e")
        assert view.cursor == sent.order + 1


async def test_pause_freezes_the_view_while_events_come(make_app: MakeApp) -> None:
    story = Story()
    half_close(story, 1)
    timeline = story.onto()
    app = make_app(timeline, mode="live", finished=False)
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        assert " LIVE " in header(app)
        await pilot.press("space")
        assert "‖ PAUSED" in header(app)
        view = app.trace.view
        shown = view.player.shown
        half_close(story, 1, 3000)
        story.onto(timeline)
        await until(lambda: view.player.count > shown)
        assert view.player.shown == shown
        await pilot.press("space")
        assert view.player.shown == view.player.count == len(timeline)
        assert " LIVE " in header(app)


async def test_nothing_yet_is_shown_and_the_first_event_appears(make_app: MakeApp) -> None:
    timeline = Timeline()
    app = make_app(timeline, mode="live", finished=False)
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        assert "nothing yet" in sentence(app)
        await pilot.press("j", "comma", "full_stop", "c", "e", "m", "apostrophe", "G", "g", "right_square_bracket")
        story = Story()
        story.state(0, 1, Side.CLIENT, State.CLOSE, State.SYN_SENT)
        story.onto(timeline)
        await pilot.press("G")
        await until(lambda: "SYN_SENT" in sentence(app))


async def test_losses_are_shown_even_where_there_is_no_header(make_app: MakeApp) -> None:
    app = make_app(lost=7)
    async with app.run_test(size=(60, 16)) as pilot:
        await settled(pilot)
        assert app.screen.query_one(Header).display
        assert "7 lost" in header(app)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((160, 48), {Header, Overview, Ladder, Queues, Inspector, Scrubber, KeyFooter}),
        ((120, 30), {Header, Overview, Ladder, Inspector, Scrubber, KeyFooter}),
        ((80, 24), {Header, Overview, Ladder, Sentence, Scrubber, KeyFooter}),
        ((79, 24), {Ladder}),
        ((80, 23), {Ladder}),
        ((40, 10), {Ladder}),
        ((20, 5), set()),
        ((160, 9), set()),
    ],
)
async def test_what_is_shown_follows_the_size_and_comes_back(
    make_app: MakeApp, size: tuple[int, int], shown: set[type]
) -> None:
    kinds = {Header, Overview, Ladder, Queues, Inspector, Sentence, Scrubber, KeyFooter}
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)

        def visible() -> set[type]:
            screen = app.screen
            return {kind for kind in kinds if screen.query_one(kind).size.area and screen.query_one(kind).display}

        await pilot.resize_terminal(*size)
        everything = app.screen.query_one("#all")
        await until(lambda: (visible() if everything.display else set()) == shown)
        assert bool(app.screen.query_one("#toosmall").display) == (not shown)
        await pilot.resize_terminal(*WIDE)
        await until(lambda: visible() == {Header, Overview, Ladder, Queues, Inspector, Scrubber, KeyFooter})


async def test_i_opens_the_inspector_over_the_ladder_where_there_is_no_room_for_both(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        inspector, ladder = app.screen.query_one(Inspector), app.screen.query_one("#left")
        assert not inspector.display and ladder.display
        await pilot.press("i")
        await settled(pilot)
        assert inspector.display and not ladder.display
        await pilot.press("j", "i")
        await settled(pilot)
        assert not inspector.display and ladder.display


async def test_marks_and_zoom_and_queues_and_help(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        await pilot.press("j", "j", "m")
        await settled(pilot)
        marked = app.trace.view.cursor
        await pilot.press("j", "j", "j", "apostrophe")
        await settled(pilot)
        assert app.trace.view.cursor == marked
        await pilot.press("Q")
        await settled(pilot)
        assert not app.screen.query_one(Queues).display, "the full table makes the strip superfluous"
        await pilot.press("z")
        assert not app.screen.query_one("#side").display
        await pilot.press("z", "question_mark")
        await settled(pilot)
        assert isinstance(app.screen, HelpScreen)
        await pilot.press("escape")
        assert app.screen is app.trace


@dataclass
class Line:
    """A step of a script."""

    actor: str
    text: str
    watch: str = ""


@dataclass
class Held:
    """A script that is held before every step."""

    steps: list[Line] = field(default_factory=lambda: [Line("server", "listens"), Line("client", "connects [bold]")])
    position: int = 0
    state: str = "held"
    failure: str = ""

    def next_step(self) -> None:
        self.position += 1

    def run(self) -> None:
        self.state = "playing"

    def hold(self) -> None:
        self.state = "held"


async def test_a_held_script_shows_its_next_line_and_enter_plays_it(make_app: MakeApp) -> None:
    script = Held()
    app = make_app(three(), mode="live", finished=False, play=script)
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        line = app.screen.query_one(StepLine)
        assert line.display
        assert line.render().plain.startswith(" 1/2 server: listens")
        assert line.render().plain.endswith(" enter: play ")
        await pilot.press("enter")
        assert script.position == 1
        assert line.render().plain.startswith(" 2/2 client: connects [bold]")
        await pilot.press("p")
        assert script.state == "playing"
        await pilot.press("p")
        assert script.state == "held"
        await pilot.press("enter")
        assert "over" in line.render().plain
        script.state, script.failure = "failed", "step 2: \x1b[31mno"
        await until(lambda: line.render().plain == " failed  step 2: ·[31mno")


async def test_the_palette_knows_the_keys_and_the_themes(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        commands = {command.title: command.callback for command in app.get_system_commands(app.screen)}
        assert {"Play or pause", "Next connection", "Help", "Theme: light"} <= set(commands)
        commands["Theme: light"]()
        assert app.theme == "synfin-light"


async def test_ascii_sends_no_byte_above_127(make_app: MakeApp) -> None:
    app = make_app(ascii_only=True)
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        background = Color.parse("#000000")
        for _ in range(2):
            sent = ""
            for strip in app.screen._compositor.render_strips():
                for line_filter in app._filters:
                    strip = strip.apply_filter(line_filter, background)
                sent += strip.text
            assert sent.isascii() and "SYN" in sent
            await pilot.press("question_mark")
            await settled(pilot)


async def test_a_click_picks_the_event_of_the_lane_among_those_of_a_row(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.pause()
        ladder = app.screen.query_one(Ladder)
        lines = ["".join(part.text for part in ladder.render_line(y)) for y in range(ladder.size.height)]
        y = next(y for y, line in enumerate(lines) if "SYN_SENT" in line)
        words = ("connect", "SYN_SENT", "SYN seq")
        picked = []
        for x in (lines[y].index(word) for word in words):
            await pilot.click(Ladder, offset=(x, y))
            event = app.trace.timeline[app.trace.view.cursor]
            picked.append((event.name, event.side))
        assert picked == [
            ("syscall:enter", Side.CLIENT), ("socket:state", Side.CLIENT), ("packet:sent", Side.CLIENT),
        ]  # fmt: skip
        await pilot.click(Ladder, offset=(2, y))
        assert app.trace.view.cursor == ladder._model.main(y - 1), "elsewhere: what the row is about"


async def test_a_remark_is_not_piled_on_itself(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("G", "right_curly_bracket", "right_curly_bracket", "right_curly_bracket")
        await pilot.pause()
        assert [note.message for note in app._notifications] == ["No later change of state in this connection."]
        await pilot.press("apostrophe")
        await pilot.pause()
        assert [note.message for note in app._notifications] == ["No marks: m sets one."], "another one takes its place"


async def test_the_cursor_stays_in_sight_when_the_room_for_the_ladder_shrinks(make_app: MakeApp) -> None:
    """As when the strip of queues takes lines from it, after it was shown, or the terminal another size."""
    app = make_app()
    async with app.run_test(size=(160, 48)) as pilot:
        await settled(pilot)
        await pilot.press("G", "end")
        await settled(pilot)
        for size in ((160, 48), (80, 24), (40, 10), (120, 40)):
            await pilot.resize_terminal(*size)
            await settled(pilot)
            ladder = app.screen.query_one(Ladder)
            drawn = ["".join(part.text for part in ladder.render_line(y)) for y in range(ladder.size.height)]
            assert any(line.startswith("▸") for line in drawn), size
