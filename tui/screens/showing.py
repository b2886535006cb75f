"""Keys that choose what is beside the ladder, or in its place."""

from __future__ import annotations

from typing import Final

from tui.panes import NAMES
from tui.screens.picture import Picture

LINT_SECONDS: Final = 2.0
"""While it is shown, the list of problems is brought up to date at most that often."""


OUTPUT_SECONDS: Final = 0.5
"""The same for a command's output."""


class Showing(Picture):
    """The picture with the panes' keys."""

    _linted = _written = 0.0

    def look(self) -> None:
        now = self._clock()
        if self.pane == "lints" and self.problems.stale and now >= self._linted + LINT_SECONDS:
            self._linted = now
            self._look_for_problems()
        if self.pane == "output" and self.tools.output is not None and now >= self._written + OUTPUT_SECONDS:
            self._written = now
            self._asked, self._inspect_due = None, 0.0
        super().look()

    def _still(self) -> bool:
        due = self.pane == "output" and self._clock() >= self._written + OUTPUT_SECONDS
        return not due and super()._still()

    def show_pane(self, name: str, aside: bool = True) -> None:
        """That pane from now on; empty: what the size of the terminal suggests."""
        self.pane, self.aside = name, aside
        self._arrange()
        self._linted = 0.0
        self.call_after_refresh(self._fit)

    def action_pane(self, name: str) -> None:
        """Show a pane; if it is there already, put it away."""
        wanted = self.arrangement()
        shown = name in wanted.shown
        if wanted.over or not shown:
            self.show_pane("" if shown else name)
        elif name == "inspector" and self.pane in ("", "inspector"):
            self.show_pane(self.pane, aside=False)
        elif name == self.pane:
            self.show_pane("")
        else:
            self.show_pane("inspector")

    def action_next_pane(self) -> None:
        """The next pane of the table, and after the last none."""
        order = ("", *NAMES)
        self.show_pane(order[(order.index(self.pane) + 1) % len(order)])

    def action_out(self) -> None:
        """Out of what was entered last: the ladder alone, the pane, the filter."""
        if self.has_class("-zoom"):
            self.action_maximise()
        elif self.pane:
            self.show_pane("")
        elif self.finder is not None:
            self.forget()

    def forget(self) -> None:
        """Look for nothing any more."""
        raise NotImplementedError

    def action_maximise(self) -> None:
        """The ladder alone, or everything."""
        self.toggle_class("-zoom")
        self._arrange()
        self.call_after_refresh(self._fit)

    def action_help(self) -> None:
        """The table of keys."""
        from tui.screens.help import HelpScreen

        self.app.push_screen(HelpScreen(tuple(self.feed.probes)))

    def _look_for_problems(self) -> None:
        if not self.problems.stale:
            return
        if self.problems.long:
            self.run_worker(self._read_problems, thread=True, exclusive=True, group="problems")
        else:
            self.problems.refresh()
            self._asked, self._inspect_due = None, 0.0

    def _read_problems(self) -> None:
        """In another thread."""
        self.problems.refresh()
        self.app.call_from_thread(self._fit)
