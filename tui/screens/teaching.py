"""Keys of a lesson: it waits before the next event worth a question, takes the answer, and shows what happened.

What may be drawn is the view's gate, set anew before every look, so that not one frame shows what is still asked about.
"""

from __future__ import annotations

from typing import Final

from tui.lesson import Lesson, Phase
from tui.lesson_questions import OWN
from tui.player import Mode
from tui.screens.playing import Playing
from tui.widgets.lesson_box import LessonBox, LessonFacts

RUNNING: Final = ("ready", "held", "playing")
"""A script in one of these states has steps to come."""


class Teaching(Playing):
    """The picture with the lesson's keys."""

    lesson: Lesson | None = None
    _position = 0
    """Steps that were over when the last prediction was made."""
    _scripted = False
    _told: LessonFacts | None = None
    _placed = False
    """The playhead has been put before the first question."""

    def action_lesson(self) -> None:
        """Begin a lesson on the connection in focus, or end it."""
        if self.lesson is not None:
            told = f"{self.lesson.right} of {self.lesson.asked} right"
            self.lesson, self.view.gate = None, None
            self._show_lesson()
            self.say(f"The lesson has ended: {told}.")
            self.at_once()
            return
        self.begin_lesson()
        self.at_once()

    def begin_lesson(self) -> None:
        """From the beginning; while a scenario is held, from the step that is due."""
        play = self.feed.play
        self._scripted = play is not None and play.state in RUNNING
        if play is not None and self._scripted:
            play.hold()
            self._position = play.position
        self.lesson, self._placed = Lesson(self.timeline, self.tools.questions), False
        self._to_gate()

    def _to_gate(self) -> None:
        """All that may be shown before the next question."""
        if self.lesson is None or self._scripted or not self.view.focus:
            return
        self.lesson.look(self.view.focus, False)
        self.view.gate = self.lesson.gate
        self.view.refresh(self._clock(), more=not self.feed.finished)
        self.view.seek(self.view.track.place_of(self.lesson.gate))
        self._overview_due = 0.0

    def look(self) -> None:
        lesson = self.lesson
        if lesson is None:
            super().look()
            return
        self._teach(lesson)
        super().look()
        if not self._placed and not self._scripted and lesson.question is not None:
            self._placed = True
            self._to_gate()
            super().look()
        if not self._scripted:
            lesson.arrive(self.view.limit)
            if lesson.question is None and lesson.scanned < len(self.timeline):
                self._seen = ()  # more has come meanwhile: it is looked at before it is drawn
        self._show_lesson()

    def _teach(self, lesson: Lesson) -> None:
        play = self.feed.play
        if not self._scripted or play is None:
            shown = self.feed.finished and self.view.limit >= len(self.timeline)
            lesson.look(self.view.focus, shown)
            self.view.gate = lesson.gate
            return
        self.view.gate = None
        lesson.turn_to(self.view.focus)
        lesson.scanned = len(self.timeline)
        held = play.state in ("ready", "held")
        if lesson.phase is Phase.WAIT:
            if lesson.settle(self._clock(), play.position > self._position and play.state != "playing"):
                self._drawn = ()
        elif play.state not in RUNNING:
            lesson.ask_own()
        elif held and lesson.phase is Phase.LOOK and lesson.verdict is None and play.position < len(play.steps):
            self._position = play.position
            lesson.predict(play.steps[play.position].actor)

    def _calm(self, now: float) -> bool:
        waiting = self.lesson is not None and self.lesson.phase is Phase.WAIT
        return super()._calm(now) and not waiting

    def action_answer(self, number: int) -> None:
        """Choose one of the answers."""
        lesson = self.lesson
        if lesson is None:
            self.say("Nothing is asked: l begins a lesson.")
            return
        question = lesson.question
        if not lesson.answer(number - 1):
            if lesson.phase is Phase.ASK and question is not None and question.kind == OWN:
                self.say("First enter: it shows the answer.")
            return
        if lesson.phase is Phase.WAIT and self.feed.play is not None:
            self.feed.play.next_step()
        elif question is not None and question.kind != OWN:
            self.view.gate = lesson.gate
            self.view.refresh(self._clock(), more=not self.feed.finished)
            self.view.seek(self.view.track.place_of(question.last + 1))
            if lesson.question is None and self.feed.finished:
                self.view.to_tail()
        self._overview_due = 0.0
        self.at_once()

    def action_enter(self) -> None:
        """On in the lesson: the verdict has been read."""
        lesson = self.lesson
        if lesson is None:
            self.enter()
            return
        if lesson.phase is Phase.ASK and lesson.question is not None and lesson.question.kind != OWN:
            self.say(f"First an answer: 1 to {len(lesson.question.choices)}.")
            return
        lesson.go_on()
        if lesson.phase is Phase.LOOK and not self._scripted:
            self._to_gate()
        self.at_once()

    def enter(self) -> None:
        """What enter does outside a lesson."""
        raise NotImplementedError

    def action_step(self, by: int) -> None:
        """Move the playhead, but not past a question."""
        if by > 0 and self._waits():
            return
        super().action_step(by)

    def action_toggle_play(self) -> None:
        """Hold or go on, but not past a question."""
        if self.view.player.mode is Mode.HOLD and self._waits():
            return
        super().action_toggle_play()

    def action_run_script(self) -> None:
        """In a lesson the answers take the steps."""
        if self.lesson is not None and self._scripted:
            self.say("In a lesson each step is taken by an answer; l ends the lesson.")
        else:
            super().action_run_script()

    def _jump(self, order: int | None, otherwise: str) -> None:
        if order is not None and self.lesson is not None and not self._scripted and order >= self.lesson.gate:
            otherwise = "That lies behind the lesson's question."
        super()._jump(order, otherwise)

    def _waits(self) -> bool:
        """Whether the playhead is at the gate; then the lesson goes on, or says what it waits for."""
        lesson = self.lesson
        if lesson is None or self._scripted or self.view.limit < lesson.gate or lesson.phase is Phase.OVER:
            return False
        self.action_enter()
        return True

    def _show_lesson(self) -> None:
        lesson = self.lesson
        self.set_class(lesson is not None, "-lesson")
        facts = None if lesson is None else self._lesson_facts(lesson)
        if facts != self._told:
            self._told = facts
            self.query_one(LessonBox).show(facts)
            self.call_after_refresh(self._fit)  # the box has another height, and the cursor stays in sight

    def _lesson_facts(self, lesson: Lesson) -> LessonFacts:
        question, verdict, play = lesson.question, lesson.verdict, self.feed.play
        score = f"{lesson.right} of {lesson.asked} right" if lesson.asked else "predict, then run"
        if lesson.phase is Phase.OVER and verdict is None:
            told = f"That was the lesson: {lesson.right} of {lesson.asked} right."
            return LessonFacts(score, told, hint="l ends it; , . step through it again, c and e lead to causes")
        if lesson.phase is Phase.WAIT:
            return LessonFacts(score, "", reply="The actor takes the step …")
        if verdict is not None:
            hint = "enter: next step" if self._scripted else "enter: on to the next question   . one row on   l end"
            return LessonFacts(score, "", verdict=verdict.right, reply=verdict.reply, hint=hint)
        if lesson.phase is Phase.ASK and question is not None:
            if question.kind == OWN:
                if not lesson.revealed:
                    return LessonFacts(score, question.text, hint="say it to yourself, then enter: the answer")
                return LessonFacts(score, question.text, question.choices, reply=question.replies[0])
            due = ""
            if self._scripted and play is not None and play.position < len(play.steps):
                step = play.steps[play.position]
                due = f"Step {play.position + 1}/{len(play.steps)}, {step.actor}: {step.text}"
            hint = "" if lesson.asked else "a number answers   l ends the lesson"
            return LessonFacts(score, question.text, question.choices, reply=due, hint=hint)
        if question is not None:
            return LessonFacts(score, "", hint="enter: on to the next question   . one row on   l end")
        return LessonFacts(score, "", hint="Nothing to ask yet: what comes is watched.   l end")
