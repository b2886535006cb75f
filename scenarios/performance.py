"""A performance without an audience: a scenario played to its end as fast as it goes, and what was seen of it.

What `synfin run` does for a person, done by one call for a program: a test, a claim to be decided, a table of what the
scenarios show. Stage, eyes, session and play are the same.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from scenarios import eyes
from scenarios.play import Play
from scenarios.reports import ActorReports
from scenarios.script import Scenario
from scenarios.sights import Outcome, evaluate, failed
from scenarios.stage import Ground, Stage
from tracer.kernel.clock import measure
from tracer.replay.findings import PacketFindings
from tracer.replay.infer_events import StateEvents
from tracer.session import EventSource, Session, Sink
from tracer.timeline import Timeline

SETTLE: Final = 0.1
"""Seconds to go on listening when a play is over: what it set off is still under way."""


@dataclass(frozen=True)
class Performance:
    """What became of one."""

    scenario: Scenario
    ground: Ground
    timeline: Timeline
    failure: str
    """Why the play failed, in words; empty when it came to its end."""
    outcomes: list[Outcome]
    """Of each check, in the scenario's order."""

    def complaints(self, undecided: bool = False) -> list[str]:
        """What did not go as told, in words: the play's failure, the checks that do not hold.

        `undecided`: also those that this evidence cannot tell, but for what was still to come.
        """
        wrong = [f"the play failed: {self.failure}"] if self.failure else []
        wrong += [f"not seen: {one.text}: {one.reason}" for one in failed(self.outcomes)]
        if undecided:
            open_ones = (one for one in self.outcomes if one.verdict == "cannot tell" and not one.later)
            wrong += [f"cannot tell: {one.text}: {one.reason}" for one in open_ones]
        return wrong


def perform(
    stage: Stage, *, probes: bool = True, aftermath: bool = False, pace: float = 0.0, sinks: Sequence[Sink] = ()
) -> Performance:
    """Play what stands on a stage that is not open yet, and strike it.

    `probes`: watch with the kernel's (else with packets and tables). `aftermath`: go on until what the kernel does by
    itself is over. `pace`: seconds between steps. Raises StageError, KernelError.
    """
    with stage:
        assert stage.ground is not None
        ground = stage.ground
        sources: list[EventSource] = []
        session: Session | None = None
        try:
            if probes:
                kernel = eyes.probes(ground)
                sources.append(kernel)
                sources += eyes.runtimes(stage, kernel)
            else:
                sources += eyes.plain(stage, ground)[0]
            sources.append(eyes.counters(ground))
            reports = ActorReports(measure().ns, calls=not probes, before_step=lambda: eyes.hurry(sources))
            sources.append(reports)
            timed = [] if probes else [StateEvents().extend]
            session = Session(sources, sinks=sinks, derive=[PacketFindings().extend], timed=timed)
            session.start()
            play = Play(stage, pace=pace, listener=reports.hear)
            play.start()
            play.wait()
            linger = stage.scenario.aftermath_seconds if aftermath and play.state == "finished" else SETTLE
            until = time.monotonic() + linger
            while (rest := until - time.monotonic()) > 0 and session.failure is None:
                time.sleep(min(rest, 0.05))
            play.stop()
        finally:
            if session is not None:
                session.stop()
            else:
                for source in sources:
                    source.stop()
    outcomes = evaluate(stage.scenario, session.timeline)
    return Performance(stage.scenario, ground, session.timeline, play.failure, outcomes)
