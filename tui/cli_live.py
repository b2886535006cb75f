"""`synfin run`: a scenario on its stage, watched with the best eyes to be had.

The order is what makes nothing be missed: the stage is set first (its processes and network exist, nobody acts), then
probes are aimed at that network, then the play begins. Setting the stage, loading probes and importing the screen take
a few tenths of a second each and do not depend on one another, so they run side by side.

Without kernel probes the same play is watched through packets and the socket table, and the states between two
readings are worked out from the packets; every event says how it is known.
"""

from __future__ import annotations

import contextlib
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import click

from scenarios import eyes
from scenarios.play import Play
from scenarios.registry import NotFound
from scenarios.reports import ActorReports
from scenarios.script import Family
from scenarios.sights import Outcome, evaluate
from scenarios.stage import Ground, Stage, StageError
from tracer import __version__
from tracer.batch import Batch
from tracer.kernel.clock import measure
from tracer.recording.writer import Recorder, RecordingError
from tracer.replay.findings import PacketFindings
from tracer.session import EventSource, Session, Sink
from tracer.timeline import Timeline
from tui.cli_checks import judge, tell
from tui.cli_errors import CANNOT, FAILED, INTERRUPTED, OUTPUT, USAGE, Trouble
from tui.cli_go import of_play, to_be_built
from tui.cli_kernel import kernel_source
from tui.cli_lesson import needs_screen, with_questions
from tui.cli_print import Printer, terminal_width
from tui.cli_signals import quiet, show
from tui.cli_tools import tools
from tui.feed import Probe
from tui.memory import note

SCREEN_PACE: Final = 0.5
"""Seconds between steps on a screen: time to see that something happened; reading is what , and . are for."""
SETTLE: Final = 0.3
"""Seconds to go on listening when a play is over and nobody asked to wait: timers and last readings come in."""


@dataclass(frozen=True)
class Request:
    """What the user asked `synfin run` for."""

    scenario: str
    step: bool
    form: str
    """screen, text or json."""
    recording: str | None
    pace: float | None
    wait: bool
    kernel: bool
    ascii: bool
    check: bool = False
    """Nothing but what became of the checks."""
    family: Family | None = None
    """The scenario's first when None."""
    lesson: bool = False
    """Each step is taken when a question about it has been answered."""


class LiveFeed:
    """A scenario being watched, as the screen reads it (tui.feed.Feed), and all that has to be let go of after."""

    def __init__(self, stage: Stage, play: Play, session: Session, probes: Sequence[Probe], recorder: Recorder | None):
        self.stage, self.play, self.session, self.recorder = stage, play, session, recorder
        self.probes = probes
        self.filter = ""
        self.finished = False
        self.progress: float | None = None

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

    def close(self) -> None:
        """End play, probes, recording and stage, in the order that loses nothing. May be called twice."""
        if self.finished:
            return
        self.finished = True
        try:
            self.play.stop()
            self.session.stop()
        finally:
            if self.recorder is not None:
                losses = self.session.losses()
                self.recorder.close(losses.written, losses.lost)
            self.stage.close()


def run_scenario(request: Request) -> None:
    """Play and show. Raises Trouble for everything that ends it before its time."""
    if request.step and request.form != "screen" and not sys.stdin.isatty():
        raise Trouble("--step needs a terminal to press Enter in", USAGE)
    needs_screen(request.form, request.lesson)
    with _staged(request) as feed:
        if request.form == "screen":
            _on_screen(feed, request)
        else:
            _as_lines(feed, request)
        if feed.play.state == "failed":
            raise Trouble(f"the scenario failed: {feed.play.failure}", FAILED)
    outcomes = _checked(feed, request)
    if feed.recorder is not None:
        if feed.recorder.failure:
            raise Trouble(feed.recorder.failure, OUTPUT)
        if feed.recorder.path != "-":
            click.echo(f"recorded {feed.recorder.written} events in {feed.recorder.path}", err=True)
    judge(outcomes)


def _checked(feed: LiveFeed, request: Request) -> list[Outcome]:
    """What became of the scenario's checks, told beside the events; nothing when it was left before its end."""
    if request.form == "screen" or feed.play.state != "finished":
        return []
    outcomes = evaluate(feed.stage.scenario, feed.timeline)
    tell(outcomes, alone=request.check, as_json=request.form == "json", ascii_only=request.ascii)
    return outcomes


@contextlib.contextmanager
def _staged(request: Request) -> Iterator[LiveFeed]:
    try:
        stage = Stage.of(request.scenario, family=request.family)
    except (NotFound, StageError) as failure:
        raise Trouble(str(failure), USAGE) from None
    except Exception as failure:  # a user's script may raise anything when it is run
        if not request.scenario.partition("#")[0].endswith(".py"):
            raise
        raise Trouble(f"{request.scenario} cannot be run: {_where(failure, request.scenario)}", USAGE) from None
    with ThreadPoolExecutor(1) as side, contextlib.ExitStack() as undo:
        if request.form == "screen":
            side.submit(__import__, "tui.app")  # 0.3 s of imports while the stage is set and the probes compile
        for source in to_be_built(stage):
            _remark(f"building {source}: the first time takes a while")
        try:
            ground = stage.open()
        except StageError as failure:
            raise Trouble(str(failure), CANNOT) from None
        undo.callback(stage.close)
        feed = _watch(request, stage, ground)
        undo.pop_all()
    try:
        feed.play.start()
        yield feed
    finally:
        quiet()
        feed.close()


