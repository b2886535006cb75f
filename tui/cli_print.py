"""Events on standard output as they come: aligned lines or JSON lines."""

from __future__ import annotations

import shutil
import sys

from tracer.export import jsonl, text
from tracer.timeline import Timeline


class Printer:
    """A session's sink that prints. A reader that goes away ends the printing, not the session: see ``gone``."""

    def __init__(self, form: str, width: int | None) -> None:
        """``form`` is text or json; ``width`` cuts lines of text, None leaves them whole."""
        self.gone = False
        self._json = form == "json"
        self._width = width
        self._first = 0
        self._begun = False

    def write(self, timeline: Timeline, start: int, stop: int) -> None:
        """Print events start..stop."""
        if self.gone:
            return
        try:
            if not self._begun:
                self._begun, self._first = True, timeline[start].time
                if not self._json:
                    print(text.HEADER[: self._width])
            for event in timeline.events(start, stop):
                print(jsonl.line(event) if self._json else text.line(event, self._first, self._width))
            sys.stdout.flush()
        except BrokenPipeError:
            self.gone = True


def terminal_width() -> int | None:
    """Columns of the terminal that standard output is; None where it is none, so that files get whole lines."""
    return shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else None
