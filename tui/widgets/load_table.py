"""The figures of the loads that are over, a column for each model, to be scrolled."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from scenarios.load.table import aligned, notes, table
from tui.load_feed import LoadFeed
from tui.plain import plain


class LoadTable(VerticalScroll):
    """The table; `show` writes it anew."""

    def __init__(self) -> None:
        super().__init__(id="load-table")
        self._text = Static("", markup=False)

    def compose(self) -> ComposeResult:
        yield self._text

    def show(self, feed: LoadFeed) -> None:
        """As far as there is something."""
        if not feed.figures:
            return
        shown = {label: feed.figures[label] for label in feed.labels if label in feed.figures}
        lines = [*aligned(list(table(shown, feed.rows)), max(self.size.width - 2, 40)), "", *notes(shown)]
        self._text.update("\n".join(plain(line) for line in lines))
