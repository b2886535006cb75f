"""The overview: one row a connection, a bar over time, filled with the shape and colour of its state.

Time is the axis here, unlike in the ladder: this is where one sees that a connection sat in CLOSE_WAIT for a minute.
Where there are too many connections to look at each, the state river stands above the rows around the one in focus; a
listener's queues stand below them. One may zoom into a part of time and pan; dragging selects one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from textual import events
from textual.content import Content
from textual.message import Message
from textual.strip import Strip
from textual.visual import Visual
from textual.widget import Widget

from tracer.words import duration
from tui.connections import Connection, Listing
from tui.doors import Door
from tui.span import Span
from tui.widgets.overview_rows import BARS, LABEL, Axis, Row, bar, queues, river, row_line, stream

MANY: Final = 24
"""Connections past which they are looked at together too: more rows than that fit nowhere."""
HIGH: Final = 5
"""Lines from which on there is room for a heading and an axis."""
AXIS: Final = 1
"""The line of the axis."""
BARRED: Final = 1024
"""Lines that are kept as they were drawn."""
TICK: Final = 24
"""Cells from one time on the axis to the next."""


@dataclass(frozen=True)
class Shown:
    """What the overview shows."""

    listing: Listing
    numbers: Sequence[int]
    """Of the connections that have rows."""
    focus: int
    """The one in focus; 0 for none."""
    until: int
    """ns: the moment up to which is drawn."""
    stop: int
    """ns, of the end of all."""
    lines: int
    """There is room for."""


class Overview(Widget):
    """The rows around the connection in focus. A click focuses, dragging selects, the wheel zooms."""

    class Chosen(Message):
        """The user points at a connection, and at a moment (ns) of it; None: beside its bar."""

        def __init__(self, number: int, moment: int | None) -> None:
            super().__init__()
            self.number, self.moment = number, moment

    class Spanned(Message):
        """The user has selected a part of time: it is to be drawn."""

    class Wheeled(Message):
        """The user wants to be closer to a moment (ns), or further away for `by` < 0."""

        def __init__(self, by: int, moment: int) -> None:
            super().__init__()
            self.by, self.moment = by, moment

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.span = Span()
        """The part of time in sight."""
        self._lines: tuple[Content, ...] = ()
        self._rows: tuple[Row | None, ...] = ()
        self._axis = Axis(0, 1, 1, 0)
        self._key: tuple[object, ...] = ()
        self._drawn: tuple[object, ...] = ()
        self._bars: dict[tuple[object, ...], tuple[Content, Row]] = {}
        """What was drawn of single connections on this axis."""
        self._barred = self._axis
        self._strips: dict[int, tuple[Content, Strip]] = {}
        """Lines that were drawn, by what they were made of: most stay as they are from one look to the next."""
        self._stripped: tuple[object, ...] = ()
        self._together: list[Content] = []
        """What was drawn of all connections."""
        self._pressed = -1
        """The cell where a mouse button went down; -1 while none is."""
        self._dragged = -1
        """The cell to which the mouse was moved since."""
        self._start = 0
        """ns, of the first connection: what moments are counted from."""

    def show(self, shown: Shown) -> None:
        """Draw this."""
        listing = shown.listing
        self._start = listing.start
        start, stop = self.span.of(listing.start, shown.stop)
        width = max(self.size.width - LABEL - 1, 1)
        self._axis = Axis(start, stop, width, shown.until)
        # The river of a million changes takes some hundredths of a second: not if all is as it was.
        key = (len(listing.flow), len(listing), tuple(shown.numbers[:1]), len(shown.numbers), shown.focus, self._axis,
               shown.lines)  # fmt: skip
        calm = key == self._key
        self._key = key
        lines = self._lines if calm and len(listing) > MANY else self._draw(shown)
        if lines != self._lines:
            more = len(lines) != len(self._lines)
            self._lines = lines
            self.refresh(layout=more)

    def _draw(self, shown: Shown) -> tuple[Content, ...]:
        lines: list[tuple[Content, Row | None]] = []
        listing, numbers = shown.listing, shown.numbers
        high = shown.lines >= HIGH
        if high and numbers:
            lines += [(self._heading(shown), None), (self._ticks(shown), None)]
        below = self._queues(listing, high, shown.lines - len(lines) - 1)
        if len(numbers) > MANY:
            lines += [(line, None) for line in self._all(listing, len(numbers), high)]
        room = max(shown.lines - len(lines) - len(below), 1)
        at = min(bisect_left(numbers, shown.focus), len(numbers) - 1) if numbers else 0
        first = max(0, min(at - room // 2, len(numbers) - room))
        for number in numbers[first : first + room]:
            lines.append(self._bar(listing[number], number == shown.focus))
        lines += [(row_line(row), None) for row in below]
        self._rows = tuple(row for _, row in lines)
        return tuple(line for line, _ in lines)

    def _bar(self, connection: Connection, focused: bool) -> tuple[Content, Row]:
        """A connection's line, drawn again only where something new is known of it."""
        if self._barred != self._axis or len(self._bars) > BARRED:
            self._barred = self._axis
            self._bars.clear()
        life = connection.life
        told = (len(life.times), *life.evidence[-1:]) if life is not None else ()
        key = (connection.number, focused, told, len(connection.resets), len(connection.losses))
        if key not in self._bars:
            row = bar(connection, self._axis)
            self._bars[key] = row_line(row, focused), row
        return self._bars[key]

    def _all(self, listing: Listing, many: int, high: bool) -> list[Content]:
        """All connections together; drawn once for a moment, whichever of them is in focus."""
        key = (len(listing.flow), self._axis, many, high)
        if key != self._drawn:
            rows = river(listing.flow, self._axis) if high else [stream(listing.flow, self._axis, many)]
            self._drawn, self._together = key, [row_line(row) for row in rows]
        return self._together

    def _heading(self, shown: Shown) -> Content:
        hidden = len(shown.listing) - len(shown.numbers)
        words = f" Overview  {len(shown.numbers):,} connection{'s' * (len(shown.numbers) != 1)}"
        why = "without a match hidden" if shown.listing.whole else "without a match, or not read yet, hidden"
        words += f" ({hidden:,} {why})" if hidden > 0 else ""
        start = shown.listing.start
        if self.span.whole:
            words += f"  {duration(self._axis.stop - self._axis.start)}"
        else:
            words += f"  {duration(self._axis.start - start)} to {duration(self._axis.stop - start)}"
        zero = f"{datetime.fromtimestamp(start // 10**9, UTC):%H:%M:%S}.{start // 10**6 % 1000:03d} UTC"
        for text in (f" from the first event, {zero}", "   zoom w s  pan a d  fit f"):
            words += text if len(words) + len(text) <= self._axis.width else ""
        return Content(words)

    def _ticks(self, shown: Shown) -> Content:
        text = " " * LABEL
        for cell in range(0, self._axis.width - TICK // 2, TICK):
            text = text.ljust(LABEL + cell) + f"╷{duration(self._axis.time(cell) - shown.listing.start)}"
        return Content.styled(text, "dim")

    def _queues(self, listing: Listing, high: bool, room: int) -> list[Row]:
        """Of the listener whose queue was longest: both queues where there is room, else the accept queue."""
        doors = [door for door in listing.doors.values() if len(door.times)]
        if not doors or room < 2:
            return []

        def fullest(door: Door) -> int:
            return int(max(door.accept.values.max(), door.syn.values.max()))

        syn, accept = queues(max(doors, key=fullest), self._axis)
        return [syn, accept] if high else [accept]

    def _composed(self) -> list[Content]:
        lines = list(self._lines)
        if self._selects and lines:
            lines[AXIS if len(lines) >= HIGH else -1] = self._selection()
        return lines

    def render(self) -> Content:
        return Content("\n").join(self._composed())

    def render_line(self, y: int) -> Strip:
        """Line ``y``; asked for instead of all of it at once, since few of them change."""
        width, style, lines = self.size.width, self.visual_style, self._composed()
        if y >= len(lines):
            return Strip.blank(width, style.rich_style)
        if self._stripped != (width, style) or len(self._strips) > BARRED:
            self._stripped = width, style
            self._strips.clear()
        line = lines[y]
        known = self._strips.get(id(line))
        if known is None:
            known = self._strips[id(line)] = line, Visual.to_strips(self, line, width, 1, style)[0]
        return known[1]

    # The mouse

    @property
    def _selects(self) -> bool:
        """More than a click: it was moved with the button down."""
        return self._pressed >= 0 and abs(self._dragged - self._pressed) > 1

    def _selection(self) -> Content:
        """The part of time between the cell where the button went down and where the mouse is: ├── 2 ms to 9 ms ──┤."""
        first, last = sorted((self._pressed, self._dragged))
        begin, end = self._axis.time(first) - self._start, self._axis.time(last + 1) - self._start
        told, cells = f" {duration(begin)} to {duration(end)} ", last - first - 1
        if len(told) <= cells:
            return Content(" " * (LABEL + first) + f"├{told.center(cells, '─')}┤")
        line = f"├{'─' * cells}┤"
        right = LABEL + last + 1 + len(told) <= self.size.width
        return Content(" " * (LABEL + first) + line + told if right else f"{told + line:>{LABEL + last + 1}}")

    def _cell(self, x: int) -> int:
        return max(0, min(x - LABEL, self._axis.width - 1))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self.capture_mouse()
        self._dragged = self._pressed = self._cell(event.x) if event.x >= LABEL else -1

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._pressed >= 0:
            self._dragged = self._cell(event.x)
            self.refresh()

    def on_mouse_up(self, event: events.MouseUp) -> None:
        self.release_mouse()
        if self._pressed >= 0:
            self._dragged = self._cell(event.x)
        selects, pressed, cell = self._selects, self._pressed, self._dragged
        self._pressed = self._dragged = -1
        self.refresh()
        if selects:
            self.span.select(self._axis.time(min(pressed, cell)), self._axis.time(max(pressed, cell) + 1))
            self.post_message(self.Spanned())
            return
        row = self._rows[event.y] if 0 <= event.y < len(self._rows) else None
        if row is not None:
            self.post_message(self.Chosen(row.number, self._axis.time(pressed + 1) if pressed >= 0 else None))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self.post_message(self.Wheeled(1, self._axis.time(self._cell(event.x))))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self.post_message(self.Wheeled(-1, self._axis.time(self._cell(event.x))))


__all__ = ["BARS", "LABEL", "Overview", "Shown"]
