"""A program that is started to be traced: its output kept apart from ours, its exit code told, its end seen to.

What it says must not mix with events: beside the screen it goes to a file, beside events on standard output to standard
error. Beside the screen it has a session of its own, because the terminal is the screen's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from shutil import which
from typing import Any, Final

from tui.cli_errors import USAGE, Trouble

GRACE: Final = 2.0
"""Seconds a command has to end when asked to, before it is made to."""


def check(words: Sequence[str]) -> None:
    """Raises Trouble when there is no such command, before any probe is put on."""
    if not words or which(words[0]) is not None:
        return
    if Path(words[0]).is_dir():
        raise Trouble(f"cannot run {words[0]!r}: it is a folder", USAGE)
    if Path(words[0]).exists():
        raise Trouble(f"cannot run {words[0]!r}: it is not an executable file", USAGE)
    raise Trouble(f"there is no command {words[0]!r}", USAGE)


class Command:
    """A program that was started to be traced."""

    def __init__(self, words: Sequence[str], form: str, to_stderr: bool) -> None:
        """Start it. Beside the screen its output goes to a file; `to_stderr`: standard output is taken by events.

        Raises Trouble when it cannot be started.
        """
        self.name = Path(words[0]).name
        self.output: str | None = None
        """The file that its output goes to; None where it is our own output or standard error."""
        streams: dict[str, Any] = {"stdout": sys.stderr.fileno()} if to_stderr else {}
        if form == "screen":
            handle, self.output = tempfile.mkstemp(prefix=f"synfin-{self.name[:32]}-", suffix=".txt")
            streams = {"stdin": subprocess.DEVNULL, "stdout": handle, "stderr": handle, "start_new_session": True}
        try:
            self._process = subprocess.Popen(list(words), **streams)
        except OSError as refused:
            if self.output:
                Path(self.output).unlink()
            raise Trouble(f"cannot run {words[0]!r}: {refused.strerror}", USAGE) from None
        finally:
            if form == "screen":
                os.close(handle)
        self.pid = self._process.pid
        self.cut_short = False
        """Ended by us, because the trace was over."""

    @property
    def code(self) -> int | None:
        """Its exit code (minus the signal that ended it); None while it runs."""
        return self._process.poll()

    def end(self) -> None:
        """Ask it to end, and make it end when it does not."""
        if self.code is not None:
            return
        self.cut_short = True
        for number, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, None)):
            with contextlib.suppress(ProcessLookupError):
                if self.output:
                    os.killpg(self.pid, number)
                else:
                    os.kill(self.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
                return

    def words(self) -> str:
        """How it ended, and where its output is."""
        code = self.code
        if code is None:
            how = "still runs"
        elif self.cut_short:
            how = "was ended, as the trace is over"
        elif code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
        else:
            how = f"ended with exit code {code}"
        return f"{self.name} {how}" + (f"; its output is in {self.output}" if self.output else "")


@contextlib.contextmanager
def held_signals() -> Iterator[None]:
    """Signals that end this process wait until the block is through. (Blocking them would be inherited by a child.)"""
    came: list[int] = []
    before = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if callable(signal.getsignal(number)):
            before[number] = signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
