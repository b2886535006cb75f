"""The inspector: all about the event under the cursor, and about both ends around it.

The pane shows sections of label and text (`Section`, made by tui.telling), so that it knows neither kinds of event nor
where the facts come from. Where there is room for a sentence only, there is tui.widgets.sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, cast

from textual.content import Content

from tui.widgets.pane import Pane, title_line

LABEL: Final = 9


class Line(NamedTuple):
    """One fact."""

    label: str | None
    """What it is about; empty goes on from the line before, None takes the whole width."""
    text: Content


class Section(NamedTuple):
    """Facts that belong together."""

    title: str
    lines: Sequence[Line]


def sections_lines(sections: Sequence[Section], width: int, rule: str = "─") -> list[Content]:
    """The sections in lines of at most `width` cells, texts wrapped beside their labels."""
    out: list[Content] = []
    for section in sections:
        if out:
            out.append(Content(""))
        out.append(title_line(section.title, width, rule))
        for line in section.lines:
            if line.label is None:
                out += line.text.wrap(max(width, 8))
                continue
            wrapped = line.text.wrap(max(width - LABEL, 8)) or [Content("")]
            for i, part in enumerate(wrapped):
                label = line.label if i == 0 else ""
                out.append(Content.styled(f"{label:<{LABEL}}", "dim") + part)
    return out


class Inspector(Pane):
    """The pane. Its document is a sequence of sections."""

    def lines(self, document: object, width: int) -> Sequence[Content]:
        return sections_lines(cast(Sequence[Section], document), width)
