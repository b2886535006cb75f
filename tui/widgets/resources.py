"""The lifecycle table of one connection: each resource with a bar from its birth to its release.

The bars stand over one another on an axis of events, not of seconds, so that a TIME_WAIT of a minute leaves room for
the handshake before it. Below each bar stand the events that it began and ended with, as links.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from textual.content import Content

from tracer.kinds import Side
from tracer.words import duration, size
from tui.widgets.lines_pane import fold
from tui.widgets.pane import Pane, cut, link, title_line

NAME: Final = 34
"""Cells left of the bar, where there is room for that many."""


@dataclass(frozen=True)
class Item:
    """One resource at the cursor's moment."""

    side: Side
    kind: str
    name: str
    born: int
    """Order of the event; -1: before the trace, or not seen."""
    freed: int
    """-1: still there."""
    born_at: int
    """ns since the connection's first event."""
    freed_at: int
    began: float
    """Its birth as a part of the axis, 0 to 1."""
    ended: float
    born_by: str
    """By which event, in a word."""
    freed_by: str
    bytes: int | None
    """The most memory that it took; None where not known."""
    limit: int
    """Bytes that it may take; 0 where not known."""
    now: str
    """At the cursor's moment: `ahead`, `here` or `gone`."""


SIGNS: Final = {"ahead": "·", "here": "●", "gone": "○"}
"""What stands before a resource."""


@dataclass(frozen=True)
class Table:
    """What the pane shows."""

    conn: int
    items: tuple[Item, ...]
    missing: tuple[str, ...] = ()
    """What no source could tell of, in sentences."""


def life_bar(item: Item, width: int) -> str:
    """`··├────┤··`; open at the left where it was there before, at the right where it still is."""
    first, last = round(item.began * (width - 1)), round(item.ended * (width - 1))
    last = max(last, first)
    cells = [" "] * width
    cells[first : last + 1] = "━" * (last + 1 - first)
    if item.born >= 0:
        cells[first] = "├"
    if item.freed >= 0:
        cells[last] = "┤" if last > first or item.born < 0 else "┼"
    return "".join(cells)


class Resources(Pane):
    """The pane. Its document is `Table`."""

    def lines(self, document: object, width: int) -> Sequence[Content]:
        table = cast(Table, document)
        here = sum(item.now == "here" for item in table.items)
        count = f"{here} of {len(table.items)} in use ● at the cursor"
        title = title_line(f"Resources of #{table.conn}", width, right=count if width > 60 else count[:-14])
        lines = [title]
        if not table.items:
            lines += Content("No event tells of any: that takes kernel probes.").wrap(width)
        side = Side.NONE
        for item in table.items:
            if item.side is not side:
                side = item.side
                lines.append(Content.styled(side.name.lower(), "bold"))
            lines += _item(item, width)
        return [*lines, Content(""), *(line for text in table.missing for line in Content(text).wrap(width))]


def _item(item: Item, width: int) -> list[Content]:
    name = min(NAME, max(width // 2, 24))
    here = item.now == "here"
    what = f" {SIGNS[item.now]} {item.name.replace(' of process ', ', pid ')}"
    head = cut(Content.styled(what, "bold" if here else ""), name - 1)
    head += Content(" " * max(name - head.cell_length, 1))
    bar = Content.styled(life_bar(item, max(width - name, 4)), "bold" if here else "dim")
    born = Content("there before the trace began")
    if item.born >= 0:
        born = link(Content(item.born_by), item.born) + Content(f" {duration(item.born_at)}")
    freed = Content("still there")
    if item.freed >= 0:
        freed = link(Content(item.freed_by), item.freed) + Content(f" {duration(item.freed_at)}")
    lines = [head + bar, Content("     ") + born + Content(" → ") + freed]
    if item.bytes is not None:
        took = f"   at most {size(item.bytes)}" + (f" of {size(item.limit)}" if item.limit else "")
        if lines[1].cell_length + len(took) <= width:
            lines[1] += Content(took)
        else:
            lines.append(Content(f"  {took}"))
    return [part for line in lines for part in fold(line, width)]
