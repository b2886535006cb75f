"""A row of the ladder as text of an exact width.

Lanes, from left to right: time, client program, client socket, wire, server kernel, server program. The wire takes
what the others leave. Solid arrows carry data, SYN or FIN, dashed ones a bare ACK, double ones a retransmission, a
cross ends what was lost or reset. Shapes alone tell all of that; colour only repeats it.

The result is a list of (text, role) pieces; what a role looks like is the widget's affair.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from rich.cells import cell_len, set_cell_size

from tracer.kinds import Side
from tracer.states import STATES, State
from tracer.words import duration
from tui.ladder.parts import Arrow, End, Row

Piece = tuple[str, str]
"""Text and its role: time, app, wire, dim, title, gap, lost, or a state's group."""

WIDE: Final = 110
"""Columns from which states are written out."""


@dataclass(frozen=True, slots=True)
class Lanes:
    """Widths of the lanes, in columns."""

    time: int
    app: int
    socket: int
    wire: int
    kernel: int
    server: int

    @property
    def total(self) -> int:
        """All lanes, and the columns between them."""
        return 1 + self.time + 1 + self.app + 1 + self.socket + self.wire + 1 + self.kernel + self.server


def lane_at(x: int, width: int, clock: str = "r") -> tuple[str, Side]:
    """The lane at column ``x``, and whose it is: app, kernel, wire (nobody's), or an empty name for the time."""
    lane = lanes(width, clock)
    client, server = Side.CLIENT, Side.SERVER
    for which, side, size in (
        ("", Side.NONE, lane.time + 2), ("app", client, lane.app + 1), ("kernel", client, lane.socket),
        ("wire", Side.NONE, lane.wire + 1), ("kernel", server, lane.kernel),
    ):  # fmt: skip
        if x < size:
            return which, side
        x -= size
    return "app", server


CLOCKS: Final = ("r", "d", "a", "e")
"""Ways to write a time, with tshark's letters: relative to the first event, delta, absolute (UTC), epoch."""
_CLOCK_WORDS: Final = {"r": " time ms", "d": " +ms", "a": " UTC", "e": " epoch s"}
_CLOCK_CELLS: Final = {"a": 12, "e": 14}
"""Columns that a time needs at least."""


