"""The scrubber: where the playhead and the cursor are among all events of the connection in focus.

Its axis is events, not seconds, so that a minute of TIME_WAIT takes no more room than the FIN before it. The solid
line ends at the playhead (what is drawn), the knob is the cursor, and what lies ahead is dashed. A click puts the
playhead there. By time, the axis is seconds after all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from tracer.words import duration


@dataclass(frozen=True)
class ScrubberFacts:
    """What the scrubber shows."""

    moving: bool = False
    """The playhead moves by itself."""
    speed: float = 1.0
    cursor: int = 0
    """1-based place of the event under the cursor; 0 where there is none."""
    shown: int = 0
    total: int = 0
    at: int = 0
    """ns from the first event to the cursor's."""
    span: int = 0
    """ns from the first event to the last."""
    marks: Sequence[int] = ()
    """1-based places of marks."""
    by_time: bool = False
    """The axis is time, not events."""
    shown_at: int = 0
    """ns from the first event to the playhead."""
    marks_at: Sequence[int] = ()
    """ns from the first event to each mark."""

    def axis(self) -> tuple[int, int, int, Sequence[int]]:
        """(positions there are, the playhead's, the cursor's, the marks'), all 1-based; 0 for none."""
        if not self.by_time:
            return self.total, self.shown, self.cursor, self.marks
        return (
            1 + self.span, 1 + self.shown_at if self.shown else 0, 1 + self.at if self.cursor else 0,
            [1 + at for at in self.marks_at],
        )  # fmt: skip


def speed_text(speed: float) -> str:
    """0.25 as 1/4x, 2.0 as 2x."""
    return f"{speed:g}x" if speed >= 1 else f"1/{1 / speed:g}x"


def place(position: int, total: int, width: int) -> int:
    """The cell (0..width-1) of the 1-based `position` of `total`."""
    if total <= 1 or width <= 1:
        return 0
    return max(0, min((position - 1) * (width - 1) // (total - 1), width - 1))


def position_at(cell: int, total: int, width: int) -> int:
    """The 1-based position that a click on a cell means; inverse of `place` up to rounding."""
    if total <= 1 or width <= 1:
        return total
    return max(1, min(round(cell * (total - 1) / (width - 1)) + 1, total))


def layout(facts: ScrubberFacts, width: int) -> tuple[str, int, str]:
    """(what stands left of the line, cells of the line, what stands right of it)."""
    glyph = "▶" if facts.moving else "‖"
    left = f" {glyph:<2} {speed_text(facts.speed)} {'time ' if facts.by_time else ''}"
    right = f" {duration(facts.at)} of {duration(facts.span)}  {facts.cursor:,}/{facts.total:,} "
    if width < 60:
        right = f" {facts.cursor:,}/{facts.total:,} "
    if width >= 120 and facts.marks:
        right += f"  marks ◆{len(facts.marks)} "
    return left, max(width - len(left) - len(right) - 2, 1), right


def scrubber_line(facts: ScrubberFacts, width: int) -> Content:
    """The scrubber in at most `width` cells."""
    left, room, right = layout(facts, width)
    total, shown, cursor, marks = facts.axis()
    done = place(shown, total, room) + 1 if shown else 0
    cells = ["─"] * done + ["╌"] * (room - done)
    for mark in marks:
        cells[place(mark, total, room)] = "◆"
    if cursor:
        cells[place(cursor, total, room)] = "●"
    return Content(f"{left}├{''.join(cells)}┤{right}").truncate(width)


class Scrubber(Widget):
    """One line above the footer."""

    class Sought(Message):
        """The user wants the playhead at this 1-based position of the axis."""

        def __init__(self, position: int) -> None:
            super().__init__()
            self.position = position

    facts = ScrubberFacts()

    def show(self, facts: ScrubberFacts) -> None:
        """Draw these."""
        if facts != self.facts:
            self.facts = facts
            self.refresh()

    def render(self) -> Content:
        return scrubber_line(self.facts, self.size.width)

    def _seek(self, x: int) -> None:
        left, room, _ = layout(self.facts, self.size.width)
        self.post_message(self.Sought(position_at(x - len(left) - 1, self.facts.axis()[0], room)))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self.capture_mouse()
        self._seek(event.x)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self.app.mouse_captured is self:
            self._seek(event.x)

    def on_mouse_up(self) -> None:
        self.release_mouse()
