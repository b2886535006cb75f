"""A pane of ready lines under a title: what needs no more than being cut to the width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from textual.content import Content

from tui.widgets.pane import Pane, cut, title_line


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

    def lines(self, document: object, width: int) -> Sequence[Content]:
        shown = cast(Lines, document)
        return [title_line(shown.title, width, right=shown.right), *(cut(line, width) for line in shown.lines)]

    def lit(self, document: object) -> int:
        shown = cast(Lines, document)
        return shown.lit + 1 if shown.lit >= 0 else -1
