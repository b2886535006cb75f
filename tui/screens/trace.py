"""The trace screen: everything about one timeline, with one connection in focus.

What is seen and when it is drawn is `Picture`; the keys are in classes beside it, by what they are about. This module
binds them, from the table of keys.
"""

from __future__ import annotations

import contextlib
from typing import ClassVar

from textual.binding import Binding

from tracer.filter import FilterError
from tui.keys import KEYS
from tui.screens.finding import Finding
from tui.screens.overlooking import Overlooking
from tui.screens.saving import Saving
from tui.screens.teaching import Teaching


class TraceScreen(Saving, Teaching, Overlooking, Finding):
    """The main screen."""

    BINDINGS: ClassVar = [
        Binding(bound.key, bound.action, bound.command or key.help, show=False) for key in KEYS for bound in key.bound
    ]

    def forget(self) -> None:
        """Look for nothing any more."""
        self.look_for("")

    def restore_filter(self, text: str) -> None:
        """Look for what was looked for, unless a later version took that for no filter."""
        with contextlib.suppress(FilterError):
            self.look_for(text)

    def enter(self) -> None:
        """Let the actor take its step; out of a pane over the ladder; else into the inspector."""
        play = self.feed.play
        if self.has_class("-overview"):
            self.action_overview()
        elif play is not None and play.state in ("held", "ready"):
            self.action_next_step()
        elif self.arrangement().over:
            self.show_pane("")
        elif "inspector" not in self.arrangement().shown:
            self.show_pane("inspector")
