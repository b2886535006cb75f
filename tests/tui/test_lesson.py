"""Lessons: what is asked, what is drawn before it is answered, and who decides what was right."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList

from tests.playbook import CLOSING, HANDSHAKE, play
from tests.tui.conftest import MakeApp
from tests.tui.stories import Story, half_close, three
from tests.tui.test_panes import recorded
from tests.tui.test_screen import NARROW, WIDE, Held, settled
from tracer.kinds import Side
from tracer.states import STATES, State, between
from tracer.timeline import Timeline
from tracer.world import World
from tui.ladder.widget import Ladder
from tui.lesson import Lesson, Phase
from tui.lesson_questions import NOBODY, OWN, SEGMENT, STATE, outcome, prediction, successors
from tui.player import Mode
from tui.screens.trace import TraceScreen
from tui.tools import Tools
from tui.widgets.lesson_box import LessonBox

LABELS = {row.label: row.state for row in STATES.values()}


def learn(timeline: Timeline, conn: int = 1, *, right: bool = True) -> list[tuple[str, str]]:
    """A lesson to its end: what was asked of whom, and what was answered."""
    lesson = Lesson(timeline)
    asked: list[tuple[str, str]] = []
    while lesson.phase is not Phase.OVER:
        lesson.look(conn, lesson.question is None and bool(asked))
        if lesson.question is None:
            continue
        gate = lesson.gate
        lesson.arrive(gate)
        question = lesson.question
        choice = question.right if right else (question.right + 1) % len(question.choices)
        asked.append((question.text, question.choices[question.right]))
        assert lesson.answer(choice)
        assert lesson.gate > gate, "what was asked about may be seen now"
        assert lesson.verdict is not None and lesson.verdict.right is right
        lesson.go_on()
    assert (lesson.asked, lesson.right) == (len(asked), len(asked) if right else 0)
    return asked


@pytest.mark.parametrize("right", [True, False])
def test_the_trace_is_the_answer_key(right: bool) -> None:
    asked = learn(play(HANDSHAKE + CLOSING).timeline, right=right)
    answers = [answer for _, answer in asked]
    assert "SYN_SENT" in answers and "FIN_WAIT1" in answers and "server: SYN,ACK" in answers
    assert {kind for kind in ("client", "server") if any(kind in text for text, _ in asked)} == {"client", "server"}


def test_a_recording_is_asked_about_in_its_order_and_both_kinds_come_up() -> None:
    asked = learn(recorded())
    states = [answer for text, answer in asked if "Which state" in text]
    segments = [answer for text, answer in asked if "segment" in text]
    assert states and segments
    assert 6 <= len(asked) <= 20, "a lesson, not an examination of every row"
    wanted = [state for state in ("SYN_SENT", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT") if state in states]
    assert [state for state in states if state in wanted][: len(wanted)] == sorted(wanted, key=states.index)


@pytest.mark.parametrize("now", [state for state in STATES if state not in (State.UNKNOWN, State.NEW_SYN_RECV)])
def test_choices_hold_every_lawful_state_and_name_the_unlawful_ones_so(now: State) -> None:
    found = successors(now)
    lawful = {state for state in STATES if between(now, state)} - {State.UNKNOWN, State.NEW_SYN_RECV}
    handed = {State.CLOSE} if now in (State.FIN_WAIT1, State.FIN_WAIT2, State.CLOSING) else set()
    assert lawful - handed <= set(found)
    assert len(found) >= 3 and len(set(found)) == len(found)
    assert now not in found


def test_an_answer_that_no_step_of_tcp_leads_to_is_told_so() -> None:
    lesson = Lesson(three())
    lesson.look(1, False)
    lesson.arrive(lesson.gate)
    question = lesson.question
    assert question is not None and question.kind == STATE
    for label, reply in zip(question.choices, question.replies, strict=True):
        assert ("is no step of TCP" in reply) == (not between(question.now, LABELS[label]))


async def lines(pilot: Pilot[None], trace: TraceScreen) -> str:
    await settled(pilot)
    ladder = trace.query_one(Ladder)
    return "\n".join(ladder.render_line(y).text for y in range(ladder.size.height))


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_nothing_that_is_asked_about_is_drawn_and_no_key_leads_there(
    make_app: MakeApp, size: tuple[int, int]
) -> None:
    app = make_app(recorded())
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        trace = app.trace
        await pilot.press("l")
        await settled(pilot)
        lesson = trace.lesson
        assert lesson is not None and lesson.phase is Phase.ASK
        gate, before = lesson.gate, await lines(pilot, trace)
        assert "SYN" not in before
        assert trace.view.limit == gate
        for key in ("full_stop", "space", "G", "end", "right_curly_bracket", "right_parenthesis", "e", "enter", "n"):
            await pilot.press(key)
            await settled(pilot)
            assert trace.view.limit <= gate and trace.view.cursor < gate, key
        trace.look_for("flag:fin")
        await pilot.press("n")
        assert trace.view.cursor < gate
        assert trace.view.go(gate) is False
        await pilot.press("F")
        await settled(pilot)
        offered = app.screen.query_one("#focus-list", OptionList).options
        connection = str(offered[0].prompt)
        assert connection.endswith(":8080"), "of the connection no state was entered yet"
        await pilot.press("escape", "l", "F")
        await settled(pilot)
        offered = app.screen.query_one("#focus-list", OptionList).options
        assert any("CLOSED" in str(option.prompt) for option in offered), "outside a lesson it says how they ended"


async def test_an_answer_shows_the_row_and_enter_goes_on_to_the_next_question(make_app: MakeApp) -> None:
    app = make_app(recorded())
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        trace, box = app.trace, app.trace.query_one(LessonBox)
        assert not box.display
        await pilot.press("l")
        await settled(pilot)
        lesson = trace.lesson
        assert lesson is not None and lesson.question is not None
        assert box.display and lesson.question.text in box.text
        first = lesson.question
        await pilot.press(str(first.right + 1))
        await settled(pilot)
        assert "✓ Right" in box.text and "1 of 1 right" in box.text
        assert "SYN" in await lines(pilot, trace)
        await pilot.press("enter")
        await settled(pilot)
        assert lesson.phase is Phase.ASK and lesson.question is not first and lesson.question.text in box.text
        wrong = (lesson.question.right + 1) % len(lesson.question.choices)
        await pilot.press(str(wrong + 1))
        await settled(pilot)
        assert "✗ No" in box.text and "1 of 2 right" in box.text


async def test_a_click_on_a_choice_answers(make_app: MakeApp) -> None:
    app = make_app(recorded())
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        await pilot.press("l")
        await settled(pilot)
        box = app.trace.query_one(LessonBox)
        row = next(y for y, line in enumerate(box.text.splitlines()) if line.lstrip().startswith("1 "))
        await pilot.click(LessonBox, offset=(6, row))
        await settled(pilot)
        assert app.trace.lesson is not None and app.trace.lesson.asked == 1


async def test_the_whole_lesson_ends_with_own_questions_and_a_score(make_app: MakeApp) -> None:
    app = make_app(three())
    app.trace.tools = Tools(questions=lambda: (("Who gets TIME_WAIT?", "the client"),))
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        trace, box = app.trace, app.trace.query_one(LessonBox)
        await pilot.press("l")
        for _ in range(60):
            await settled(pilot)
            lesson = trace.lesson
            assert lesson is not None
            if lesson.phase is Phase.OVER:
                break
            question = lesson.question
            if lesson.phase is Phase.ASK and question is not None and (question.kind != OWN or lesson.revealed):
                await pilot.press(str(question.right + 1))
            else:
                if question is not None and question.kind == OWN:
                    await pilot.press("1")
                    assert not lesson.revealed and "the client" not in box.text, "first one thinks"
                await pilot.press("enter")
        assert trace.lesson is not None and trace.lesson.phase is Phase.OVER
        await settled(pilot)
        await pilot.press("enter")
        await settled(pilot)
        assert f"{trace.lesson.asked} of {trace.lesson.asked} right" in box.text
        await pilot.press("l")
        await settled(pilot)
        assert not box.display and trace.view.gate is None


async def test_playing_waits_at_the_question_and_goes_on_after_it(make_app: MakeApp) -> None:
    app = make_app(recorded())
    clock = [100.0]
    app.trace._clock = lambda: clock[0]
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        trace = app.trace
        await pilot.press("l", "2")
        await settled(pilot)
        await pilot.press("enter", "1")
        await settled(pilot)
        lesson = trace.lesson
        assert lesson is not None
        await pilot.press("space")
        for _ in range(50):
            clock[0] += 1.0
            trace.look()
        assert trace.view.limit <= lesson.gate
        assert trace.view.player.mode in (Mode.PLAY, Mode.HOLD)


async def test_a_live_trace_stops_at_what_comes_next(make_app: MakeApp) -> None:
    app = make_app(Timeline(), mode="live", finished=False)
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        trace = app.trace
        await pilot.press("l")
        await settled(pilot)
        assert "Nothing to ask yet" in trace.query_one(LessonBox).text
        story = Story()
        half_close(story)
        story.onto(trace.timeline)
        for _ in range(3):
            trace.at_once()
            await settled(pilot)
        lesson = trace.lesson
        assert lesson is not None and lesson.question is not None and lesson.phase is Phase.ASK
        assert trace.view.limit <= lesson.gate < len(trace.timeline)


@dataclass
class Acting(Held):
    """A held script whose next step puts a half-close on the timeline."""

    timeline: Timeline = field(default_factory=Timeline)

    def next_step(self) -> None:
        super().next_step()
        story = Story()
        half_close(story)
        story.onto(self.timeline)


async def test_a_held_scenario_takes_its_step_after_the_answer(make_app: MakeApp) -> None:
    timeline = Timeline()
    script = Acting(timeline=timeline)
    app = make_app(timeline, mode="live", finished=False, play=script)
    clock = [100.0]
    app.trace._clock = lambda: clock[0]
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        trace, box = app.trace, app.trace.query_one(LessonBox)
        await pilot.press("l")
        await settled(pilot)
        lesson = trace.lesson
        assert lesson is not None and lesson.question is not None and lesson.question.right == -1
        assert script.steps[0].text in box.text.replace("\n ", " ")
        await pilot.press("enter")
        assert script.position == 0, "no step without an answer"
        await pilot.press("1")
        assert script.position == 1
        for _ in range(3):
            clock[0] += 0.2
            trace.look()
        await settled(pilot)
        assert lesson.verdict is not None and len(timeline)


def at(timeline: Timeline) -> World:
    world = World()
    for event in timeline.events():
        world.apply(event)
    return world


def test_a_prediction_is_judged_by_what_happened() -> None:
    story = Story()
    half_close(story)
    events = list(story.onto().events())
    client = prediction(World(), 0, "client", STATE)
    assert client.now is State.CLOSE and outcome(client, events) == "SYN_SENT"
    assert outcome(client, []) == "it stays CLOSED" and outcome(client, []) in client.choices
    segment = prediction(World(), 0, "client", SEGMENT)
    assert outcome(segment, events) == "client: SYN" and outcome(segment, events) in segment.choices
    assert outcome(segment, []) == NOBODY in segment.choices


def test_a_socket_that_a_time_wait_object_takes_over_from_is_in_time_wait() -> None:
    story = Story()
    story.state(1, 1, Side.CLIENT, State.FIN_WAIT1, State.FIN_WAIT2)
    world = at(story.onto())
    question = prediction(world, 1, "client", STATE)
    assert question.now is State.FIN_WAIT2
    late = Story()
    late.state(2, 1, Side.CLIENT, State.FIN_WAIT2, State.CLOSE)
    late.time_wait(2.001, 1, Side.CLIENT)
    assert outcome(question, late.onto().events()) == "TIME_WAIT"


def test_an_actor_without_a_side_is_asked_for_the_segment() -> None:
    assert prediction(World(), 0, "relay", STATE).kind == SEGMENT


def test_an_empty_timeline_has_no_lesson_yet() -> None:
    lesson = Lesson(Timeline())
    lesson.look(0, False)
    assert lesson.question is None and lesson.gate == 0
    assert not lesson.answer(0)


def test_markup_and_control_characters_in_questions_stay_text() -> None:
    from tui.widgets.lesson_box import LessonFacts, lesson_lines

    facts = LessonFacts("1 of 1", "[bold]who\x1b[31m?", ("[red]a[/]", "b\x07"))
    text = "\n".join(line.plain for line in lesson_lines(facts, 60))
    assert "[bold]who" in text and "[red]a[/]" in text and "\x1b" not in text and "\x07" not in text
    assert all(line.cell_length <= 60 for line in lesson_lines(facts, 60))
