"""Rows of the overview on one axis of time: a connection's bar, the state river, a listener's queues.

Each cell is a bucket of time, and in a bucket the more important wins: a RST before an overflow before a loss before a
state that passes before one that lasts. So a SYN_SENT of sixty microseconds is seen, however far one has zoomed out.
The two-letter code is printed where a state begins and there is room. A reset, an overflow and a loss are signs in
reverse, since nothing may hang on colour alone.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from textual.content import Content

from tracer.flow import GROUPS, STEADY, Flow, by_group, foremost
from tracer.kinds import EVIDENCE_MARK
from tracer.states import STATES, State
from tui.connections import Connection, Life
from tui.doors import Door

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
"""Cells left of the bar: a marker and what the row is of."""
HEIGHTS: Final = " ▁▂▃▅▆▇█"
"""How many there are, against the most there may be; without the half block, which is a state."""
SIGNS: Final = {"reset": "✗", "overflow": "!", "loss": "×"}
"""What went wrong in a bucket."""
NAMES: Final = {
    "opening": "opens", "open": "open", "we-close": "close", "peer-closes": "peer", "waiting": "wait",
}  # fmt: skip
"""The groups of states, in as many cells as there are."""
_LASTING: Final = STEADY | {State.UNKNOWN, State.CLOSE}
_UNKNOWN: Final = -1
_CLOSED: Final = -2
_GONE: Final = {_UNKNOWN: State.UNKNOWN, _CLOSED: State.CLOSE}
"""Where no entered state is seen: before the first one, and behind a reset."""


@dataclass(frozen=True)
class Row:
    """A row: for every cell a character and how it is drawn."""

    number: int
    """Of the connection; 0 for what is none."""
    cells: str
    styles: Sequence[str]
    label: str = ""


@dataclass(frozen=True)
class Axis:
    """What cells mean."""

    start: int
    """ns since the Unix epoch."""
    stop: int
    width: int
    """Cells."""
    until: int
    """ns: behind that nothing is drawn."""

    @property
    def step(self) -> float:
        """ns to a cell."""
        return max((self.stop - self.start) / self.width, 1.0)

    @property
    def edges(self) -> NDArray[np.int64]:
        """Bounds of the buckets, one more than there are cells; none of them behind ``until``."""
        edges = self.start + (np.arange(self.width + 1) * self.step).astype(np.int64)
        return np.minimum(edges, self.until + 1)

    def cell(self, time: int) -> int:
        """The cell of a moment; outside 0..width-1 where it is not in sight."""
        return int((time - self.start) // self.step)

    def time(self, cell: int) -> int:
        """The moment at which a cell begins."""
        return self.start + int(cell * self.step)


def bar(connection: Connection, axis: Axis) -> Row:
    """A connection's row."""
    life = connection.life
    if life is None or axis.width < 1:
        return Row(connection.number, " " * max(axis.width, 0), [""] * max(axis.width, 0))
    entered = _entered(life, connection.resets, axis)
    states = [life.states[at] if at >= 0 else _GONE[at] for at in entered]
    cells, styles = [BARS[state] for state in states], [_style(state) for state in states]
    begin = 0
    for cell in range(1, axis.width + 1):
        if cell == axis.width or states[cell] is not states[begin]:
            code = STATES[states[begin]].code
            if entered[begin] >= 0:
                code += EVIDENCE_MARK[life.evidence[entered[begin]]]
            if states[begin] not in (State.UNKNOWN, State.CLOSE) and cell - begin >= len(code):
                cells[begin : begin + len(code)] = code
                styles[begin : begin + len(code)] = [f"{styles[begin]} bold reverse"] * len(code)
            begin = cell
    for sign, times, word in ((SIGNS["loss"], connection.losses, ""), (SIGNS["reset"], connection.resets, "RST")):
        for time in times if time_in_sight(times, axis) else ():
            cell = axis.cell(time)
            if time <= axis.until and 0 <= cell < axis.width:
                text = sign + word if cell + len(word) < axis.width else sign
                cells[cell : cell + len(text)] = text
                styles[cell : cell + len(text)] = ["bold reverse"] * len(text)
                if word:
                    break
    return Row(connection.number, "".join(cells), styles)


def time_in_sight(times: Sequence[int], axis: Axis) -> bool:
    """Whether any of these moments may be drawn."""
    return bool(times) and min(times) <= axis.until


def _entered(life: Life, resets: Sequence[int], axis: Axis) -> list[int]:
    """Which of the life's states is seen in each cell; one of `_GONE` where it is none."""
    first = min((time for time in resets if time <= axis.until), default=None)
    reset = axis.width if first is None else max(axis.cell(first), -1)
    begins = np.array([axis.time(cell) for cell in range(axis.width + 1)], np.int64)
    ends = np.minimum(begins[1:], axis.until + 1)
    begins = begins[:-1]
    before, after = (np.searchsorted(np.array(life.times, np.int64), edge, side="right") for edge in (begins, ends - 1))
    seen = after - 1
    seen[after == 0] = _UNKNOWN
    for cell in np.flatnonzero(after > before).tolist():  # in the others it is in one state all the time
        seen[cell] = _foremost(life, int(begins[cell]), int(ends[cell]))
    seen[reset + 1 :] = _CLOSED
    seen[begins > axis.until] = _UNKNOWN
    found: list[int] = seen.tolist()
    return found


