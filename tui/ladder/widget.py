"""The ladder on screen: rows drawn by the line, and only those that are in sight.

A key of a row's strip is the row itself: rows are frozen, so a strip is drawn anew exactly when its row has become
another one. The widget holds no truth: `show` says which connection, how far and where the cursor is.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from tracer.kinds import Lane, Side
from tracer.timeline import Event, Timeline
from tui.ladder import draw
from tui.ladder.blocks import Blocks
from tui.ladder.model import Model
from tui.ladder.parts import Row
from tui.ladder.sight import Found, Sight
from tui.widgets.scrolled import Scrolled

STRIPS: Final = 1024
"""Drawn lines that are kept."""
ROUNDS: Final = 4
"""Times that what is in sight is merged, and what comes into sight by that."""
MODELS: Final = 16
"""Connections whose rows are kept."""
LANES: Final = {
    Lane.PROGRAM: "app", Lane.THREAD: "app", Lane.EPOLL: "app", Lane.SOCKET: "kernel", Lane.QUEUE: "kernel",
    Lane.TIMER: "kernel", Lane.WIRE: "wire",
}  # fmt: skip
"""Where the ladder draws an event (draw.lane_at)."""


class Ladder(Scrolled, can_focus=True):
    """Rows of one connection up to a limit, with a cursor."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"ladder--cursor", "ladder--header", "ladder--title", "ladder--dim"}
    DEFAULT_CSS = """
    Ladder { overflow-x: hidden; scrollbar-size-vertical: 1; }
    Ladder > .ladder--cursor { background: $cursor-row; }
    Ladder > .ladder--header { color: $foreground 60%; }
    Ladder > .ladder--title { color: $primary; text-style: italic; }
    Ladder > .ladder--dim { color: $foreground 55%; }
    """

    class Moved(Message):
        """The user points at the event of this order."""

        def __init__(self, order: int) -> None:
            super().__init__()
            self.order = order

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self._timeline = timeline
        self._model = Model(timeline, 0)
        self._models: dict[int, Model] = {}
        """Of the connections that were shown last, the latest at the end: merging rows takes time."""
        self._sight = Sight()
        self._asked: tuple[object, ...] = ()
        """What was shown last."""
        self._clock = "r"
        self._marks: frozenset[int] = frozenset()
        self._cursor = self._order = -1
        """Line and event."""
        self._aimed: int | None = None
        """The event that the cursor was sent to and that has not been shown yet."""
        self._top: int | None = None
        """An event of the first line in sight: lines get other numbers where events are merged (tui.ladder.lines)."""
        self._settling = False
        self._present: Row | None = None
        self._strips: OrderedDict[tuple[object, ...], Strip] = OrderedDict()
        self._styles: dict[tuple[str, bool], Style] = {}
        self._base: Style | None = None
        """The widget's own style, worked out once: asking for it walks the whole tree of widgets."""

    def look_for(self, found: Found | None, hide: bool) -> None:
        """From the next ``show`` on dim what is not among the found, or hide it; None: nothing is looked for."""
        self._sight.found, self._sight.hide = found, hide
        self.forget()

    def write_times(self, clock: str) -> None:
        """From the next ``show`` on write times in another way (draw.CLOCKS)."""
        self._clock = clock
        self.forget()

    def show(
        self, connection: int, limit: int, cursor: int, now: int | None = None, marks: frozenset[int] = frozenset(),
        blocks: Blocks | None = None,
    ) -> None:  # fmt: skip
        """Draw ``connection``'s events below order ``limit``, the cursor on the row of event ``cursor``.

        ``now``, ns since the Unix epoch: the view is live and at the tail, so what goes on by itself is drawn too.
        ``marks``: orders of events whose rows bear a mark. ``blocks``: the connection's events, if followed already.
        """
        asked = (connection, limit, cursor, marks, self.size)
        if asked == self._asked and now is not None and not self.behind:  # only time has passed
            drawn, self._present = self._present, self._model.present(now)
            if (drawn is None) is (self._present is None):
                if drawn is not None:
                    self.refresh_line(self._sight.count(self._model) + 1)
                return
        self._asked, self._aimed = asked, None
        self._marks = marks
        if new := connection != self._model.connection:
            known = self._models.pop(connection, None)
            model = Model(self._timeline, connection, blocks) if known is None else known
            self._models[connection] = self._model = model
            if len(self._models) > MODELS:
                del self._models[next(iter(self._models))]
            self._top = None
        self._model.flat = self._sight.hides
        self._model.reveal(limit)
        self._sight.look(self._model)
        present = self._model.present(now) if now is not None else None
        self._present = present
        before, self._order = self._order, cursor
        self._place(cursor != before or new)
        self.refresh()

    def _place(self, moved: bool) -> None:
        """Find the lines of what is in sight and of the cursor, which is to be seen if it has ``moved``."""
        before, loose = self._cursor, self._model.loose
        self._settling = True
        top = self._line(self._top) if loose and self._top is not None else None
        self._measure()
        if top is not None:
            self._scroll(top)
        if self._cursor >= 0 and (moved or (not loose and self._cursor != before)):
            self._see_cursor()
        if loose:
            self._settle()
        self._settling = False

    def _line(self, order: int) -> int:
        """The line of an event; -1 where it has none."""
        row = self._model.row_of(order) if order >= 0 else -1
        return self._sight.line(row) if row >= 0 else -1

    def _measure(self) -> None:
        """The lines may have got other numbers."""
        self._cursor = self._line(self._order)
        self.measure(self._sight.count(self._model) + 1 + (self._present is not None))

    def _scroll(self, line: int) -> None:
        if line != self.scroll_offset.y:
            self.scroll_to(y=line, animate=False, force=True, immediate=True)

    def _settle(self) -> None:
        """Merge what is in sight. Then there is room for more, which may have to be merged too."""
        model = self._model
        for _ in range(ROUNDS):
            count = len(model)
            line = model.settle(min(self.scroll_offset.y, max(count - 1, 0)), self.size.height)
            if len(model) == count:
                break
            self._measure()
            self._scroll(line)
        top = self.scroll_offset.y
        self._top = model.orders(top)[0] if top < len(model) and model.orders(top) else None

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Another part is in sight."""
        super().watch_scroll_y(old_value, new_value)
        if self._model.loose and not self._settling:
            self._settling = True
            self._settle()
            self._settling = False

    def _see_cursor(self) -> None:
        last = self._present is not None and self._cursor == self._sight.count(self._model) - 1
        where = Region(0, self._cursor, 1, 3 if last else 2)
        self.scroll_to_region(where, animate=False, force=True, immediate=True)

    def on_resize(self) -> None:
        """The terminal has another size, or the strip of queues below has taken lines: the cursor stays in sight."""
        if self._cursor >= 0:
            self._see_cursor()

    def move(self, by: int) -> int | None:
        """Order of the event by so many rows from the cursor, over gaps, which are nobody's; None where no row is.

        To be shown next: keys may come faster than they are shown, and each goes on from the one before.
        """
        model = self._model
        at, before = self._cursor if self._aimed is None else self._line(self._aimed), len(model)
        if self._sight.hides:
            at = max(0, min(at + by, self._sight.count(model) - 1))
        else:
            at = model.reach(at, by)
        way, count = 1 if by > 0 else -1, self._sight.count(model)
        while 0 <= at < count and self._main(at) < 0:
            at += way
        if 0 <= at < count:
            self._aimed = self._main(at)
        if len(model) != before:
            self._place(False)
        return self._aimed

    def _main(self, line: int) -> int:
        return self._model.main(self._sight.row(line))

    def text(self) -> str:
        """The row under the cursor as bare text; empty while there is none."""
        if self._cursor < 0:
            return ""
        row = self._model[self._sight.row(self._cursor)]
        return draw.plain(row, max(self.scrollable_content_region.width, 80), self._model.start)

    def forget(self) -> None:
        """Keep no drawn lines: the next look draws all of them anew."""
        self._asked = ()
        self._strips.clear()

    @property
    def behind(self) -> bool:
        """The next ``show`` of the same merges more events into rows."""
        return self._model.behind

    @property
    def page(self) -> int:
        """Rows to a screenful."""
        return max(self.size.height - 2, 1)

    def notify_style_update(self) -> None:
        """The theme has changed."""
        super().notify_style_update()
        self._base = None
        self._styles.clear()
        self._strips.clear()

    def render_line(self, y: int) -> Strip:
        """Line ``y`` of the widget: the lanes' names, then the rows in sight."""
        width = self.scrollable_content_region.width
        base = self._base = self._base or self.rich_style
        if y == 0:
            style = base + self.get_component_rich_style("ladder--header")
            return Strip([Segment(draw.header(width, self._model.missing, self._clock), style)], width)
        line, count = y - 1 + self.scroll_offset.y, self._sight.count(self._model)
        if line == count and self._present is not None:
            return self._draw(self._present, width, base)
        if line >= count:
            return Strip.blank(width, base)
        at, lit = self._sight.row(line), line == self._cursor
        meets = self._sight.meets(self._model, at)
        sign = "◆" if self._marks and not self._marks.isdisjoint(self._model.orders(at)) else "•" if meets else ""
        model, before = self._model, 0
        if at and self._clock == "d":
            before = model[at - 1].time
        key = (model.connection, model.start, model.key(at), width, lit, sign, meets, before)
        strip = self._strips.get(key)
        if strip is None:
            strip = self._draw(self._model[at], width, base, lit=lit, sign=sign, faint=meets is False, before=before)
            self._strips[key] = strip
            if len(self._strips) > STRIPS:
                self._strips.popitem(last=False)
        return strip

    def _draw(
        self, row: Row, width: int, base: Style, *, lit: bool = False, sign: str = "", faint: bool = False,
        before: int = 0,
    ) -> Strip:  # fmt: skip
        pieces = draw.row(row, width, self._model.start, lit=lit, sign=sign, clock=self._clock, before=before)
        if faint and not lit:
            pieces = [(text, "dim") for text, _ in pieces]
        return Strip([Segment(text, self._style(role, lit, base)) for text, role in pieces], width)

    def _style(self, role: str, lit: bool, base: Style) -> Style:
        known = self._styles.get((role, lit))
        if known is None:
            under = base + self.get_component_rich_style("ladder--cursor", partial=True) if lit else base
            known = self._styles[role, lit] = under + self._make(role)
        return known

    def _make(self, role: str) -> Style:
        if role in ("dim", "gap", "time"):
            return self.get_component_rich_style("ladder--dim", partial=True)
        if role == "title":
            return self.get_component_rich_style("ladder--title", partial=True)
        if role == "lost":
            return Style(reverse=True, bold=True)
        group = role.removesuffix("-on")
        colour = self.app.theme_variables.get(f"state-{group}")
        if colour is None:
            return Style()
        return Style(color=colour, bold=not role.endswith("-on"))

    async def on_click(self, event: events.Click) -> None:
        """The cursor to what was clicked: of the events in a row to the first one of that lane, if there is any."""
        line = event.y - 1 + self.scroll_offset.y
        if 0 <= line < self._sight.count(self._model) and self._main(line) >= 0:
            which, side = draw.lane_at(event.x, self.scrollable_content_region.width, self._clock)
            orders = self._model.orders(self._sight.row(line))
            of_lane = (order for order in orders if self._in_lane(self._timeline[order], which, side))
            self.post_message(self.Moved(next(of_lane, self._main(line))))

    @staticmethod
    def _in_lane(event: Event, which: str, side: Side) -> bool:
        return LANES.get(event.kind.lane) == which and (which == "wire" or event.side == side)
