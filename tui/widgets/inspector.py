"""The inspector: all about the event under the cursor, and about both ends around it.

The pane shows sections of label and text (`Section`, made by tui.moment from the timeline), so that it knows neither
kinds of event nor where the facts come from. Beside the ladder it is a column, below 120 columns the whole screen;
where there is room for a sentence only, that is its first line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

LABEL: Final = 9


class Line(NamedTuple):
    """One fact."""

    label: str | None
    """What it is about; empty goes on from the line before, None takes the whole width."""
    text: Content


class Section(NamedTuple):
    """Facts that belong together."""

    title: str
    lines: Sequence[Line]


def sections_content(sections: Sequence[Section], width: int, rule: str = "─") -> Content:
    """The sections in lines of at most `width` cells, texts wrapped beside their labels."""
    out: list[Content] = []
    for section in sections:
        if out:
            out.append(Content(""))
        out.append(title_line(section.title, width, rule))
        for line in section.lines:
            if line.label is None:
                out += line.text.wrap(max(width, 8))
                continue
            wrapped = line.text.wrap(max(width - LABEL, 8)) or [Content("")]
            for i, part in enumerate(wrapped):
                label = line.label if i == 0 else ""
                out.append(Content.styled(f"{label:<{LABEL}}", "dim") + part)
    return Content("\n").join(out)


def title_line(title: str, width: int, rule: str = "─", right: str = "") -> Content:
    """`─ Title ────── right ─`"""
    head = f"{rule} {title} " if title else ""
    tail = f" {right} {rule}" if right else ""
    return Content(f"{head}{rule * max(width - len(head) - len(tail), 0)}{tail}"[:width])


class Inspector(VerticalScroll, can_focus=False):
    """The pane. `show` new sections; equal ones cost nothing."""

    _sections: Sequence[Section] = ()
    _drawn: tuple[Sequence[Section], int] = ((), 0)

    def compose(self) -> Sequence[Widget]:
        return [Static("", id="inspector-text", markup=False)]

    def show(self, sections: Sequence[Section]) -> None:
        """Draw these."""
        self._sections = sections
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        width = self.scrollable_content_region.width
        if width and (self._sections, width) != self._drawn:
            self._drawn = (self._sections, width)
            text = sections_content(self._sections, width, "─")
            self.query_one("#inspector-text", Static).update(text)


class Sentence(Widget):
    """Two lines: a rule that says where the cursor is, and one sentence on the event."""

    _shown: tuple[str, Content] = ("", Content(""))

    def show(self, where: str, sentence: Content) -> None:
        """Draw this."""
        if (where, sentence) != self._shown:
            self._shown = (where, sentence)
            self.refresh()

    def render(self) -> Content:
        where, sentence = self._shown
        width = self.size.width
        line = Content(" ") + sentence
        if line.cell_length > width:
            line = line.truncate(max(width - len("…"), 0)) + Content("…")
        return title_line(where, width, "─", "i: more") + Content("\n") + line
