"""Putting claims to the test: play what they need, each play once, and ask.

A play whose own checks do not hold decides nothing: what it was to show was not there. On a machine that was held up
meanwhile another performance may show it, so it is given a second one; the claim itself is asked once only, of the
play that went as told. Where no probe may look, packets and tables decide what they can; what was read from a table
now and then refutes nothing. Where a play cannot be had, or the evidence is missing, the reason is the verdict.
"""

from __future__ import annotations

import importlib
import pkgutil
import platform
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import scenarios.claims
from scenarios import registry
from scenarios.claims.claim import CLAIMS, Claim, Verdict
from scenarios.load.evidence import Loads
from scenarios.load.report import LoadFailed
from scenarios.performance import Performance, perform
from scenarios.sights import CannotTell, Seen
from scenarios.stage import ProgramMissing, Stage, StageError
from tracer import __version__
from tracer.kernel.source import KernelError
from tracer.recording.writer import Recorder, RecordingError

BESIDES = ("claim", "decide")
"""Modules of this package that hold no claims."""
ATTEMPTS = 2
"""Performances that a play gets to go as told."""


@dataclass(frozen=True)
class Decided:
    """A claim and what became of it."""

    claim: Claim
    verdict: Verdict
    recordings: tuple[str, ...] = ()
    """Paths of the recordings to look at, one of each play it was decided by."""


@dataclass
class _Played:
    """A play that was wanted: its performance, or why there is none."""

    performance: Performance | None
    why_not: str
    recording: str = ""
    lacking: bool = False
    """A program of the play is not to be had on this machine."""


def every() -> dict[str, Claim]:
    """All claims by id, in their order."""
    for module in pkgutil.iter_modules(scenarios.claims.__path__):
        if module.name not in BESIDES:
            importlib.import_module(f"scenarios.claims.{module.name}")
    return dict(sorted(CLAIMS.items()))


def decide(
    claims: Sequence[Claim], folder: Path | None, *, probes: bool = True, slow: bool = True,
    notice: Callable[[str], None] = lambda why: None,
) -> Iterator[Decided]:  # fmt: skip
    """Decide claims in their order. Recordings go to `folder`, if one is given; `slow=False` leaves long plays out.

    `notice` is told, once, why no kernel probe is to be had; from then on plays are watched without.
    """
    house = _House(folder, probes, slow, notice)
    long = [name for each in claims for name in each.plays if name in _known() and registry.find(name).slow]
    house.begin(list(dict.fromkeys(long)) if slow else [])
    loads = Loads()
    for each in claims:
        if each.measured:
            yield Decided(each, _measured(each, loads, slow))
            continue
        plays = list(house.plays(each.plays))
        yield Decided(each, _verdict(each, plays), tuple(play.recording for play in plays if play.recording))


def _known() -> list[str]:
    return list(registry.names())


def _measured(each: Claim, loads: Loads, slow: bool) -> Verdict:
    if not slow:
        return Verdict("undecided", "it takes loads of a minute or more, and was left out")
    try:
        return each.decide(loads)
    except (LoadFailed, RuntimeError, ImportError, OSError) as failure:
        return Verdict("undecided", f"it could not be measured: {failure}")


def _verdict(each: Claim, plays: list[_Played]) -> Verdict:
    if plays and plays[0].lacking:
        return Verdict("not run", plays[0].why_not)
    for name, play in zip(each.plays, plays, strict=False):
        if play.lacking:
            break
        if play.performance is None:
            return Verdict("undecided", f"{name} could not be played: {play.why_not}")
        if wrong := play.performance.complaints():
            return Verdict("undecided", f"{name} did not go as told: {wrong[0]}")
    views = [Seen(play.performance.timeline) for play in plays if play.performance]
    try:
        verdict = each.decide(*views)
    except CannotTell as failure:
        return Verdict("undecided", str(failure))
    except (IndexError, StopIteration, KeyError) as failure:  # something it looks at is not there
        return Verdict("undecided", f"the timeline lacks what decides it ({type(failure).__name__}: {failure})")
    doubt = next((view.basis.doubt for view in views if view.basis.doubt), "")
    if doubt and verdict.kind == "refuted":
        return Verdict("undecided", f"{verdict.evidence}; but {doubt}")
    return replace(verdict, evidence=f"{verdict.evidence} ({doubt})") if doubt else verdict


class _House:
    """Plays each scenario once, the long ones beside the others."""

    def __init__(self, folder: Path | None, probes: bool, slow: bool, notice: Callable[[str], None]) -> None:
        self._folder, self._probes, self._slow, self._notice = folder, probes, slow, notice
        self._refused = threading.Lock()
        self._played: dict[str, _Played] = {}
        self._under_way: dict[str, threading.Thread] = {}

    def begin(self, names: Sequence[str]) -> None:
        """Start these now; whoever asks for one waits for it."""
        for name in names:
            thread = threading.Thread(target=lambda name=name: self._played.setdefault(name, self._perform(name)))
            self._under_way[name] = thread
            thread.daemon = True
            thread.start()

    def plays(self, names: Sequence[str]) -> Iterator[_Played]:
        """What became of these plays, up to one whose program is not to be had here."""
        for name in names:
            play = self.play(name)
            yield play
            if play.lacking:
                return

    def play(self, name: str) -> _Played:
        """What became of a play."""
        if name in self._under_way:
            self._under_way[name].join()
        if name not in self._played:
            self._played[name] = self._perform(name)
        return self._played[name]

    def _perform(self, name: str) -> _Played:
        if name not in _known():
            return _Played(None, "there is no such scenario here")
        if registry.find(name).slow and not self._slow:
            return _Played(None, "it takes long, and was left out")
        try:
            for _ in range(ATTEMPTS):
                played = self._record(name)
                if played.performance and not played.performance.complaints():
                    break
            return played
        except ProgramMissing as failure:
            return _Played(None, str(failure), lacking=True)
        except KernelError as failure:
            self._give_up_probes(str(failure).partition("\n")[0])
            return self._perform(name)
        except (StageError, RecordingError, OSError) as failure:
            return _Played(None, str(failure).partition("\n")[0])

    def _give_up_probes(self, why: str) -> None:
        """No probe may look here: from now on without."""
        with self._refused:
            if self._probes:
                self._probes = False
                self._notice(why)

    def _record(self, name: str) -> _Played:
        if self._folder is None:
            return _Played(perform(Stage.of(name), probes=self._probes), "")
        path = str(self._folder / f"{name}.pcapng")
        with Stage.of(name) as stage:  # first: where it cannot be had, the recording of before stays
            recorder = Recorder(path, {"version": __version__, "kernel": platform.release(), "scenario": name})
            try:
                performance = perform(stage, probes=self._probes, sinks=[recorder])
            finally:
                recorder.close(recorder.written, 0)
        return _Played(performance, "", path)
