"""`synfin load`: real clients against the server models, and what each model took for it."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import click

from scenarios.load.compare import Done, collect, compare
from scenarios.load.experiments import EXPERIMENTS, Case
from scenarios.load.monitor import Monitor
from scenarios.load.plan import Plan
from scenarios.load.report import LoadFailed, Moment
from scenarios.load.run import clients_needed
from scenarios.load.table import aligned, count, markdown, notes, size, table
from scenarios.servers.models import MODELS
from tui.cli_errors import CANNOT, USAGE, Trouble
from tui.plain import plain

NARROWEST: Final = 60
EASY: Final = 15_000
"""Connections that one client process drives without becoming the bottleneck."""


@dataclass(frozen=True)
class Request:
    """What was typed."""

    cases: tuple[Case, ...]
    rows: tuple[str, ...]
    """Figures to show; all where empty."""
    title: str
    runs: int
    form: str
    """screen, text, json or markdown."""
    prometheus: int | None
    ascii_only: bool = False


SERVER_OPTIONS: Final = ("workers", "queue", "when_full", "buffer", "deadline", "work", "backlog")


def begin(typed: dict[str, Any], form: str, *, ascii_only: bool) -> None:
    """The command as typed: names and values of its options. Raises Trouble."""
    if typed["listed"]:
        for name, model in MODELS.items():
            click.echo(f"{name:<14} {model.what}")
        click.echo()
        for name, experiment in EXPERIMENTS.items():
            click.echo(f"{name:<14} {experiment.question}")
        return
    if typed["experiment"]:
        cases, rows, title = of_experiment(typed["experiment"])
    else:
        plan = Plan(
            typed["connections"], typed["rate"], _messages(typed["messages"]), typed["size"], typed["duration"],
            not typed["pool"], typed["slow"], typed["resets"],
        )  # fmt: skip
        options = [
            word
            for name in SERVER_OPTIONS
            if typed[name] is not None
            for word in (f"--{name.replace('_', '-')}", str(typed[name]))
        ]
        cases, rows, title = of_models(typed["model"], plan, typed["clients"], options), (), title_of(plan)
    load(Request(cases, rows, title, typed["runs"], form, typed["prometheus"], ascii_only))


def _messages(text: str) -> float:
    """A rate, or `max`. Raises Trouble."""
    with contextlib.suppress(ValueError):
        number = math.inf if text == "max" else float(text)
        if number >= 0:  # and no nan
            return number
    raise Trouble(f"--messages takes a number a second, or max, not {text!r}", USAGE)


def of_models(names: str, plan: Plan, clients: int | None, options: Sequence[str]) -> tuple[Case, ...]:
    """The cases of `--model A,B`. Raises Trouble."""
    chosen = list(MODELS) if names == "all" else [name.strip() for name in names.split(",")]
    wrong = [name for name in chosen if name not in MODELS]
    if wrong:
        raise Trouble(f"there is no model {wrong[0]!r}; there are: {', '.join(MODELS)}", USAGE)
    most = max(math.ceil(plan.connections / EASY), clients_needed(plan))
    told = replace(plan, clients=most if clients is None else clients)
    return tuple(Case(name, name, told, tuple(options)) for name in dict.fromkeys(chosen))


def of_experiment(name: str) -> tuple[tuple[Case, ...], tuple[str, ...], str]:
    """Cases, rows and question of `--experiment NAME`. Raises Trouble."""
    if name not in EXPERIMENTS:
        raise Trouble(f"there is no experiment {name!r}; there are: {', '.join(EXPERIMENTS)}", USAGE)
    found = EXPERIMENTS[name]
    return found.cases, found.rows, found.question


def load(request: Request) -> None:
    """Run and print. Raises Trouble."""
    try:
        with contextlib.ExitStack() as undo:
            monitor = None
            if request.prometheus is not None:
                monitor = undo.enter_context(Monitor(request.prometheus))
                if request.form != "screen":
                    click.echo(f"synfin: metrics at {monitor.address}", err=True)
            if request.form == "screen":
                from tui.cli_load_screen import on_screen

                done = on_screen(request, monitor)
            else:
                done = _in_lines(request, monitor)
    except LoadFailed as failure:
        raise Trouble(str(failure), CANNOT) from None
    if done and request.form != "json":
        for line in _lines(request, done):
            click.echo(plain(line))


def _in_lines(request: Request, monitor: Monitor | None) -> list[Done]:
    """Without a screen: progress on standard error, with JSON each result as soon as it is there."""
    done: list[Done] = []
    progress = Progress(len(request.cases), request.runs)

    def watch(case: Case, number: int, moment: Moment) -> None:
        progress.tell(case, number, moment)
        if monitor is not None:
            monitor.see(case.label, moment)

    try:
        for one in compare(request.cases, request.runs, watch):
            done.append(one)
            progress.clear()
            if request.form == "json":
                click.echo(json.dumps(_as_json(one), allow_nan=False))
    finally:
        progress.clear()
    return done


def _as_json(one: Done) -> dict[str, Any]:
    plan = {name: "max" if value == math.inf else value for name, value in asdict(one.case.plan).items()}
    return one.figures() | {"plan": plan, "options": list(one.case.options)}


def _lines(request: Request, done: Sequence[Done]) -> Iterator[str]:
    runs = collect(done)
    lines = list(table(runs, request.rows))
    yield request.title
    yield ""
    if request.form == "markdown":
        yield from markdown(lines)
    else:
        yield from aligned(lines, max(shutil.get_terminal_size().columns, NARROWEST))
    if request.runs > 1:
        yield ""
        yield f"Each figure: the median of {request.runs} runs (least to most)."
    for note in notes(runs):
        yield f"{note}."


def title_of(plan: Plan) -> str:
    """A plan in a line."""
    what = f"{plan.connections:,} connections"
    if plan.per_request:
        what = f"a connection for each message, {plan.connections:,} at a time"
    rate = "as many messages as go" if plan.messages == math.inf else f"{count(plan.messages)} messages/s"
    told = [what, rate if plan.messages else "no messages", f"{size(plan.size)} each", f"{plan.duration:g} s"]
    told += [f"{number} {words}" for number, words in ((plan.slow, "slow clients"), (plan.resets, "resets")) if number]
    return ", ".join(told)


class Progress:
    """One line on standard error: rewritten on a terminal; elsewhere one for each act of each load."""

    def __init__(self, cases: int, runs: int) -> None:
        self._whole = cases * runs
        self._at = 0
        self._last: tuple[str, int, str] = ("", 0, "")
        self._terminal = sys.stderr.isatty()

    def tell(self, case: Case, number: int, moment: Moment) -> None:
        """How it stands."""
        new = (case.label, number, moment.act)
        self._at += new[:2] != self._last[:2]
        if not self._terminal and new == self._last:
            return
        self._last = new
        counted, used = moment.counted, moment.used
        standing = counted["accepted"] - counted["closed"]
        words = (
            f"[{self._at}/{self._whole}] {case.label}: {moment.act} {moment.seconds:.0f} s, {standing:,} connections, "
            f"{counted['messages']:,} messages, {size(used.memory)}, {used.threads} threads"
        )
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            click.echo(f"\r{plain(words)[:width]:<{width}}", nl=False, err=True)
        else:
            click.echo(plain(words), err=True)

    def clear(self) -> None:
        """The line has done its duty."""
        if self._terminal:
            click.echo("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r", nl=False, err=True)
