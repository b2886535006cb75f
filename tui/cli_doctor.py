"""`synfin doctor`: what this machine and these rights allow, in one screen or as JSON.

The probes are really put on for a moment, on nothing (no process, no port is followed), because whether the kernel
takes a program is only known when it has been asked. Then what a plain user may do is tried in the same way.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any, Final

import click

from scenarios.registry import names
from scenarios.stage import Stage, StageError
from tracer import __version__
from tracer.kernel import doctor, others
from tracer.kernel.source import Filter, KernelError, KernelSource
from tui.plain import plain

GOOD: Final = {True: "ok ", False: "-- "}
WIDTH: Final = 79


def examine(*, as_json: bool) -> None:
    """Print the findings. The exit code is 0: a missing right is an answer, not a failure."""
    report = {"machine": list(_machine()), "probes": list(_probes()), "without": list(_without())}
    level = _level(report)
    if as_json:
        click.echo(json.dumps({"version": __version__, "level": level, **report}, indent=2))
        return
    click.echo(f"synfin {__version__}: {level}")
    for title, rows in (
        ("This machine", report["machine"]),
        ("Kernel probes", _by_group(report["probes"])),
        ("Without them", report["without"]),
    ):
        click.echo(title)
        for row in rows:
            for line in _lines(row):
                click.echo(line)


def _level(report: dict[str, list[dict[str, Any]]]) -> str:
    """What these rights come to, in words (the README's table of rights)."""
    on = {row["name"]: row["ok"] for row in report["without"]}
    if all(row["ok"] for row in report["probes"]):
        return "everything can be observed in the kernel"
    if any(row["ok"] for row in report["probes"]):
        return "the kernel can be observed, but for the probes that are off"
    if on.get("packets") and on.get("stage"):
        return "no kernel probes; packets captured, tables sampled"
    return "no kernel probes; tables sampled"


def _by_group(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The groups that are on in one row, and a row for each reason why something is off."""
    if not any("program" in row for row in rows):
        return rows
    whole = [row for row in rows if "program" not in row]
    probes = [row for row in rows if "program" in row]
    off: dict[str, list[str]] = {}
    for row in probes:
        if not row["ok"]:
            hidden = "CAP_SYSLOG is needed for the addresses of what it compares with"
            off.setdefault(hidden if "CAP_SYSLOG" in row["why"] else row["why"], []).append(row["hook"])
    on, programs = [row for row in probes if row["ok"]], len({row["program"] for row in probes})
    groups = ", ".join(dict.fromkeys(row["name"] for row in on))
    told = [{"name": "on", "ok": True, "text": f"{len(on)} of {programs}: {groups}"}] if on else []
    told += [
        {"name": "off", "ok": False, "text": f"{', '.join(dict.fromkeys(hooks))}: {why}"} for why, hooks in off.items()
    ]
    return whole + told


def _lines(row: dict[str, Any]) -> list[str]:
    """One finding, on lines of a narrow terminal."""
    head = f"  {GOOD[row['ok']]} {row['name']:<9} "
    return textwrap.wrap(plain(row["text"]), WIDTH, initial_indent=head, subsequent_indent=" " * len(head))


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
        tracers = others.count() - 1
        beside = f"; {tracers} more tracing here: each sees everything, each costs its own time" if tracers > 0 else ""
        yield {"name": "loaded as", "ok": True, "text": f"{source.running_mode}{beside}"}
        for row in source.status():
            hook = row.hook.name if row.hook else row.probe.hooks[0].name
            text = f"{hook}: {row.probe.gives}" + ("" if row.on else f" -- off: {row.why}")
            yield {
                "name": str(row.probe.group), "ok": row.on, "text": text, "program": row.probe.program, "hook": hook,
                "why": row.why,
            }  # fmt: skip
            if row.on and row.why:
                kind = row.probe.partly[1]
                yield {
                    "name": kind, "ok": False, "text": f"{kind} -- off: {row.why}", "program": row.probe.program,
                    "hook": kind, "why": row.why,
                }  # fmt: skip
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
