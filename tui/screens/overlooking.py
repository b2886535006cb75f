"""Keys of the overview: zoom and pan in time, all of it or the connection in focus, and the overview alone."""

from __future__ import annotations

from tui.screens.playing import Playing
from tui.screens.showing import Showing
from tui.watch import NOWHERE
from tui.widgets.overview import Overview


class Overlooking(Playing, Showing):
    """The picture with the overview's keys; while it is alone, those that move go through connections."""

    @property
    def _alone(self) -> bool:
        return self.has_class("-overview")

    def action_cursor(self, by: int) -> None:
        """By rows: of the overview where that is alone."""
        if self._alone:
            self.action_connection(by)
        else:
            super().action_cursor(by)

    def action_page(self, by: int) -> None:
        """By screenfuls: of the overview where that is alone."""
        if self._alone:
            self.action_connection(by * max(self.size.height // 2, 1))
        else:
            super().action_page(by)

    def action_out(self) -> None:
        """Out of the overview first."""
        if self._alone:
            self.action_overview()
        else:
            super().action_out()

    def _ends(self) -> tuple[int, int]:
        """All of time, in ns."""
        connections = self.view.connections
        return connections.start, max(connections.last_time, connections.start + 1)

    def _again(self) -> None:
        self._overview_due = 0.0
        self.at_once()

    def action_zoom(self, by: int) -> None:
        """Closer around the cursor's moment, or further away."""
        cursor = self.view.cursor
        at = self.timeline[cursor].time if cursor != NOWHERE else 0
        self._zoom(by, at)

    def _zoom(self, by: int, at: int) -> None:
        self.query_one(Overview).span.zoom(by, *self._ends(), at)
        self._again()

    def action_pan(self, by: int) -> None:
        """Earlier or later."""
        self.query_one(Overview).span.pan(by, *self._ends())
        self._again()

    def action_fit(self) -> None:
        """All of time; where that is in sight, the time of the connection in focus."""
        span, connection = self.query_one(Overview).span, self.view.connection
        if not span.whole:
            span.fit()
        elif connection is not None:
            span.select(connection.start, connection.stop(self._ends()[1]))
        self._again()

    def action_overview(self) -> None:
        """The overview alone, or everything."""
        self.toggle_class("-overview")
        self._overview_due = 0.0
        self.call_after_refresh(self._fit)

    def on_overview_spanned(self) -> None:
        """A part of time was selected with the mouse."""
        self._again()

    def on_overview_wheeled(self, message: Overview.Wheeled) -> None:
        """The wheel was turned over a moment."""
        self._zoom(message.by, message.moment)
