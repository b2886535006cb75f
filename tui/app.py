"""The application: one trace on the whole terminal.

It is handed a feed and knows nothing of where that comes from. Themes, the size classes and the palette of commands
are set up here; everything that is seen is on the trace screen. Imports stay few, since the first paint counts from
the moment the command was typed.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar, Literal

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.events import Event, Key
from textual.screen import Screen

from tui.ascii import AsciiOnly
from tui.feed import Feed
from tui.keys import KEYS
from tui.ladder.widget import Ladder
from tui.leaving import LeavingApp
from tui.screens.trace import TraceScreen
from tui.themes import NAMES, themes
from tui.tools import Tools


class SynfinApp(LeavingApp[None]):
    """The screen for one feed.

    `mode` says whether events are happening now or are read from a file; `clock` gives seconds for playback and rates,
    `wall` ns since the Unix epoch for what goes on without events; only tests replace them. `tools` are what the screen
    may ask for that takes files; `lesson`: begin with a lesson on it.
    """

    TITLE = "synfin"
    CSS_PATH = "synfin.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", "interrupt", show=False, priority=True)]

    def __init__(
        self,
        feed: Feed,
        *,
        title: str = "",
        mode: Literal["live", "replay"] = "live",
        ascii_only: bool = False,
        tools: Tools | None = None,
        lesson: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        super().__init__()
        self.HORIZONTAL_BREAKPOINTS = [(0, "-sliver"), (40, "-small"), (80, "-narrow"), (120, "-wide")]
        self.VERTICAL_BREAKPOINTS = [(0, "-flat"), (10, "-low"), (24, "-tall"), (40, "-high")]
        if ascii_only:
            self._filters.append(AsciiOnly())
        for theme in themes():
            self.register_theme(theme)
        self.theme = NAMES[0]
        self.trace = TraceScreen(feed, title=title, live=mode == "live", clock=clock, wall=wall, tools=tools)
        if lesson:
            self.trace.begin_lesson()

    async def on_event(self, event: Event) -> None:
        """A key that is pressed over the ladder is answered at once: there nobody types.

        From the ladder it would come up through the queue of every widget around it, behind whatever is drawn next.
        """
        pressed = isinstance(event, Key) and not event.is_forwarded and self.app_focus
        over = pressed and self.screen is self.trace and isinstance(self.focused, Ladder)
        if not over or not isinstance(event, Key) or not await self._answer(event):
            await super().on_event(event)

    async def _answer(self, event: Key) -> bool:
        """Do what the key is bound to; False where it is bound to nothing."""
        if self._goes_into_bar(event) or await self._check_bindings(event.key, priority=True):
            return True
        return await self._check_bindings(event.key)

    def on_key(self, event: Key) -> None:
        """A key that nobody has taken: a command, unless it is meant for the filter bar that is just opening."""
        if self._goes_into_bar(event):
            event.prevent_default()

    def _goes_into_bar(self, event: Key) -> bool:
        typed = event.character if event.is_printable else None
        return typed is not None and self.screen is self.trace and self.trace.takes(typed)

    def action_interrupt(self) -> None:
        """Ctrl-C ends it as it ends any command. In raw mode a terminal sends a key: it becomes the signal again."""
        signal.raise_signal(signal.SIGINT)

    def get_default_screen(self) -> Screen[Any]:
        """The trace, without a blank screen under it."""
        return self.trace

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Every key of the table by name, and the themes."""
        for key in KEYS:
            for bound in key.bound:
                if bound.command:
                    act = partial(self.trace.run_action, bound.action)
                    yield SystemCommand(bound.command, f"{key.shown}: {key.help}", act)
        for theme in NAMES:
            kind = theme.removeprefix("synfin-")
            yield SystemCommand(f"Theme: {kind}", f"colours for a {kind} background", partial(self._use, theme))

    def _use(self, theme: str) -> None:
        self.theme = theme
