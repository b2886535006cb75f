"""The line of the script that comes next, while a scenario is held in step mode.

The actors are real processes; enter lets the one named here take its step, and what the kernel then does appears in
the ladder. Nothing of what will happen is told beforehand but the line itself.
"""

from __future__ import annotations

from textual.content import Content
from textual.widget import Widget

from tui.feed import Script
from tui.plain import plain


def step_line(script: Script, width: int, more: str = "…") -> Content:
    """The script's next line, or how it ended, in at most `width` cells."""
    total = len(script.steps)
    if script.state == "failed":
        line = Content.styled(" failed ", "bold reverse") + Content(f" {plain(script.failure)}")
    elif script.position >= total:
        line = Content(f" script {total}/{total}: over; the kernel goes on by itself")
    else:
        step = script.steps[script.position]
        line = Content(f" {script.position + 1}/{total} ") + Content.styled(plain(step.actor), "bold")
        line += Content(f": {plain(step.text)}")
        hint = " enter: play " if script.state in ("held", "ready") else " playing, p: hold "
        room = max(width - len(hint), 0)
        if line.cell_length > room:
            line = line.truncate(max(room - len(more), 0)) + Content(more)
        line = line.pad_right(room - line.cell_length) + Content.styled(hint, "bold reverse")
    return line.truncate(width)


class StepLine(Widget):
    """One line; shown only where there is a script (class -on)."""

    script: Script | None = None
    _shown: tuple[int, str] = (-1, "")

    def follow(self, script: Script | None) -> None:
        """Draw the script's state if it has changed."""
        if script is None:
            return
        self.script = script
        self.set_class(True, "-on")
        now = (script.position, script.state)
        if now != self._shown:
            self._shown = now
            self.refresh()

    def render(self) -> Content:
        return Content("") if self.script is None else step_line(self.script, self.size.width, "…")
