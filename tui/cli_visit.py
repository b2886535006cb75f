"""From the start page into a view, and back to the page when the view is left.

What was chosen runs in a child process, as if it had been typed: it may give up rights, load probes and fail, and
whatever became of it, the page comes back as it was left, with the rights it had, and says what went wrong. Ctrl-C and
signals end both: they mean the whole program.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from typing import IO, Final

from tui.cli_errors import INTERRUPTED, TERMINATED
from tui.cli_start import start_page
from tui.screens.start import Command, Place

WORDS: Final = 400
"""Characters of what a command said at its end that the page repeats."""


def visit(open_view: Callable[[Command], object], ascii_only: bool) -> None:
    """Show the page and what is chosen on it, until the page is left. Raises Trouble where there is no terminal."""
    place = Place()
    while chosen := start_page(place, ascii_only=ascii_only):
        if not hasattr(os, "fork"):  # Windows: the view ends the program
            open_view(chosen)
            return
        code, said = _apart(chosen, open_view)
        if code < 0:
            return  # this is the child, and the view was left
        if code in (INTERRUPTED, TERMINATED) or code > 128:
            sys.exit(code)
        place.said = f"{' '.join(('synfin', *chosen))}: {said or f'it ended with exit code {code}'}" if code else ""


def _apart(chosen: Command, open_view: Callable[[Command], object]) -> tuple[int, str]:
    """Exit code of the view, and what it said last on standard error; (-1, "") in the child that has shown it."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        sys.stdout.flush()
        child = os.fork()
        if not child:
            # Textual draws on the terminal's own standard error, sys.__stderr__, and not on this one.
            sys.stderr = _Both(os.fdopen(os.dup(said.fileno()), "w", encoding="utf-8", errors="replace"))
            open_view(chosen)
            return -1, ""
        code = _wait(child)
        said.seek(0)
        lines = [line.removeprefix("synfin: ") for line in said.read().splitlines() if line.strip()]
        return code, " ".join(lines)[-WORDS:]


def _wait(child: int) -> int:
    """The child's exit code. A signal to this process becomes one to the child, which takes down what it has set up."""
    try:
        status = os.waitpid(child, 0)[1]
    except BaseException as ended:
        if not isinstance(ended, KeyboardInterrupt):  # the terminal has told both of Ctrl-C
            os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        raise
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


class _Both(io.TextIOWrapper):
    """Standard error that is kept as well as shown."""

    def __init__(self, kept: IO[str]) -> None:
        super().__init__(os.fdopen(os.dup(2), "wb"), errors="backslashreplace", line_buffering=True)
        self._kept = kept

    def write(self, text: str) -> int:
        self._kept.write(text)
        self._kept.flush()
        return super().write(text)