def _foremost(life: Life, begin: int, end: int) -> int:
    """Of the states of a bucket the one that passes and was there longest, else the last."""
    low, high = bisect_right(life.times, begin), bisect_right(life.times, end - 1)
    longest, found = -1, high - 1 if high else _UNKNOWN
    for at in range(max(low - 1, 0), high):
        since, to = max(life.times[at], begin), life.times[at + 1] if at + 1 < high else end
        if life.states[at] not in _LASTING and to - since > longest:
            longest, found = to - since, at
    return found


def _style(state: State) -> str:
    group = STATES[state].group
    return "" if group in ("closed", "unknown") else f"$state-{group}"


def river(flow: Flow, axis: Axis) -> list[Row]:
    """How many ends there are of each group of states, a row each, as high as its most, and what went wrong."""
    edges = axis.edges
    groups = by_group(flow.states(edges))
    drawn = np.diff(edges) > 0
    rows = []
    for group in GROUPS:
        counts = np.where(drawn, groups[group], 0)
        most = int(counts.max(initial=0))
        cells = "".join(_height(count, most) for count in counts.tolist())
        rows.append(Row(0, cells, [f"$state-{group}"] * axis.width, f" {NAMES[group]:<5}{short(most):>4}"))
    troubles = flow.troubles(edges)
    if any(counts.any() for counts in troubles.values()):
        rows.append(_troubles(troubles, axis))
    return rows


def _troubles(troubles: Mapping[str, NDArray[np.int64]], axis: Axis) -> Row:
    cells, styles = [" "] * axis.width, [""] * axis.width
    for name in reversed(SIGNS):
        for cell in np.flatnonzero(troubles[name]).tolist():
            cells[cell], styles[cell] = SIGNS[name], "bold reverse"
    return Row(0, "".join(cells), styles, " trouble")


def stream(flow: Flow, axis: Axis, many: int) -> Row:
    """The river in one row: of each bucket what is most important of all connections."""
    edges = axis.edges
    states = foremost(flow.states(edges))
    drawn = np.diff(edges) > 0
    cells = [BARS[state] if seen else " " for state, seen in zip(states, drawn.tolist(), strict=True)]
    styles = [_style(state) for state in states]
    troubles = flow.troubles(edges)
    if any(counts.any() for counts in troubles.values()):
        wrong = _troubles(troubles, axis)
        for cell in range(axis.width):
            if wrong.styles[cell]:
                cells[cell], styles[cell] = wrong.cells[cell], wrong.styles[cell]
    return Row(0, "".join(cells), styles, f" all {short(many)}")


def queues(door: Door, axis: Axis) -> tuple[Row, Row]:
    """A listener's SYN queue and accept queue against their limit; what is beyond it is an overflow."""
    edges = axis.edges
    syn, accept, limits = door.most(edges)
    drawn = np.diff(edges) > 0
    rows = []
    for name, lengths in (("syn", syn), ("acc", accept)):
        cells, styles = [], []
        for length, limit, seen in zip(lengths.tolist(), limits.tolist(), drawn.tolist(), strict=True):
            over = seen and 0 < limit < length
            cells.append(SIGNS["overflow"] if over else _height(length, limit) if seen and limit else " ")
            if not over and seen and limit and not length:
                cells[-1] = BARS[State.LISTEN]
            styles.append("bold reverse" if over else "$state-opening")
        most, limit = int(lengths[drawn].max(initial=0)), int(limits.max(initial=0))
        rows.append(Row(0, "".join(cells), styles, f" {name}q {short(most)}/{short(limit)}"))
    return rows[0], rows[1]


def _height(count: int, most: int) -> str:
    """Nothing for none, something for any, all for the most."""
    if count <= 0 or most <= 0:
        return HEIGHTS[0]
    return HEIGHTS[min(-(-count * (len(HEIGHTS) - 1) // most), len(HEIGHTS) - 1)]


def short(count: int) -> str:
    """A number in at most four cells: 999, 1.2k, 123k, 1.2M."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            value = count / size
            return f"{value:.1f}{unit}" if value < 9.95 else f"{value:.0f}{unit}"
    return str(count)


def row_line(row: Row, focused: bool = False) -> Content:
    """A row with its label; state codes in the group's colour reversed, bars in it."""
    label = row.label or f"{'▶' if focused else ' '}#{row.number}"
    parts = [(label.ljust(LABEL)[:LABEL], "bold" if focused else "")]
    begin = 0
    for cell in range(1, len(row.cells) + 1):
        if cell == len(row.cells) or row.styles[cell] != row.styles[begin]:
            parts.append((row.cells[begin:cell], row.styles[begin]))
            begin = cell
    return Content.assemble(*parts)
