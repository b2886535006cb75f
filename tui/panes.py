"""The panes as a table, and which of them are where.

At 120 columns and more panes stand beside the ladder, two of them where it is 40 rows high; below that one pane takes
the ladder's place. What was asked for stays asked for when the terminal changes its size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from tui import pane_facts
from tui.moment import Facts
from tui.pane_facts import Seen
from tui.widgets.inspector import Inspector
from tui.widgets.lines_pane import LinesPane
from tui.widgets.pane import Pane
from tui.widgets.resources import Resources
from tui.widgets.states import States

BESIDE: Final = 120
"""Columns from which there is room beside the ladder."""
TALL: Final = 24
HIGH: Final = 40
"""Rows from which there is room for two, and for the queues below the ladder."""


class PaneRow(NamedTuple):
    """One pane."""

    name: str
    """Its id on the screen."""
    widget: Callable[..., Pane]
    tell: Callable[[Facts, Seen], object]
    """Makes its document."""
    broad: bool = False
    """It wants more than a narrow column."""


PANES: Final[tuple[PaneRow, ...]] = (
    PaneRow("inspector", Inspector, pane_facts.inspector),
    PaneRow("states", States, pane_facts.states),
    PaneRow("queue-table", LinesPane, pane_facts.queues, broad=True),
    PaneRow("resources", Resources, pane_facts.resources, broad=True),
    PaneRow("programs", LinesPane, pane_facts.programs, broad=True),
    PaneRow("lints", LinesPane, pane_facts.lints, broad=True),
    PaneRow("output", LinesPane, pane_facts.output, broad=True),
)
"""Every pane, in the order of `tab`."""

NAMES: Final = tuple(row.name for row in PANES)


@dataclass(frozen=True)
class Arrangement:
    """Which panes are where."""

    shown: tuple[str, ...]
    over: bool = False
    """They take the ladder's place."""
    broad: bool = False
    """The column is broad."""
    strip: bool = False
    """The queues stand in a strip below the ladder too."""


def arrange(width: int, height: int, asked: str, aside: bool) -> Arrangement:
    """The panes for a terminal; `asked`: the one asked for, empty for none; `aside`: there may be some beside."""
    if width < BESIDE or height < TALL:
        return Arrangement((asked,) if asked else (), over=bool(asked))
    high = height >= HIGH
    strip = high and asked != "queue-table"
    if not aside:
        return Arrangement((), strip=strip)
    if high:
        second = asked if asked not in ("", "inspector") else "states" if not asked else ""
        shown = ("inspector", second) if second else ("inspector",)
    else:
        shown = (asked or "inspector",)
    broad = any(row.broad and row.name in shown for row in PANES)
    return Arrangement(shown, broad=broad, strip=strip)
