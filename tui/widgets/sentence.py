"""The event under the cursor in one sentence, where there is no room for the inspector."""

from __future__ import annotations

from textual.content import Content
from textual.widget import Widget

from tui.widgets.pane import cut, title_line


class Sentence(Widget):
    """A rule that says where the cursor is, and one sentence on the event, in as many lines as there are."""

    _shown: tuple[str, Content] = ("", Content(""))

    def show(self, where: str, sentence: Content) -> None:
        """Draw this."""
        if (where, sentence) != self._shown:
            self._shown = (where, sentence)
            self.refresh()

    def render(self) -> Content:
        where, sentence = self._shown
        width = self.size.width
        lines = sentence.wrap(max(width - 1, 8))
        room = max(self.size.height - 1, 1)
        if len(lines) > room:
            lines = [*lines[: room - 1], cut(Content(" ").join(lines[room - 1 :]), width - 1)]
        text = Content("\n").join(Content(" ") + line for line in lines)
        return title_line(where, width, "─", "i: more") + Content("\n") + text
