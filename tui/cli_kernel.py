"""The kernel's probes as the command line needs them: aimed at a stage, or a clear word why not."""

from __future__ import annotations

from collections.abc import Sequence

from scenarios import eyes
from scenarios.stage import Ground
from tracer.kernel.hooks import Status
from tracer.kernel.source import KernelError, KernelSource
from tui.feed import Probe


def kernel_source(ground: Ground) -> tuple[KernelSource | None, list[Probe]]:
    """Probes that watch what happens on this stage and nothing else, and what each group can see."""
    try:
        source = eyes.probes(ground)
    except KernelError as failure:
        return None, [Probe("kernel", False, str(failure))]
    return source, probe_groups(source.status())


def probe_groups(rows: Sequence[Status]) -> list[Probe]:
    """One line a group: on when all of its probes are, else the first reason why one is not. A kind of event that a
    probe cannot see though it is on has a line of its own."""
    found: dict[str, Probe] = {}
    for row in rows:
        group = str(row.probe.group)
        why = "" if row.on else f"{row.probe.gives.split(';')[0]}: {row.why}"
        before = found.get(group)
        if before is None or (before.on and why):
            found[group] = Probe(group, not why, why)
        if row.on and row.why:
            found[row.probe.partly[1]] = Probe(row.probe.partly[1], False, row.why)
    return list(found.values())