def _where(failure: Exception, scenario: str) -> str:
    """What was raised and, unless it says so itself, in which line of which file: the script's own, if it is there."""
    frames = traceback.extract_tb(failure.__traceback__)
    script = Path(scenario.partition("#")[0]).name
    last = next((frame for frame in reversed(frames) if Path(frame.filename).name == script), frames[-1])
    place = "" if isinstance(failure, SyntaxError) else f" ({Path(last.filename).name}, line {last.lineno})"
    return f"{type(failure).__name__}: {failure}{place}"


def _watch(request: Request, stage: Stage, ground: Ground) -> LiveFeed:
    """Sources aimed at the stage, a session that carries them, a play that waits for its first step."""
    offset = measure().ns
    sources: list[EventSource] = []
    kernel, probes = kernel_source(ground) if request.kernel else (None, [Probe("kernel", False, "--no-kernel")])
    inferring = kernel is None
    if kernel is None:
        seeing, told = eyes.plain(stage, ground)
        sources += seeing
        probes += [Probe(*one) for one in told]
    else:
        sources.append(kernel)
    of_play(stage, kernel, sources, probes)
    sources.append(eyes.counters(ground))
    reports = ActorReports(offset, calls=inferring, before_step=lambda: eyes.hurry(sources))
    sources.append(reports)
    probes.append(Probe("script", True))
    recorder = _recorder(request, stage, ground, probes)
    sinks: list[Sink] = [recorder] if recorder else []
    if request.form != "screen" and request.recording != "-" and not request.check:  # else that is on standard output
        sinks.append(Printer(request.form, terminal_width()))
    timed: list[Callable[[Batch, int | None], Batch]] = []
    if inferring:
        from tracer.replay.infer_events import StateEvents  # late: with probes nobody waits for it

        timed.append(StateEvents().extend)
    session = Session(sources, sinks=sinks, derive=[PacketFindings().extend], timed=timed)
    pace = request.pace if request.pace is not None else SCREEN_PACE if request.form == "screen" else 0.0
    play = Play(stage, hold_steps=request.step or request.lesson, pace=pace, listener=reports.hear)
    session.start()
    return LiveFeed(stage, play, session, probes, recorder)


def _recorder(request: Request, stage: Stage, ground: Ground, probes: Sequence[Probe]) -> Recorder | None:
    if request.recording is None:
        return None
    if request.recording == "-" and (request.form != "screen" and sys.stdout.isatty()):
        raise Trouble("a recording is binary: send -w - into a pipe or a file, not to a terminal", USAGE)
    meta: dict[str, Any] = {
        "version": __version__,
        "kernel": platform.release(),
        "scenario": stage.scenario.name,
        "place": str(ground),
        "probes": [probe._asdict() for probe in probes],
    }
    try:
        return Recorder(request.recording, meta)
    except RecordingError as failure:
        raise Trouble(str(failure), OUTPUT) from None


def _on_screen(feed: LiveFeed, request: Request) -> None:
    from tui.app import SynfinApp

    scenario = feed.stage.scenario
    made = with_questions(tools(), lambda: scenario, request.lesson)
    show(SynfinApp(feed, title=scenario.name, ascii_only=request.ascii, tools=made, lesson=request.lesson))
    if feed.recording is not None:
        note(feed.recording)


def _as_lines(feed: LiveFeed, request: Request) -> None:
    scenario = feed.stage.scenario
    _remark(f"{scenario.title}, {feed.stage.ground}")
    for probe in feed.probes:
        if not probe.on:
            _remark(f"without {probe.group}: {probe.reason}")
    try:
        if request.step:
            _step_by_hand(feed)
        while not feed.play.wait(0.1):
            if feed.session.failure is not None:
                break
        _linger(scenario.aftermath_seconds if request.wait and feed.play.state == "finished" else SETTLE, feed)
    except KeyboardInterrupt:
        raise Trouble("interrupted; what was seen until then is above", INTERRUPTED) from None


def _step_by_hand(feed: LiveFeed) -> None:
    for step in feed.play.steps:
        _remark(f"[{step.number}/{len(feed.play.steps)}] {step.actor}: {step.text}  (Enter)")
        if not sys.stdin.readline():
            feed.play.run()
            return
        feed.play.next_step()
        while feed.play.position < step.number and not feed.play.wait(0.02):
            pass
        if feed.play.state in ("failed", "stopped"):
            return


def _linger(seconds: float, feed: LiveFeed) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and feed.session.failure is None:
        time.sleep(0.05)


def _remark(text: str) -> None:
    """About the run, not of it: to standard error, so that standard output holds events only."""
    out: IO[str] = sys.stderr
    with contextlib.suppress(BrokenPipeError):
        print(f"synfin: {text}", file=out)
