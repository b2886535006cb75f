"""The filter bar: one line to type what is looked for, and below it what could come next or what is wrong with it.

It opens on `/` and closes on enter or esc. Tab completes to as much as all completions have in common, then goes
through them; up and down bring back what was asked before. A line that is not a filter stays, with one sentence that
says why.
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from tracer.filter import FilterError, compile_filter, complete
from tui.finder import meaning
from tui.plain import plain
from tui.widgets.pane import cut

HINT = "filter, as  port:8080 flag:fin  state:fin-wait-2  process:nginx  or plain words; enter, esc, tab completes"


def hint(text: str, width: int) -> Content:
    """What stands below the line while it is being typed."""
    if not text.strip():
        return cut(Content.styled(f"  {HINT}", "dim"), width)
    wrong = error(text)
    _, choices = complete(text, "events")
    ends_word = text[-1].isspace() or text[-1] in "()"
    shown = "" if ends_word and not wrong else "  ".join(choices[:24])
    if wrong and (not choices or ends_word):
        return cut(Content.styled("  ✗ ", "bold") + Content(plain(wrong)), width)
    if not shown or (len(choices) == 1 and text.endswith(choices[0])):
        return cut(Content.styled("  ✓ enter applies it", "dim"), width)
    return cut(Content(f"  {shown}"), width)


def error(text: str) -> str:
    """Why it is no filter, one sentence; empty where it is one."""
    try:
        compile_filter(meaning(text), "events")
    except FilterError as wrong:
        return str(wrong)
    return ""


def completed(text: str) -> str:
    """The text with its unfinished word completed as far as all completions go; the first whole one from there."""
    start, choices = complete(text, "events")
    if not choices:
        return text
    common = _common(choices)
    return text[:start] + (common if len(common) > len(text) - start else choices[0])


def _common(words: list[str]) -> str:
    """The beginning that all of them have."""
    first, last = min(words), max(words)
    same = next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    return first[:same]


class _Line(Input):
    """The line itself."""

    BINDINGS: ClassVar = [
        Binding("tab", "complete", show=False),
        Binding("escape", "leave", show=False),
        Binding("up", "past(-1)", show=False),
        Binding("down", "past(1)", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(id="filter-line", select_on_focus=False)
        self.past: list[str] = []
        self._at = 0

    def action_complete(self) -> None:
        """Take over what the text can only become."""
        self.value = completed(self.value)
        self.cursor_position = len(self.value)

    def action_leave(self) -> None:
        """Close the bar, change nothing."""
        self.post_message(FilterBar.Left())

    def action_past(self, by: int) -> None:
        """What was asked before."""
        if self.past:
            self._at = max(0, min(self._at + by, len(self.past)))
            self.value = self.past[self._at] if self._at < len(self.past) else ""
            self.cursor_position = len(self.value)

    def remember(self, text: str) -> None:
        """It was asked."""
        if text and text not in self.past[-1:]:
            self.past.append(text)
        self._at = len(self.past)


class FilterBar(Vertical):
    """Two lines; shown while it is open (class -on)."""

    class Asked(Message):
        """The user wants this looked for; empty for nothing any more."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Left(Message):
        """The user has thought better of it."""

    def compose(self) -> ComposeResult:
        yield _Line()
        yield Static("", id="filter-hint", markup=False)

    @property
    def line(self) -> _Line:
        """The line."""
        return self.query_one(_Line)

    def open(self, text: str) -> None:
        """Show it with a text to begin with, and take the keys."""
        self.add_class("-on")
        self.line.value = text
        self.line.cursor_position = len(text)
        self._hint(hint(text, self._width()))
        self.line.focus()

    def close(self) -> None:
        """Hide it."""
        self.remove_class("-on")

    def _width(self) -> int:
        return self.app.size.width

    def _hint(self, content: Content) -> None:
        self.query_one("#filter-hint", Static).update(content)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._hint(hint(event.value, self._width()))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        wrong = error(event.value)
        if wrong:
            self._hint(cut(Content.styled("  ✗ ", "bold") + Content(plain(wrong)), self._width()))
            return
        self.line.remember(event.value.strip())
        self.post_message(self.Asked(event.value.strip()))
