"""A pane: a document drawn anew when it or the width has changed, and scrolled where it does not fit.

What a document is and how it is drawn is each pane's own affair; none knows where its facts come from. Beside the
ladder a pane is a column, below 120 columns it takes the ladder's place.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual.containers import VerticalScroll
from textual.content import Content
from textual.style import Style
from textual.widget import Widget
from textual.widgets import Static


class Pane(VerticalScroll, can_focus=False):
    """The base of all panes. `show` a document; an equal one costs nothing."""

    _document: object = None
    _drawn: tuple[object, int] = (None, 0)

    def compose(self) -> Sequence[Widget]:
        return [Static("", classes="pane-text", markup=False)]

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
        content = self.query_one(".pane-text", Static).content
        return content.plain if isinstance(content, Content) else str(content)

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        width = self.scrollable_content_region.width
        if not width or self._document is None or (self._document, width) == self._drawn:
            return
        self._drawn = (self._document, width)
        self.query_one(".pane-text", Static).update(Content("\n").join(self.lines(self._document, width)))
        lit = self.lit(self._document)
        if lit >= 0:
            self.call_after_refresh(self._reveal, lit)

    def _reveal(self, line: int) -> None:
        top, height = round(self.scroll_y), max(self.size.height, 1)
        if not top <= line < top + height - 1:
            self.scroll_to(y=max(line - height // 2, 0), animate=False)


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
