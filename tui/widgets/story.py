"""The story of what is highlighted on the start page: paragraphs under its name, wrapped to whatever room there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from textual.content import Content

from tui.plain import plain
from tui.widgets.pane import Pane, title_line


@dataclass(frozen=True)
class Story:
    """What the pane shows."""

    title: str
    text: str
    """Paragraphs, with an empty line between."""


class StoryPane(Pane):
    """The pane. Its document is a `Story`."""

    def show(self, document: object) -> None:
        if document != self._document:
            self.scroll_home(animate=False)
        super().show(document)

    def lines(self, document: object, width: int) -> Sequence[Content]:
        story = cast(Story, document)
        lines = [title_line(plain(story.title), width)]
        for paragraph in story.text.split("\n\n"):
            lines += [*Content(plain(" ".join(paragraph.split()))).wrap(max(width, 8)), Content("")]
        return lines
