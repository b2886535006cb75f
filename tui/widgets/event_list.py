"""A plain list of one connection's events in words, one line each, drawn by the line."""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tracer.timeline import Timeline
from tracer.words import message
from tui.track import Track


class EventList(ScrollView, can_focus=True):
    """Events of `track` up to a limit, with a cursor."""

    class Moved(Message):
        """The cursor is on the event of this order now."""

        def __init__(self, order: int) -> None:
            super().__init__()
            self.order = order

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self._timeline = timeline
        self._track = Track(timeline, 0)
        self._rows = 0
        self._cursor = -1

    def show(self, track: Track, shown: int, cursor: int) -> None:
        """Draw the first `shown` events of the track, the cursor on the event of order `cursor`."""
        self._track = track
        self._rows = shown
        self._cursor = track.place_of(cursor) if cursor >= 0 else -1
        self.virtual_size = Size(self.size.width, shown)
        if self._cursor >= 0:
            self.scroll_to_region(Region(0, self._cursor, 1, 1), animate=False)
        self.refresh()

    def move(self, by: int) -> None:
        """Move the cursor by rows."""
        if self._rows:
            at = max(0, min(self._cursor + by, self._rows - 1))
            self.post_message(self.Moved(self._track[at]))

    @property
    def page(self) -> int:
        return max(self.size.height - 1, 1)

    def render_line(self, y: int) -> Strip:
        at = y + self.scroll_offset.y
        if at >= self._rows:
            return Strip.blank(self.size.width)
        event = self._timeline[self._track[at]]
        style = Style(reverse=at == self._cursor)
        return Strip([Segment(f"{event.order:6} {message(event)}", style)]).adjust_cell_length(self.size.width, style)
