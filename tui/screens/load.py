"""A load while it runs: models side by side as plots, and the table of what is over.

The screen looks at its feed a few times a second and draws what has changed; it knows nothing of servers and clients.
"""

from __future__ import annotations

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Static

from tui.load_feed import LoadFeed
from tui.plain import plain
from tui.widgets.load_plots import PLOTS, LoadPlots
from tui.widgets.load_table import LoadTable

PACE: Final = 0.25
"""Seconds between two looks."""


class LoadScreen(Screen[None]):
    """The feed on a screen; `q` leaves, and the load ends with it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,escape", "leave", show=False),
        Binding("t", "plots", show=False),
    ]

    def __init__(self, feed: LoadFeed) -> None:
        super().__init__()
        self._feed = feed
        self._with_plots = True
        self._drawn: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        yield Static(plain(f" synfin load   {self._feed.title}"), id="load-title", markup=False)
        yield Static("", id="load-now", markup=False)
        yield LoadPlots()
        yield LoadTable()
        yield Static("", id="load-keys", markup=False)

    def on_mount(self) -> None:
        self.query_one(LoadTable).focus()
        self.set_interval(PACE, self.look)
        self.look()

    def on_resize(self) -> None:
        """Other widths, other columns."""
        self._drawn = ()
        self.call_after_refresh(self.look)

    def look(self) -> None:
        """Draw what is new."""
        feed = self._feed
        moments = feed.moments.get(feed.now, ())
        over = sum(map(len, feed.figures.values()))
        new = (feed.now, feed.number, len(moments), over, feed.over, self._with_plots)
        if new == self._drawn:
            return
        before, self._drawn = self._drawn, new
        self.query_one("#load-now", Static).update("\n".join(plain(line) for line in _words(feed)))
        keys = f" ↑↓ scroll   t plots on/off   q {'quit' if feed.over else 'stop'}"
        self.query_one("#load-keys", Static).update(keys)
        plots = self.query_one(LoadPlots)
        plots.display = self._with_plots
        if self._with_plots:
            room = self.size.height * 7 // 10 - 1
            plots.show(feed, max(1, min(3, room // len(PLOTS) - 1)))
        if not before or before[3:] != new[3:]:
            self.query_one(LoadTable).show(feed)

    def action_leave(self) -> None:
        """End it."""
        self.app.exit()

    def action_plots(self) -> None:
        """The table alone, or both."""
        self._with_plots = not self._with_plots
        self.look()


def _words(feed: LoadFeed) -> list[str]:
    """How it stands, in two lines at most."""
    over, whole = sum(map(len, feed.figures.values())), len(feed.labels) * feed.runs
    if feed.failure:
        return [f" {feed.failure}"]
    if feed.over:
        return [f" done: {over} of {whole} loads"]
    if not feed.moments.get(feed.now):
        return [f" {over} of {whole} loads done"]
    moment = feed.moments[feed.now][-1]
    acts = {"connect": "opening connections", "talk": "messages flow", "close": "closing"}
    told = f" load {over + 1} of {whole}: {feed.now}, run {feed.number}: {acts[moment.act]}, {moment.seconds:.0f} s"
    server = {name: moment.counted[name] for name in ("turned_away", "emfile", "timeouts", "errors", "queued")}
    counts = [f"{number:,} {name.replace('_', ' ')}" for name, number in server.items() if number]
    return [told, " the server counts " + ", ".join([f"{moment.counted['messages']:,} messages", *counts])]
