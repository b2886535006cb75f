"""A pane of ready lines under a title: what needs no more than being folded to the width.

Folding is at spaces. What follows a fold stands under the text or, in a line of columns, a little to the right, so that
it is no row of its own. A line that has nowhere to fold, such as a bar, is cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from textual.content import Content

from tui.widgets.pane import Pane, cut, title_line

ROOM: Final = 8
"""Cells to a line, besides its indent, from which on folding is worth it."""


@dataclass(frozen=True)
class Lines:
    """What the pane shows."""

    title: str
    lines: tuple[Content, ...]
    lit: int = -1
    """The line that must be in sight, counted without the title."""
    right: str = ""
    """At the right end of the title."""


class LinesPane(Pane):
    """The pane. Its document is `Lines`."""

    _lit = -1
    """The line of it that must be in sight."""

    def lines(self, document: object, width: int) -> Sequence[Content]:
        shown = cast(Lines, document)
        found = [title_line(shown.title, width, right=shown.right)]
        for at, line in enumerate(shown.lines):
            if at == shown.lit:
                self._lit = len(found)
            found += fold(line, width)
        return found

    def lit(self, document: object) -> int:
        return self._lit if cast(Lines, document).lit >= 0 else -1


def fold(line: Content, width: int) -> list[Content]:
    """The line in lines of at most ``width`` cells."""
    if line.cell_length <= width:
        return [line]
    text = line.plain
    indent = len(text) - len(text.lstrip())
    hang = indent + 2 * ("  " in text.strip())
    if " " not in text.strip() or width <= hang + ROOM:
        return [cut(line, width)]
    first, *more = line[indent:].wrap(width - hang)
    return [cut(part, width) for part in (line[:indent] + first, *(Content(" " * hang) + part for part in more))]
