"""A pane: a document drawn anew when it or the width has changed, and scrolled where it does not fit.

What a document is and how it is drawn is each pane's own affair; none knows where its facts come from. Beside the
ladder a pane is a column, below 120 columns it takes the ladder's place.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from textual.content import Content
from textual.selection import Selection
from textual.strip import Strip
from textual.style import Style
from textual.visual import Visual

from tui.widgets.scrolled import Scrolled


class Pane(Scrolled, can_focus=False):
    """The base of all panes. `show` a document; equal ones cost nothing, nor do equal lines."""

    _document: object = None
    _drawn: tuple[object, int] = (None, 0)
    _lines: Sequence[Content] = ()

    def show(self, document: object) -> None:
        """Draw this."""
        self._document = document
        self._draw()

    def lines(self, document: object, width: int) -> Sequence[Content]:
        """The document in lines of at most `width` cells."""
        raise NotImplementedError

    def lit(self, document: object) -> int:
        """The line that must be in sight; -1 for any."""
        return -1

    @property
    def text(self) -> str:
        """What is drawn, bare."""
        return "\n".join(line.plain for line in self._lines)

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        width = self.scrollable_content_region.width
        if not width or self._document is None or (self._document, width) == self._drawn:
            return
        self._drawn = (self._document, width)
        before, self._lines = self._lines, self.lines(self._document, width)
        self.measure(len(self._lines))
        for at, (old, new) in enumerate(zip_longest(before, self._lines, fillvalue=None)):
            if old is None or new is None or not new.is_same(old):
                self.refresh_line(at)
        lit = self.lit(self._document)
        if lit >= 0:
            self.call_after_refresh(self._reveal, lit)

    def _reveal(self, line: int) -> None:
        top, height = round(self.scroll_y), max(self.size.height, 1)
        if not top <= line < top + height - 1:
            self.scroll_to(y=max(line - height // 2, 0), animate=False)

    def render_line(self, y: int) -> Strip:
        """Line ``y`` of what is in sight."""
        at, width, style = y + self.scroll_offset.y, self.scrollable_content_region.width, self.visual_style
        if at >= len(self._lines):
            return Strip.blank(width, style.rich_style)
        line, chosen = self._lines[at], self.text_selection
        span = chosen.get_span(at) if chosen is not None else None
        if span is not None:
            colours = self.screen.get_component_styles("screen--selection")
            line = line.stylize(Style.from_styles(colours), span[0], span[1] if span[1] >= 0 else None)
        strip = next(iter(Visual.to_strips(self, line, width, 1, style, apply_selection=False)), Strip.blank(0))
        return strip.extend_cell_length(width, style.rich_style).apply_offsets(0, at)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """What was chosen with the mouse."""
        return selection.extract(self.text), "\n"


def title_line(title: str, width: int, rule: str = "─", right: str = "") -> Content:
    """`─ Title ────── right ─`"""
    head = f"{rule} {title} " if title else ""
    tail = f" {right} {rule}" if right else ""
    return Content(f"{head}{rule * max(width - len(head) - len(tail), 0)}{tail}"[:width])


def link(content: Content, order: int) -> Content:
    """The same as something to click on that leads to event `order`."""
    if order < 0:
        return content
    return content.stylize("underline").stylize(Style.from_meta({"@click": f"screen.go({order})"}))


def cut(line: Content, width: int) -> Content:
    """The line in at most `width` cells, with an ellipsis where it was longer."""
    return line if line.cell_length <= width else line.truncate(max(width - 1, 0)) + Content("…")
