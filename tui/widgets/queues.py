"""The queues at the cursor: a title and one line for each queue's owner, with small gauges where a limit is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from textual.content import Content
from textual.widget import Widget

from tui.widgets.pane import cut, title_line

GAUGE: Final = 5
"""Cells of a gauge."""


def gauge(value: int, limit: int, cells: int = GAUGE) -> Content:
    """`▮▮▯▯▯`; more than nothing shows at least one, and only a full queue shows all; reverse where it runs over."""
    if limit <= 0:
        return Content("")
    full = min(cells, max(value * cells // limit, 1 if value > 0 else 0))
    return Content.styled("▮" * full + "▯" * (cells - full), "bold reverse" if value > limit else "")


class Queues(Widget):
    """The lines, under a rule. The room they take only grows: the ladder above is not to jump from event to event."""

    _shown: tuple[str, Sequence[Content]] = ("", ())
    _room = 0

    def show(self, title: str, lines: Sequence[Content]) -> None:
        """Draw these."""
        if (title, lines) != self._shown:
            more = len(lines) > self._room
            self._shown, self._room = (title, lines), max(self._room, len(lines))
            self.refresh(layout=more)

    def render(self) -> Content:
        title, lines = self._shown
        width = self.size.width
        empty = [Content("")] * (self._room - len(lines))
        return Content("\n").join([title_line(title, width), *(cut(line, width) for line in lines), *empty])
