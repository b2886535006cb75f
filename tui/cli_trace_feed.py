"""A trace under way: its sources, its session, its command, and how all of that ends."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Sequence

from tracer.kernel.source import KernelSource
from tracer.recording.writer import Recorder
from tracer.session import Session
from tracer.timeline import Timeline
from tui.cli_command import Command, held_signals
from tui.cli_select import Selection, alive
from tui.feed import Probe


class TraceFeed:
    """A trace under way, as the screen reads it (tui.feed.Feed)."""

    play = None

    def __init__(
        self, kernel: KernelSource | None, session: Session, probes: Sequence[Probe], selection: Selection,
        recorder: Recorder | None,
    ) -> None:  # fmt: skip
        """`kernel` None: without probes."""
        self.kernel, self.session, self.probes, self.selection = kernel, session, probes, selection
        self.recorder = recorder
        self.command: Command | None = None
        self.finished = False
        self.progress: float | None = None
        self.began = time.monotonic()
        self._closing = threading.Lock()

    @property
    def timeline(self) -> Timeline:
        """All events so far."""
        return self.session.timeline

    @property
    def written(self) -> int:
        """Events written by all sources."""
        return self.session.losses().written

    @property
    def lost(self) -> int:
        """Events lost by all sources, as counted last."""
        return self.session.lost

    @property
    def recording(self) -> str | None:
        """Where it is being recorded to; None when it is not, or no longer."""
        return self.recorder.path if self.recorder and not self.recorder.failure else None

    @property
    def filter(self) -> str:
        """Who is traced, and where a launched command's output goes."""
        output = self.command.output if self.command is not None else None
        return self.selection.words + (f" (its output: {output})" if output else "")

    def launch(self, words: Sequence[str], form: str, to_stderr: bool) -> None:
        """Start the command. Raises Trouble."""
        with held_signals():  # or one that comes in between would leave a command that nobody knows
            self.command = Command(words, form, to_stderr)
        if self.kernel is not None:
            self.kernel.unfollow_process(os.getpid())  # of our children only this one was meant

    def over(self, duration: float | None, *, only_recording: bool = False) -> bool:
        """Whether there is nothing more to wait for: time is up, whoever was to be traced has ended, or the recording
        has failed and nobody sees the rest."""
        if duration is not None and time.monotonic() - self.began >= duration:
            return True
        if self.session.failure is not None or (only_recording and self.recorder and self.recorder.failure):
            return True
        if self.command is not None:
            return self.command.code is not None
        return bool(self.selection.pids) and not any(map(alive, self._followed()))

    def _followed(self) -> set[int]:
        """Those asked for and, where probes tell, all that they have forked."""
        if self.kernel is None or any(map(alive, self.selection.pids)):
            return set(self.selection.pids)
        return self.kernel.followed_processes()

    def reap(self) -> None:
        """Let go of orphans of the command: without probes they become our children (tui.cli_plain)."""
        if self.kernel is not None or self.command is None:
            return
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                if found.si_pid == self.command.pid:
                    return  # his end is told by his own Popen
                os.waitpid(found.si_pid, os.WNOHANG)

    def close(self) -> None:
        """End command, probes and recording, in the order that loses nothing. May be called twice."""
        with self._closing:
            if self.finished:
                return
            try:
                if self.command is not None:
                    self.command.end()
                self.session.stop()
            finally:
                self.finished = True
                if self.recorder is not None:
                    losses = self.session.losses()
                    self.recorder.close(losses.written, losses.lost)
