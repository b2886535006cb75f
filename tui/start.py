"""The start page as a program of its own: it ends with the command that was chosen.

The command line then runs that as if it had been typed, so that there is one way into every view.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from textual.screen import Screen

from tui.ascii import AsciiOnly
from tui.leaving import LeavingApp
from tui.screens.start import Command, Entry, Place, StartScreen
from tui.themes import NAMES, themes


class StartApp(LeavingApp[Command]):
    """Shows the page; `run()` returns the command, None when nothing was chosen."""

    TITLE = "synfin"
    CSS_PATH = "synfin.tcss"
    ENABLE_COMMAND_PALETTE = False

    def __init__(
        self, entries: Sequence[Entry], *, more: Callable[[], Iterable[Entry]] | None = None,
        about: Callable[[Entry], str] | None = None, ascii_only: bool = False, place: Place | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]
        if ascii_only:
            self._filters.append(AsciiOnly())
        for theme in themes():
            self.register_theme(theme)
        self.theme = NAMES[0]
        self._entries, self._more, self._about, self._place = entries, more, about, place

    def on_mount(self) -> None:
        """The page, and out with its answer."""
        page: Screen[Any] = StartScreen(self._entries, more=self._more, about=self._about, place=self._place)
        self.push_screen(page, self.exit)
