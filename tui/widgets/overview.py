"""The overview: one row a connection, a bar over time, filled with the shape and colour of its state.

Time is the axis here, unlike in the ladder: this is where one sees that a connection sat in CLOSE_WAIT for a minute.
Each cell is a bucket of time and shows the state at its end; a state that came and went within one bucket is not
shown, but its two-letter code is printed where the state begins and there is room. A reset is printed as a cross in
reverse, since it must never hang on colour alone.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from tracer.kinds import EVIDENCE_MARK
from tracer.states import STATES, State
from tui.connections import Connection

BARS: Final[dict[State, str]] = {
    State.UNKNOWN: " ",
    State.CLOSE: " ",
    State.LISTEN: "·",
    State.SYN_SENT: ">",
    State.NEW_SYN_RECV: "<",
    State.SYN_RECV: "<",
    State.ESTABLISHED: "█",
    State.FIN_WAIT1: "▙",
    State.FIN_WAIT2: "▄",
    State.CLOSING: "╳",
    State.TIME_WAIT: "░",
    State.CLOSE_WAIT: "▀",
    State.LAST_ACK: "▘",
}
"""A picture of half-close: the upper half block is our sending side, the lower our receiving side."""

LABEL: Final = 10
"""Cells left of the bar: a marker and the connection's number."""


@dataclass(frozen=True)
class Row:
    """One connection's bar: for every cell a character and the state it stands for."""

    number: int
    cells: str
    states: Sequence[State]
    reset: int
    """Cell of the reset's cross; -1 where there is none."""


def bar(connection: Connection, start: int, stop: int, until: int, width: int) -> Row:
    """The connection over `start`..`stop` (ns) in `width` cells; blank behind `until`."""
    life = connection.life
    if life is None or width < 1:
        return Row(connection.number, " " * max(width, 0), [State.UNKNOWN] * max(width, 0), -1)
    step = max((stop - start) / width, 1.0)
    reset = min((int((t - start) / step) for t in connection.resets if t <= until), default=-1)
    reset = min(reset, width - 1)
    states: list[State] = []
    for cell in range(width):
        if start + cell * step > until:
            states.append(State.UNKNOWN)
            continue
        at = bisect_right(life.times, min(start + (cell + 1) * step, until))
        state = life.states[at - 1] if at else State.UNKNOWN
        states.append(State.CLOSE if 0 <= reset < cell else state)
    cells = [BARS[state] for state in states]
    begin = 0
    for cell in range(1, width + 1):
        if cell == width or states[cell] is not states[begin]:
            code = STATES[states[begin]].code + EVIDENCE_MARK[life.evidence]
            if states[begin] not in (State.UNKNOWN, State.CLOSE) and cell - begin >= len(code):
                cells[begin : begin + len(code)] = code
            begin = cell
    if reset >= 0:
        cells[reset] = "✗"
        if reset + 4 <= width:
            cells[reset + 1 : reset + 4] = "RST"
    return Row(connection.number, "".join(cells), states, reset)


def row_line(row: Row, focused: bool) -> Content:
    """A row with its label; state codes in the group's colour reversed, bars in it."""
    label = f"{'▶' if focused else ' '}#{row.number}".ljust(LABEL)[:LABEL]
    line = Content.styled(label, "bold" if focused else "")
    begin = 0
    for cell in range(1, len(row.cells) + 1):
        if cell == len(row.cells) or _style(row, cell) != _style(row, begin):
            line += Content.styled(row.cells[begin:cell], _style(row, begin))
            begin = cell
    return line


def _style(row: Row, cell: int) -> str:
    if 0 <= row.reset <= cell < row.reset + 4:
        return "bold reverse"
    group = STATES[row.states[cell]].group
    if group in ("closed", "unknown"):
        return ""
    return f"$state-{group}" + (" bold reverse" if row.cells[cell].isalnum() else "")


class Overview(Widget):
    """The rows around the connection in focus. A click focuses."""

    class Chosen(Message):
        """The user points at a connection."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._shown: tuple[tuple[Row, bool], ...] = ()
        self._heading = ""

    def show(self, connections: Sequence[Connection], focus: int, stop: int, until: int, heading: str = "") -> None:
        """Draw these on an axis that ends at `stop`, up to the moment `until` (both ns); above them `heading`."""
        start = min((c.start for c in connections), default=0)
        width = max(self.size.width - LABEL - 1, 1)
        stop = max(stop, start + 1)
        rows = tuple((bar(c, start, stop, until, width), c.number == focus) for c in connections)
        if (rows, heading) != (self._shown, self._heading):
            more = len(rows) != len(self._shown) or bool(heading) != bool(self._heading)
            self._shown, self._heading = rows, heading
            self.refresh(layout=more)

    def render(self) -> Content:
        heading = [Content(self._heading)] if self._heading else []
        return Content("\n").join([*heading, *(row_line(row, focused) for row, focused in self._shown)])

    def on_click(self, event: events.Click) -> None:
        at = event.y - bool(self._heading)
        if 0 <= at < len(self._shown):
            self.post_message(self.Chosen(self._shown[at][0].number))
