"""`synfin trace` and `synfin record`: any program on this machine, on the screen, as text, or into a file.

Probes go on first, then a command is started, so that nothing of it is missed: it is a child of this process, whose
children are followed from their fork on. What is there already is adopted from the socket table (tracer.tables.adopt).
Where probes are not to be had the same is watched with a plain user's eyes (tui.cli_plain), and the first lines say
what is missing and why.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import IO, Any, Final

import click

from tracer import __version__
from tracer.batch import Batch
from tracer.kernel import others
from tracer.kernel.rings import DEFAULT_BYTES, RECORDING_BYTES
from tracer.kernel.source import KernelError, KernelSource
from tracer.lints import check, summary
from tracer.recording.writer import Recorder, RecordingError
from tracer.replay.findings import PacketFindings
from tracer.session import EventSource, Session, Sink
from tracer.tables.adopt import Adopted
from tracer.tables.counters import ListenCounters
from tui import cli_command, cli_plain, cli_rights
from tui.cli_command import GRACE
from tui.cli_errors import CANNOT, FAILED, INTERRUPTED, OUTPUT, USAGE, Trouble
from tui.cli_kernel import probe_groups
from tui.cli_print import Printer, terminal_width
from tui.cli_select import Selection, Who, alive, existing, groups, netstat_files, select
from tui.cli_signals import show
from tui.cli_tools import tail, tools
from tui.cli_trace_feed import TraceFeed
from tui.feed import Probe
from tui.memory import note
from tui.plain import plain

LOOK_SECONDS: Final = 0.25
"""Seconds between two looks, while a screen is on, at whether it is over: the command has ended, time is up."""
SETTLE: Final = 0.3
"""Seconds to go on listening after the end of a command: the last segments and timers come in."""


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    who: Who
    form: str
    """screen, text, json, or none: only record."""
    recording: str | None = None
    duration: float | None = None
    """Seconds."""
    groups: str | None = None
    ascii: bool = False
    lints: bool = False
    """Say at the end what looks like trouble."""
    kernel: bool = True
    """False: do without probes, as if they were not to be had."""
    drop: bool | None = None
    """Go back to the user who called sudo; None: where that is possible."""


def trace(request: Request) -> None:
    """Trace and show. Raises Trouble for everything that ends it before its time, and for the command's own failure."""
    selection = select(request.who)
    wanted = groups(request.groups)
    if request.duration is not None and not request.duration > 0:
        raise Trouble("--duration is a number of seconds above 0", USAGE)
    cli_command.check(request.who.command)
    user = cli_rights.whom(request.drop)
    sizes = RECORDING_BYTES if request.form in ("none", "screen") else DEFAULT_BYTES
    kernel = KernelSource(wanted, ring_bytes=dict(sizes)) if request.kernel else None
    printer = None
    if request.form in ("text", "json") and request.recording != "-":
        printer = Printer(request.form, terminal_width())
    with _traced(request, selection, kernel, user, printer) as feed:
        if request.form == "screen":
            _on_screen(feed, request)
        else:
            _as_lines(feed, request, printer)
    if request.lints:
        _lints(feed, request)
    _farewell(feed, request)


@contextlib.contextmanager
def _traced(
    request: Request, selection: Selection, kernel: KernelSource | None, user: cli_rights.User | None,
    printer: Printer | None,
) -> Iterator[TraceFeed]:  # fmt: skip
    screen = threading.Thread(target=__import__, args=("tui.app",), daemon=True)
    if request.form == "screen":
        screen.start()  # 0.3 s of imports while the probes are put on
    kernel, sources, probes = _sources(selection, kernel)
    try:
        if request.who.go:
            from tui import cli_go  # late: few traces need it (and before rights are given up, as all that is read)

            cli_go.join(kernel, selection.pids, request.who.command, sources, probes)
        if user is not None:
            if request.form == "screen":
                screen.join()
            _drop(user)
        recorder = _recorder(request, selection, probes)
    except BaseException:
        for source in sources:
            source.stop()
        raise
    feed = TraceFeed(kernel, _session(request, kernel, sources, recorder, printer), probes, selection, recorder)
    try:
        gone = [pid for pid in selection.pids if not alive(pid)]
        if gone and len(gone) == len(selection.pids):
            raise Trouble(f"process {gone[0]} has ended while the probes were put on", FAILED)
        feed.session.start()
        if request.who.command:
            taken = request.recording == "-" or printer is not None
            feed.launch(request.who.command, request.form, taken)
        yield feed
    finally:
        feed.close()


