"""`synfin trace` and `synfin record`: any program on this machine, on the screen, as text, or into a file.

Probes go on first, then a command is started, so that nothing of it is missed: it is a child of this process, whose
children are followed from their fork on. What is there already is adopted from the socket table (tracer.tables.adopt).
The command's own output must not mix with ours: beside the screen it goes to a file, beside events on standard output
it goes to standard error.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import IO, Any, Final

import click

from tracer import __version__
from tracer.kernel.source import KernelError, KernelSource
from tracer.lints import check, summary
from tracer.recording.writer import Recorder, RecordingError
from tracer.replay.findings import PacketFindings
from tracer.session import EventSource, Session, Sink
from tracer.tables.counters import ListenCounters
from tracer.timeline import Timeline
from tui.cli_errors import CANNOT, FAILED, INTERRUPTED, OUTPUT, USAGE, Trouble
from tui.cli_kernel import probe_groups
from tui.cli_print import Printer, terminal_width
from tui.cli_select import Selection, alive, existing, groups, netstat_files, select
from tui.cli_signals import show
from tui.feed import Probe
from tui.plain import plain

SETTLE: Final = 0.3
"""Seconds to go on listening after the end of a command: the last segments and timers come in."""
GRACE: Final = 2.0
"""Seconds a command has to end when asked to, before it is made to."""


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    pids: Sequence[int]
    ports: Sequence[int]
    comms: Sequence[str]
    netns: str | None
    everything: bool
    command: Sequence[str]
    form: str
    """screen, text, json, or none: only record."""
    recording: str | None
    duration: float | None
    """Seconds."""
    groups: str | None
    ascii: bool = False
    lints: bool = False
    """Say at the end what looks like trouble."""


class Command:
    """A program that was started to be traced."""

    def __init__(self, words: Sequence[str], form: str, to_stderr: bool) -> None:
        """Start it. Beside the screen its output goes to a file; `to_stderr`: standard output is taken by events.

        Raises Trouble when it cannot be started.
        """
        self.name = Path(words[0]).name
        self.output: str | None = None
        streams: dict[str, Any] = {"stdout": sys.stderr.fileno()} if to_stderr else {}
        if form == "screen":
            # A session of its own: the terminal is the screen's, whatever the command would like to do with it.
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
        """How it ended."""
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
def _held_signals() -> Iterator[None]:
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


class TraceFeed:
    """A trace under way, as the screen reads it (tui.feed.Feed)."""

    play = None

    def __init__(
        self, kernel: KernelSource, session: Session, probes: Sequence[Probe], selection: Selection,
        recorder: Recorder | None,
    ) -> None:  # fmt: skip
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
        """Events lost by all sources."""
        return self.session.losses().lost

    @property
    def recording(self) -> str | None:
        """Where it is being recorded to; None when it is not, or no longer."""
        return self.recorder.path if self.recorder and not self.recorder.failure else None

    @property
    def filter(self) -> str:
        """Who is traced."""
        return self.selection.words

    def launch(self, words: Sequence[str], form: str, to_stderr: bool) -> None:
        """Start the command. Raises Trouble."""
        with _held_signals():  # or one that comes in between would leave a command that nobody knows
            self.command = Command(words, form, to_stderr)
        self.kernel.unfollow_process(os.getpid())  # of our children only this one was meant

    def over(self, duration: float | None) -> bool:
        """Whether there is nothing more to wait for: time is up, or whoever was to be traced has ended."""
        if duration is not None and time.monotonic() - self.began >= duration:
            return True
        if self.session.failure is not None:
            return True
        if self.command is not None:
            return self.command.code is not None
        return bool(self.selection.pids) and not any(map(alive, (*self.selection.pids, *self._children())))

    def _children(self) -> set[int]:
        """Processes that those asked for have forked, as far as seen."""
        if any(map(alive, self.selection.pids)):
            return set()  # enough to know
        return set(self.timeline.field("process:fork", "child_pid").tolist())

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


def trace(request: Request) -> None:
    """Trace and show. Raises Trouble for everything that ends it before its time, and for the command's own failure."""
    selection = select(request.pids, request.ports, request.comms, request.netns, request.everything, request.command)
    if request.duration is not None and not request.duration > 0:
        raise Trouble("--duration is a number of seconds above 0", USAGE)
    if request.command and which(request.command[0]) is None:
        word = request.command[0]
        if Path(word).exists():
            raise Trouble(f"cannot run {word!r}: it is not an executable file", USAGE)
        raise Trouble(f"there is no command {word!r}", USAGE)
    printer = None
    if request.form in ("text", "json") and request.recording != "-":
        printer = Printer(request.form, terminal_width())
    with _traced(request, selection, printer) as feed:
        if request.form == "screen":
            _on_screen(feed, request)
        else:
            _as_lines(feed, request, printer)
    if request.lints:
        _lints(feed, request)
    _farewell(feed, request)


@contextlib.contextmanager
def _traced(request: Request, selection: Selection, printer: Printer | None) -> Iterator[TraceFeed]:
    screen = threading.Thread(target=__import__, args=("tui.app",), daemon=True)
    if request.form == "screen":
        screen.start()  # 0.3 s of imports while the probes are put on
    feed = _watch(request, selection, [printer] if printer else [])
    try:
        gone = [pid for pid in selection.pids if not alive(pid)]
        if gone and len(gone) == len(selection.pids):
            raise Trouble(f"process {gone[0]} has ended while the probes were put on", FAILED)
        feed.session.start()
        if request.command:
            taken = request.recording == "-" or printer is not None
            feed.launch(request.command, request.form, taken)
        yield feed
    finally:
        feed.close()


