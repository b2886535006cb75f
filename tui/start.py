"""The start page as a program of its own: it ends with what was chosen.

The command line then opens that as if it had been typed, so that there is one way into every view.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textual.app import App
from textual.screen import Screen

from tui.ascii import AsciiOnly
from tui.screens.start import Entry, StartScreen
from tui.themes import NAMES, themes


class StartApp(App[Entry]):
    """Shows the page; `run()` returns the entry, None when nothing was chosen."""

    TITLE = "synfin"
    CSS_PATH = "synfin.tcss"
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, entries: Sequence[Entry], *, ascii_only: bool = False) -> None:
        super().__init__()
        if ascii_only:
            self._filters.append(AsciiOnly())
        for theme in themes():
            self.register_theme(theme)
        self.theme = NAMES[0]
        self._entries = entries

    def on_mount(self) -> None:
        """The page, and out with its answer."""
        page: Screen[Any] = StartScreen(self._entries)
        self.push_screen(page, self.exit)
