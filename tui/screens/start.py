"""The start page: what one could look at, each with one line of what it shows.

`synfin` alone opens it. The page knows neither scenarios nor files: it is handed entries and returns the one that was
chosen, so that the command line does with it what it would have done had the user typed it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from tui.plain import plain


class Entry(NamedTuple):
    """One thing to open."""

    kind: str
    """scenario, recording, capture, live: the heading it stands under."""
    name: str
    """What the user would type."""
    line: str
    """One line of what it shows."""
    target: str = ""
    """What the command line needs to open it; the name where empty."""


def matching(entries: Sequence[Entry], words: str) -> list[Entry]:
    """The entries in which every word of the search occurs, in any case."""
    wanted = words.lower().split()
    return [e for e in entries if all(w in f"{e.kind} {e.name} {e.line}".lower() for w in wanted)]


class StartScreen(Screen[Entry | None]):
    """A search field and the list; enter dismisses with the entry, esc with None."""

    BINDINGS: ClassVar = [
        Binding("down", "move(1)", show=False, priority=True),
        Binding("up", "move(-1)", show=False, priority=True),
        Binding("pagedown", "move(10)", show=False, priority=True),
        Binding("pageup", "move(-10)", show=False, priority=True),
        Binding("escape", "leave", show=False, priority=True),
    ]

    def __init__(self, entries: Sequence[Entry]) -> None:
        super().__init__()
        self._entries = entries
        self._found: list[Entry] = []

    def compose(self) -> ComposeResult:
        yield Static(" synfin   the life of TCP connections", id="start-title", markup=False)
        yield Input(placeholder="search: scenario, recording, capture", id="start-search")
        yield OptionList(id="start-list", markup=False)
        yield Static(" type to search   ↑↓ choose   enter open   esc quit", id="start-keys", markup=False)

    def on_mount(self) -> None:
        self._fill("")
        self.query_one(Input).focus()

    def _fill(self, words: str) -> None:
        self._found = matching(self._entries, words)
        options: list[Option | None] = []
        width = max((len(plain(e.name)) for e in self._found), default=0)
        kind = ""
        for i, entry in enumerate(self._found):
            if entry.kind != kind:
                kind = entry.kind
                options.append(Option(Content.styled(plain(kind), "bold"), disabled=True))
            line = Content.styled(f"  {plain(entry.name):<{width}}  ", "bold") + Content(plain(entry.line))
            options.append(Option(line, id=str(i)))
        if not self._found:
            options.append(Option("nothing found", disabled=True))
        choices = self.query_one(OptionList)
        choices.clear_options()
        choices.add_options(options)
        choices.highlighted = 1 if self._found else None

    def on_input_changed(self, event: Input.Changed) -> None:
        self._fill(event.value)

    def on_input_submitted(self) -> None:
        self._open(self.query_one(OptionList).highlighted)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self._open(event.option_index)

    def _open(self, index: int | None) -> None:
        if index is not None and self._found:
            chosen = self.query_one(OptionList).get_option_at_index(index).id
            if chosen is not None:
                self.dismiss(self._found[int(chosen)])

    def action_move(self, by: int) -> None:
        """Move the highlight though the search field has the focus."""
        choices = self.query_one(OptionList)
        for _ in range(abs(by)):
            if by > 0:
                choices.action_cursor_down()
            else:
                choices.action_cursor_up()

    def action_leave(self) -> None:
        """Nothing was chosen."""
        self.dismiss(None)
