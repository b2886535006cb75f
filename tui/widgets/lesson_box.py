"""The lesson's box below the ladder: the question with its choices, then what the trace says to the answer.

Right and wrong are words with a sign, never a colour alone. A click on a choice answers as its number does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from textual.content import Content
from textual.style import Style
from textual.widgets import Static

from tui.plain import plain
from tui.widgets.pane import title_line

GAP: Final = "   "


@dataclass(frozen=True)
class LessonFacts:
    """What the box says."""

    score: str
    text: str
    """The question; empty while none is due."""
    choices: tuple[str, ...] = ()
    verdict: bool | None = None
    """True right, False wrong, None neither."""
    reply: str = ""
    hint: str = ""
    """Which key goes on."""


def lesson_lines(facts: LessonFacts, width: int) -> list[Content]:
    """The box in lines of at most `width` cells."""
    room = max(width - 2, 8)
    lines = [title_line("Lesson", width, right=facts.score)]
    if facts.reply:
        sign = {True: "✓ Right: ", False: "✗ No: ", None: ""}[facts.verdict]
        lines += (Content.styled(sign, "bold") + Content(plain(facts.reply))).wrap(room)
    if facts.text:
        lines += Content.styled(plain(facts.text), "bold").wrap(room)
        lines += _choices(facts.choices, room)
    if facts.hint:
        lines += Content.styled(facts.hint, "dim").wrap(room)
    return [lines[0], *(Content(" ") + line for line in lines[1:])]


def _choices(choices: tuple[str, ...], room: int) -> list[Content]:
    """The numbered choices, as many beside one another as fit."""
    lines: list[Content] = []
    for number, choice in enumerate(choices, 1):
        one = Content.styled(f" {number} ", "bold reverse") + Content(f" {plain(choice)}")
        one = one.stylize(Style.from_meta({"@click": f"screen.answer({number})"}))
        if lines and lines[-1].cell_length + len(GAP) + one.cell_length <= room:
            lines[-1] = lines[-1] + Content(GAP) + one
        else:
            lines.append(one)
    return lines


class LessonBox(Static):
    """The box; shown only during a lesson (class -on)."""

    _facts: LessonFacts | None = None
    _drawn: tuple[LessonFacts | None, int] = (None, 0)

    def show(self, facts: LessonFacts | None) -> None:
        """Draw this; None: there is no lesson."""
        self._facts = facts
        self.set_class(facts is not None, "-on")
        self._draw()

    @property
    def text(self) -> str:
        """What is drawn, bare."""
        return self.content.plain if isinstance(self.content, Content) else str(self.content)

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        width = self.size.width
        if self._facts is None or not width or (self._facts, width) == self._drawn:
            return
        self._drawn = (self._facts, width)
        self.update(Content("\n").join(lesson_lines(self._facts, width)))
