"""What the scenarios provoke, measured: `python -m scenarios.coverage docs/coverage.md` plays all and writes the table.

Which states each side of a connection was in, what each lint found, which probe brought events: read from the timelines
of real runs, so that a state which no scenario reaches, a lint that never speaks or a probe that is never needed shows
as an empty row. It needs root and takes some minutes; a test asks that no row is empty which can be filled.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from scenarios import registry
from scenarios.performance import perform
from scenarios.script import Scenario
from scenarios.sights import CannotTell, Seen
from scenarios.stage import ProgramMissing, Stage
from tracer.kernel.probes import PROBES
from tracer.kinds import Source
from tracer.lints import LINTS, check
from tracer.lints.basis import Limits
from tracer.states import STATES, State
from tracer.timeline import Timeline

AT_ONCE: Final = 3
"""Plays side by side: most of a play's time is waiting."""
SIDES: Final = ("client", "server")
SHORT: Final = Limits(
    close_wait=50_000_000,
    leak=3,
    zero_window=200_000_000,
    unaccepted=150_000_000,
    timewait_pile=50,
    lost_edge=200_000_000,
)
"""What plays take for long and for many: a class does not wait for five seconds, or for two thousand TIME_WAITs."""
IMPOSSIBLE: Final = {
    ("client", State.LISTEN): "who listens is the server",
    ("client", State.NEW_SYN_RECV): "only a listener makes request socks",
}
"""Rows that no connection can fill, and why."""


@dataclass
class Provoked:
    """What one or more plays showed; scenarios are named in teaching order."""

    states: dict[tuple[str, State], list[str]] = field(default_factory=lambda: defaultdict(list))
    lints: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    kinds: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Kinds of event that probes brought."""

    def take(self, name: str, timeline: Timeline) -> None:
        """Add what a scenario's timeline shows."""
        seen = Seen(timeline)
        for side, state in sorted(set(_states(seen))):
            self.states[side, state].append(name)
        for lint in sorted({finding.lint for finding in check(timeline, SHORT)}):
            self.lints[lint].append(name)
        for kind in sorted({event.name for event in seen.basis.events if event.source == Source.KERNEL}):
            self.kinds[kind].append(name)


def _states(seen: Seen) -> Iterator[tuple[str, State]]:
    if seen.listeners():
        yield "server", State.LISTEN
    for connection in seen.connections():
        for side in SIDES:
            try:
                path = connection.path(side)
            except CannotTell:  # a peer that speaks by hand has no states
                continue
            yield from ((side, state) for state, _ in path)
        if any(event.name == "request:born" for event in connection.events):
            yield "server", State.NEW_SYN_RECV


def measure() -> tuple[Provoked, list[str]]:
    """Play every scenario once; what was shown, and what went wrong, in words."""
    provoked, wrong = Provoked(), []
    with ThreadPoolExecutor(AT_ONCE) as stages:
        for scenario, (timeline, complaints) in zip(registry.every(), stages.map(_play, registry.every()), strict=True):
            provoked.take(scenario.name, timeline)
            wrong += [f"{scenario.name}: {complaint}" for complaint in complaints]
    return provoked, wrong


def _play(scenario: Scenario) -> tuple[Timeline, list[str]]:
    try:
        shown = perform(Stage.of(scenario.name), aftermath=scenario.slow)
    except ProgramMissing as failure:  # the others go on without it
        return Timeline(), [str(failure)]
    return shown.timeline, shown.complaints()


def page(provoked: Provoked) -> str:
    """The three tables as Markdown."""
    return "\n".join(_page(provoked)) + "\n"


def _page(provoked: Provoked) -> Iterator[str]:
    yield "# What the scenarios provoke\n"
    yield "Measured by `make coverage`, which plays them all with kernel probes; do not edit.\n"
    yield "## States\n"
    yield "| state | client | server |"
    yield "|---|---|---|"
    for state in State:
        if state in STATES and state != State.UNKNOWN:
            yield f"| {state.name} | {' | '.join(_who(provoked, side, state) for side in SIDES)} |"
    yield "\n## Lints\n"
    yield "With shorter waits and smaller piles than at their default limits (scenarios.coverage.SHORT).\n"
    yield "| lint | found in |"
    yield "|---|---|"
    for lint in LINTS:
        yield f"| {lint.name} | {', '.join(provoked.lints[lint.name])} |"
    yield "\n## Probes\n"
    yield "| probe | brought events in |"
    yield "|---|---|"
    for probe in PROBES:
        names = [name for kind, names in provoked.kinds.items() if kind in probe.gives for name in names]
        chosen = [name for name in registry.names() if name in names]
        many = f"{len(chosen)} scenarios, {chosen[0]} among them" if len(chosen) > 8 else ", ".join(chosen)
        helps = "helps other probes" if ":" not in probe.gives else ""
        yield f"| {probe.program.removeprefix('on_')} | {many or helps} |"


def _who(provoked: Provoked, side: str, state: State) -> str:
    names = provoked.states[side, state]
    if not names and (side, state) in IMPOSSIBLE:
        return f"— ({IMPOSSIBLE[side, state]})"
    return f"{len(names)} scenarios, {names[0]} among them" if len(names) > 8 else ", ".join(names)


if __name__ == "__main__":
    found, failures = measure()
    Path(sys.argv[1]).write_text(page(found), encoding="utf-8")
    print(sys.argv[1], *failures, sep="\n")
    sys.exit(1 if failures else 0)
