"""`--go`: Go programs from inside, beside the kernel's probes. Opt-in, as each hit costs the program microseconds."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence

from scenarios import eyes
from scenarios.stage import Stage
from tracer.kernel.source import KernelError, KernelSource
from tracer.runtimes.go_binary import GoError
from tracer.runtimes.golang import GoSource
from tracer.session import EventSource
from tui.feed import Probe

GROUP = "go"
WITHOUT = "it goes with the kernel's probes, which are not on"


def to_be_built(stage: Stage) -> list[str]:
    """Sources of the play's Go programs that are not built yet: the first time takes from a second to a minute."""
    from scenarios import go_programs

    sources = [go_programs.FOLDER / f"{name}.go" for name in stage.scenario.go_programs]
    with contextlib.suppress(go_programs.GoProgramMissing, OSError):  # the stage will say so
        return [source.name for source in sources if not go_programs.kept(source)]
    return []


def of_play(stage: Stage, kernel: KernelSource | None, sources: list[EventSource], probes: list[Probe]) -> None:
    """Look into the Go programs of a play, where it has some. Adds to `sources` and `probes`."""
    if not stage.programs:
        return
    why = WITHOUT
    try:
        if kernel is not None:
            sources += eyes.runtimes(stage, kernel)
            why = ""
    except KernelError as reason:
        why = str(reason)
    probes.append(Probe(GROUP, not why, why))


def join(kernel: KernelSource | None, pids: Sequence[int], command: Sequence[str], sources: list[EventSource],
         probes: list[Probe]) -> None:  # fmt: skip
    """Put probes on the programs that are known already: those of `pids`, and the command's. What they will start is
    looked at when it runs. Adds to `sources` and `probes`."""
    if kernel is None:
        probes.append(Probe(GROUP, False, WITHOUT))
        return
    go = GoSource(kernel)
    sources.append(go)
    paths = [f"/proc/{pid}/exe" for pid in pids]
    paths += [path for path in (shutil.which(word) for word in command[:1]) if path]
    reasons = []
    for path in paths:
        try:
            go.add(path)
        except GoError as reason:
            reasons.append(str(reason))
    # Not on is what cannot be; a program that is no Go program may yet start one.
    probes.append(Probe(GROUP, not reasons or bool(go.programs), "; ".join(dict.fromkeys(reasons))))