def _watch(request: Request, selection: Selection, sinks: list[Sink]) -> TraceFeed:
    """Probes on, what is there adopted, a recording begun."""
    kernel = KernelSource(groups(request.groups))
    adopted, why = existing(selection)
    try:
        kernel.start(selection.filter)
    except KernelError as failure:
        for each in adopted:
            each.stop()
        raise Trouble(f"{failure}; `synfin doctor` says more", CANNOT) from None
    sources: list[EventSource] = [kernel]
    try:
        probes = probe_groups(kernel.status())
        for each in adopted:
            try:
                each.confirm()
                sources.append(each)
            except OSError as refused:
                why = f"sock_diag: {refused.strerror}"
        if selection.networks:
            probes.append(Probe("table", not why, why))
        files = netstat_files(selection)
        if files:
            sources.append(ListenCounters(files))
        recorder = _recorder(request, selection, probes)
    except BaseException:
        for source in sources:
            source.stop()
        raise
    if recorder is not None:
        sinks = [recorder, *sinks]
    session = Session(sources, sinks=sinks, derive=[PacketFindings().extend])
    return TraceFeed(kernel, session, probes, selection, recorder)


def _recorder(request: Request, selection: Selection, probes: Sequence[Probe]) -> Recorder | None:
    if request.recording is None:
        return None
    if request.recording == "-" and request.form != "screen" and sys.stdout.isatty():
        raise Trouble("a recording is binary: send -w - into a pipe or a file, not to a terminal", USAGE)
    meta: dict[str, Any] = {
        "version": __version__,
        "kernel": platform.release(),
        "traced": selection.words,
        "probes": [probe._asdict() for probe in probes],
    }
    try:
        return Recorder(request.recording, meta)
    except RecordingError as failure:
        raise Trouble(str(failure), OUTPUT) from None


def _on_screen(feed: TraceFeed, request: Request) -> None:
    from tui.app import SynfinApp

    def end_in_time() -> None:
        while not feed.finished:
            if feed.over(request.duration):
                time.sleep(SETTLE)
                with contextlib.suppress(BaseException):  # close() in the main thread finds it again and tells
                    feed.close()
                return
            time.sleep(0.1)

    threading.Thread(target=end_in_time, name="synfin-end", daemon=True).start()
    show(SynfinApp(feed, title=feed.selection.words, ascii_only=request.ascii))


def _as_lines(feed: TraceFeed, request: Request, printer: Printer | None) -> None:
    _remark(f"tracing {feed.selection.words}")
    for probe in feed.probes:
        if not probe.on and probe.reason != "not asked for" and not probe.reason.endswith(": not asked for"):
            _remark(f"without {probe.group}: {probe.reason}")
    try:
        while not feed.over(request.duration) and not (printer and printer.gone):
            time.sleep(0.05)
        if feed.command is not None or feed.selection.pids:
            time.sleep(SETTLE)
    except KeyboardInterrupt:
        _interrupted(feed, request)


def _interrupted(feed: TraceFeed, request: Request) -> None:
    """Ctrl-C reaches the command too, as it is in the same process group: give it time to end by itself."""
    until = time.monotonic() + GRACE
    with contextlib.suppress(KeyboardInterrupt):
        while feed.command is not None and feed.command.code is None and time.monotonic() < until:
            time.sleep(0.02)
    feed.close()
    if request.lints:
        _lints(feed, request)
    _tell(feed)
    raise Trouble("interrupted; all that was seen until then has been kept", INTERRUPTED) from None


def _lints(feed: TraceFeed, request: Request) -> None:
    """What looks like trouble, after the events; on standard error where standard output is the recording's."""
    findings = check(feed.timeline)
    to_stderr = request.recording == "-"
    with contextlib.suppress(BrokenPipeError):
        if request.form == "json":
            for finding in findings:
                click.echo(json.dumps(finding._asdict() | {"evidence": finding.evidence.name.lower()}), err=to_stderr)
        else:
            for line in summary(findings):
                click.echo(plain(line), err=to_stderr)


def _tell(feed: TraceFeed) -> None:
    recorder = feed.recorder
    if feed.command is not None:
        _remark(feed.command.words())
    if recorder is not None and not recorder.failure and recorder.path != "-":
        _remark(f"recorded {recorder.written} events in {recorder.path}")
    if feed.lost:
        _remark(f"{feed.lost} events were lost")


def _farewell(feed: TraceFeed, request: Request) -> None:
    """What became of it, and the command's exit code as our own."""
    _tell(feed)
    if feed.recorder is not None and feed.recorder.failure:
        raise Trouble(feed.recorder.failure, OUTPUT)
    command = feed.command
    code = command.code if command is not None and not command.cut_short else 0
    if code:
        raise SystemExit(code if code > 0 else 128 - code)


def _remark(text: str) -> None:
    """About the trace, not of it: to standard error, so that standard output holds events only."""
    out: IO[str] = sys.stderr
    with contextlib.suppress(BrokenPipeError):
        click.echo(f"synfin: {text}", file=out)