@lru_cache(maxsize=16)
def lanes(width: int, clock: str = "r") -> Lanes:
    """The widths for a ladder of so many columns."""
    if width >= WIDE:
        spare = min((width - WIDE) // 4, 8)
        fixed = Lanes(10, 18 + spare, 16 + spare // 2, 0, 24, 17 + spare)
    elif width >= 72:
        fixed = Lanes(8, 15, 3, 0, 12, 15)
    else:
        fixed = Lanes(8, max(6, width // 7), 3, 0, 3, max(6, width // 7))
    fixed = replace(fixed, time=max(fixed.time, _CLOCK_CELLS.get(clock, 0)))
    rest = max(width - fixed.total, 8)
    return Lanes(fixed.time, fixed.app, fixed.socket, rest, fixed.kernel, fixed.server)


def header(width: int, missing: frozenset[tuple[str, Side]] = frozenset(), clock: str = "r") -> str:
    """The names of the lanes, and of which of them (``missing``: app or kernel, and whose) there is no source."""
    lane = lanes(width, clock)
    wide = width >= WIDE

    def name(which: str, side: Side, text: str, size: int) -> str:
        if (which, side) not in missing or size < 10:
            return fit(text, size)
        return fit(best(("no source", "not captured", f"{side.name.lower()}: not captured"), size - 1), size)

    client, server = Side.CLIENT, Side.SERVER
    names = (
        fit(_CLOCK_WORDS[clock], lane.time + 2),
        name("app", client, "client program" if wide else "client", lane.app + 1),
        name("kernel", client, "client socket" if wide else "", lane.socket),
        fit("wire".center(lane.wire), lane.wire + 1),
        name("kernel", server, "server kernel" if wide else "kernel", lane.kernel),
        name("app", server, "server program" if wide else "server", lane.server),
    )
    return fit("".join(names), width)


def moment(ms: float, width: int) -> str:
    """A time in ms with as many of three decimals as fit, right-aligned; in seconds where none do."""
    digits = next((f"{ms:.{n}f}" for n in (3, 2, 1, 0) if len(f"{ms:.{n}f}") <= width), f"{ms / 1000:.0f}s")
    return fit(digits.rjust(width), width)


def fit(text: str, width: int) -> str:
    """``text`` in exactly ``width`` cells: padded, or cut with an ellipsis."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, max(width - 1, 0)) + "…" if width > 0 else ""


def best(words: tuple[str, ...], width: int) -> str:
    """The longest of ``words`` that fits, else the first."""
    return next((text for text in reversed(words) if cell_len(text) <= width), words[0] if words else "")


def when(time: int, start: int, before: int, width: int, clock: str) -> str:
    """A moment (ns since the Unix epoch) as ``clock`` has it: since ``start``, since ``before``, of the day, as is."""
    if clock == "a":
        day = datetime.fromtimestamp(time // 10**9, UTC)
        return fit(f"{day:%H:%M:%S}.{time // 10**6 % 1000:03d}".rjust(width), width)
    if clock == "e":
        return fit(f"{time / 1e9:.3f}".rjust(width), width)
    return moment((time - (before or time if clock == "d" else start)) / 1e6, width)


def row(
    line: Row, width: int, start: int, *, lit: bool = False, sign: str = "", clock: str = "r", before: int = 0
) -> list[Piece]:
    """The row in ``width`` columns.

    ``start``: ns that count as zero; ``lit``: the cursor is on it; ``sign``: what stands before it else; ``clock``: one
    of CLOCKS; ``before``: ns of the row above, 0 for none.
    """
    lane = lanes(width, clock)
    marker = "▸" if lit else sign or " "
    if line.gap:
        text = f" {duration(line.gap)}, nothing happened "
        return [(fit(text.center(width, "┄"), width), "gap")]
    moment_text = when(line.time, start, before, lane.time, clock)
    pieces: list[Piece] = [(marker, "marker"), (moment_text + " ", "time")]
    if line.title:
        pieces.append((fit(line.title, width - lane.time - 2), "lost" if "lost" in line.title else "title"))
        return pieces
    if line.live:
        pieces[1] = (f"{'live':>{lane.time}} ", "time")
    pieces.append((fit(best(line.client.app, lane.app), lane.app) + " ", "app"))
    pieces += _end(line.client, lane.socket)
    if line.live:
        pieces.append((_countdown(max(line.client.left, line.server.left), lane.wire), "waiting"))
    else:
        role = "dim" if line.arrow is None or line.arrow.dashed else "wire"
        shaft, cross, rest = _wire(line.arrow, lane.wire).partition("✗")
        pieces += [(shaft, role), (cross, "lost"), (rest, role)] if cross else [(shaft, role)]
    pieces.append((" ", "app"))
    pieces += _end(line.server, lane.kernel)
    pieces.append((fit(best(line.server.app, lane.server), lane.server), "app"))
    return pieces


def _end(end: End, width: int) -> list[Piece]:
    info = STATES[end.state]
    # A state that is not known is not drawn; what is known beside it is.
    code = "   " if end.state == State.UNKNOWN else info.code + (end.mark or " ")
    role = info.group if end.moved else f"{info.group}-on"
    rest = width - len(code)
    if rest <= 0:
        return [(fit(code, width), role)]
    text = end.queue
    if end.moved and width >= 14:
        name = info.label + (f" {end.left // 1_000_000_000} s" if end.left else "")
        text = f"{name} {end.queue}".strip() if cell_len(f"{name} {end.queue}") < rest or not end.queue else end.queue
    elif end.left and not text and width < 14:
        text = f"{end.left // 1_000_000_000} s"
    return [(code, role), (fit(text, rest), "app")]


def _wire(arrow: Arrow | None, width: int) -> str:
    if arrow is None:
        return set_cell_size(" " * (width // 2) + "│", width)
    line = "═" if arrow.again else "╌" if arrow.dashed else "─"
    half = not (arrow.left and arrow.arrived)
    room = (width * 2 // 3 if half else width) - 6
    again = " rtx" if arrow.again else ""
    label = best(tuple(text + again for text in arrow.label), room)[: max(room, 0)]
    head = "✗" if arrow.reset else "▶" if arrow.to_right else "◀"
    if not half:
        body = f" {label} ".center(width - 1, line) if label else line * (width - 1)
        return body + head if arrow.to_right else head + body
    # Half an arrow: the part that was seen. A departure ends in the middle, in a cross if it was lost; an arrival
    # begins there.
    size = width * 2 // 3
    seen = f" {label} ".center(size - 1, line)
    end = "✗" if arrow.lost else head if arrow.left is False else "…"
    part = seen + end if arrow.to_right else end + seen
    at_left = arrow.left == arrow.to_right
    return set_cell_size(part, width) if at_left else " " * (width - cell_len(part)) + part


def _countdown(left: int, width: int) -> str:
    """A bar that is full at a minute, the length of TIME_WAIT on Linux (TCP_TIMEWAIT_LEN)."""
    text = f" {left / 1e9:.0f} s left"
    room = max(width - len(text) - 1, 0)
    return fit("░" * min(room, -(-room * left // 60_000_000_000)) + text, width)


def plain(line: Row, width: int, start: int) -> str:
    """The row as bare text, for tests and for copying."""
    return "".join(text for text, _ in row(line, width, start)).rstrip()
