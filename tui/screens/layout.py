"""Where everything is: the widgets of a trace, and which of its panes there is room for.

The size of the terminal and what was asked for decide (tui.panes); the style sheet does the rest by classes. Nothing
here knows what is drawn.
"""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.geometry import Size
from textual.screen import Screen
from textual.widgets import Static

from tui.feed import Feed
from tui.ladder.widget import Ladder
from tui.panes import PANES, Arrangement, arrange
from tui.widgets.filter_bar import FilterBar
from tui.widgets.footer import KeyFooter
from tui.widgets.header import Header
from tui.widgets.lesson_box import LessonBox
from tui.widgets.overview import Overview
from tui.widgets.queues import Queues
from tui.widgets.scrubber import Scrubber
from tui.widgets.sentence import Sentence
from tui.widgets.step_line import StepLine


class Layout(Screen[None]):
    """The widgets, fitted to the terminal."""

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self.feed = feed
        self.pane = ""
        """The pane that was asked for; empty for what the size of the terminal suggests."""
        self.aside = True
        """There may be panes beside the ladder."""
        self._fitted = Size(0, 0)

    def compose(self) -> ComposeResult:
        with Vertical(id="all"):
            yield Header()
            yield Overview()
            with Horizontal(id="main"):
                with Vertical(id="left"):
                    yield Ladder(self.feed.timeline)
                    yield Queues(id="queues")
                with Vertical(id="side"):
                    for row in PANES:
                        yield row.widget(id=row.name)
            yield Sentence(id="sentence")
            yield LessonBox(markup=False)
            yield StepLine()
            yield FilterBar()
            yield Scrubber()
            yield KeyFooter()
        yield Static("", id="toosmall", markup=False)

    def on_resize(self) -> None:
        """Say that it is too small (where it is), and fit everything to the new size."""
        if self.size == self._fitted:
            return
        self._fitted = self.size
        wanted = f"The terminal is {self.size.width}x{self.size.height}: too small. synfin needs 40x10."
        self.query_one("#toosmall", Static).update(wanted)
        self._arrange()
        self.call_after_refresh(self._fit)

    def arrangement(self) -> Arrangement:
        """Which panes are where."""
        return arrange(self.size.width, self.size.height, self.pane, self.aside)

    def _arrange(self) -> None:
        wanted = self.arrangement()
        for row in PANES:
            self.query_one(f"#{row.name}").display = row.name in wanted.shown
        alone = self.has_class("-zoom") and not wanted.over
        self.query_one("#side").display = bool(wanted.shown) and not alone
        self.set_class(wanted.over, "-over")
        self.set_class(bool(wanted.shown) and not wanted.over, "-beside")
        self.set_class(wanted.broad, "-broad")
        self.set_class(wanted.strip, "-strip")

    def _fit(self) -> None:
        """Paint everything anew: it has another size."""
        raise NotImplementedError