def _sources(
    selection: Selection, kernel: KernelSource | None
) -> tuple[KernelSource | None, list[EventSource], list[Probe]]:
    """Probes on and what is there adopted; or, without probes, what else there is to see. Raises Trouble."""
    why = "--no-kernel"
    if kernel is not None:
        adopted, unread = existing(selection)
        try:
            kernel.start(selection.filter)
        except KernelError as failure:
            for each in adopted:
                each.stop()
            why = str(failure)
        else:
            return kernel, *_with_probes(selection, kernel, adopted, unread)
    sources, probes = cli_plain.sources(selection)
    if not sources:
        missing = "; ".join(probe.reason for probe in probes)
        raise Trouble(f"{why}; without probes: {missing}; `synfin doctor` says more", CANNOT)
    return None, sources, [Probe("kernel", False, why), *probes]


def _with_probes(
    selection: Selection, kernel: KernelSource, adopted: Sequence[Adopted], why: str
) -> tuple[list[EventSource], list[Probe]]:
    sources: list[EventSource] = [kernel]
    try:
        probes = probe_groups(kernel.status())
        for each in adopted:
            try:
                each.confirm()
                sources.append(each)
            except OSError as refused:
                why = f"sock_diag: {refused.strerror}"
                continue
            for pid in each.owners - {os.getpid()} if selection.places else ():
                kernel.follow_process(pid, children=False, sockets=False)  # it may be asleep
        if (
            selection.places
            and selection.networks
            and not selection.filter.everything
            and not any(each.count for each in adopted)
        ):
            _remark(f"nobody has a TCP socket there yet: {selection.words}")
        if selection.networks:
            probes.append(Probe("table", not why, why))
        files = netstat_files(selection)
        if files:
            sources.append(ListenCounters(files))
    except BaseException:
        for source in sources:
            source.stop()
        raise
    return sources, probes


def _drop(user: cli_rights.User) -> None:
    try:
        cli_rights.become(user)
    except OSError as refused:
        raise Trouble(f"cannot become user {user.uid}: {refused.strerror}; --no-drop goes on as root", CANNOT) from None


def _session(
    request: Request, kernel: KernelSource | None, sources: Sequence[EventSource], recorder: Recorder | None,
    printer: Printer | None,
) -> Session:  # fmt: skip
    if recorder is not None and kernel is not None and request.form == "none" and not request.lints:
        return Session(sources, recorders=[recorder], keep=False)  # nobody looks on: memory stays as it is
    sinks: list[Sink] = [sink for sink in (recorder, printer) if sink is not None]
    timed: list[Callable[[Batch, int | None], Batch]] = []
    if kernel is None:
        from tracer.replay.infer_events import StateEvents  # late: with probes nobody waits for it

        timed.append(StateEvents().extend)
    return Session(sources, sinks=sinks, derive=[PacketFindings().extend], timed=timed)


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

    ends = feed.command is not None or feed.selection.pids or request.duration is not None  # by itself, that is

    def end_in_time() -> None:
        while not feed.finished:
            if feed.over(request.duration):
                time.sleep(SETTLE)
                with contextlib.suppress(BaseException):  # close() in the main thread finds it again and tells
                    feed.close()
                return
            feed.reap()
            time.sleep(LOOK_SECONDS if ends else 4 * LOOK_SECONDS)

    threading.Thread(target=end_in_time, name="synfin-end", daemon=True).start()
    output = feed.command.output if feed.command is not None else None
    made = replace(tools(), output=partial(tail, output) if output else None)
    show(SynfinApp(feed, title=feed.selection.words, ascii_only=request.ascii, tools=made))
    if feed.recording is not None:
        note(feed.recording)


def _as_lines(feed: TraceFeed, request: Request, printer: Printer | None) -> None:
    _remark(f"tracing {feed.selection.words}")
    for probe in feed.probes:
        if not probe.on and probe.reason != "not asked for" and not probe.reason.endswith(": not asked for"):
            _remark(f"without {probe.group}: {probe.reason}")
    if feed.kernel is None:
        _remark("sockets are sampled (~)" + ", packets captured, states between inferred (?)" * _captures(feed))
    elif (tracers := others.count()) > 1:
        more = f"{tracers - 1} more synfin {'traces' if tracers == 2 else 'trace'} here"
        _remark(f"{more}: each sees everything, and each costs its own time")
    try:
        while not feed.over(request.duration, only_recording=request.form == "none"):
            if printer and printer.gone:
                break
            feed.reap()
            time.sleep(0.05)
        if feed.command is not None or feed.selection.pids:
            time.sleep(SETTLE)
    except KeyboardInterrupt:
        _interrupted(feed, request)


def _captures(feed: TraceFeed) -> bool:
    return any(probe.group == "packets" and probe.on for probe in feed.probes)


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
    skipped = sum(status.missed for status in feed.kernel.status()) if feed.kernel is not None else 0
    if skipped:  # recursion_misses: nobody knows whether it would have been recorded
        _remark(f"{skipped} runs of probes were passed over by the kernel: each may have been an event more")
    unseen = ", ".join(f"{n} {vector}" for vector, n in feed.kernel.unseen.items()) if feed.kernel is not None else ""
    if unseen:
        _remark(f"in some softirqs of this machine the kernel ran no probe ({unseen}): what they did is not here")


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
