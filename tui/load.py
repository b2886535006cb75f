"""The load's screen as a program of its own."""

from __future__ import annotations

import signal
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.screen import Screen

from tui.ascii import AsciiOnly
from tui.leaving import LeavingApp
from tui.load_feed import LoadFeed
from tui.screens.load import LoadScreen
from tui.themes import NAMES, themes


class LoadApp(LeavingApp[None]):
    """Shows a feed until it is left."""

    TITLE = "synfin"
    CSS_PATH = "synfin.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", "interrupt", show=False, priority=True)]

    def __init__(self, feed: LoadFeed, *, ascii_only: bool = False) -> None:
        super().__init__()
        if ascii_only:
            self._filters.append(AsciiOnly())
        for theme in themes():
            self.register_theme(theme)
        self.theme = NAMES[0]
        self._feed = feed

    def get_default_screen(self) -> Screen[Any]:
        """The load, without a blank screen under it."""
        return LoadScreen(self._feed)

    def action_interrupt(self) -> None:
        """Ctrl-C ends it as it ends any command. In raw mode a terminal sends a key: it becomes the signal again."""
        signal.raise_signal(signal.SIGINT)
