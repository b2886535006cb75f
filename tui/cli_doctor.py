"""`synfin doctor`: what this machine and these rights allow, in one screen or as JSON.

The probes are really put on for a moment, on nothing (no process, no port is followed), because whether the kernel
takes a program is only known when it has been asked. Then what a plain user may do is tried in the same way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import click

from scenarios.registry import names
from scenarios.stage import Stage, StageError
from tracer import __version__
from tracer.kernel import doctor
from tracer.kernel.source import Filter, KernelError, KernelSource
from tui.plain import plain

GOOD: Final = {True: "ok ", False: "-- "}


def examine(*, as_json: bool) -> None:
    """Print the findings. The exit code is 0: a missing right is an answer, not a failure."""
    report = {"machine": list(_machine()), "probes": list(_probes()), "without": list(_without())}
    if as_json:
        click.echo(json.dumps({"version": __version__, **report}, indent=2))
        return
    click.echo(f"synfin {__version__}")
    for title, key in (("This machine", "machine"), ("Kernel probes", "probes"), ("Without them", "without")):
        click.echo(f"\n{title}")
        for row in report[key]:
            click.echo(f"  {GOOD[row['ok']]} {row['name']:<12} {plain(row['text'])}")
    click.echo("\nReplay of recordings and captures (synfin replay FILE) needs nothing of all this.")


def _machine() -> Iterator[dict[str, Any]]:
    for finding in doctor.examine():
        yield {"name": finding.name, "ok": finding.good, "text": finding.text}


def _probes() -> Iterator[dict[str, Any]]:
    source = KernelSource()
    try:
        source.start(Filter())
    except KernelError as failure:
        yield {"name": "all", "ok": False, "text": str(failure)}
        return
    try:
        yield {"name": "loaded as", "ok": True, "text": str(source.running_mode)}
        for row in source.status():
            hook = row.hook.name if row.hook else row.probe.hooks[0].name
            text = f"{hook}: {row.probe.gives}" + ("" if row.on else f" -- off: {row.why}")
            yield {"name": str(row.probe.group), "ok": row.on, "text": text}
    finally:
        source.stop()


def _without() -> Iterator[dict[str, Any]]:
    """The stage that a scenario would get, and what may be watched from it without probes."""
    stage = Stage.of(names()[0])
    try:
        ground = stage.open()
    except StageError as failure:
        yield {"name": "stage", "ok": False, "text": str(failure)}
        return
    try:
        yield {"name": "stage", "ok": ground.isolated, "text": f"scenarios play {ground}"}
        for name, kind, gives in (
            ("packets", "packet", "AF_PACKET: the packets of a scenario"),
            ("table", "diag", "sock_diag: states and queues of sockets, sampled"),
        ):
            try:
                stage.socket(kind).close()  # type: ignore[arg-type]
                yield {"name": name, "ok": True, "text": gives}
            except OSError as refused:
                yield {"name": name, "ok": False, "text": f"{gives} -- off: {refused.strerror}"}
    finally:
        stage.close()
