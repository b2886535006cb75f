"""Several loads in turn: every case once, then every case again, so that a machine that is busy for a while is so for
all of them alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from scenarios.load.experiments import Case
from scenarios.load.report import Moment, Report
from scenarios.load.run import run


class Done(NamedTuple):
    """One load that has come to its end."""

    case: Case
    number: int
    """Which run of the case, from 1."""
    report: Report

    def figures(self) -> dict[str, Any]:
        """As one flat row."""
        return {"case": self.case.label, "run": self.number} | self.report.figures()


def compare(
    cases: Sequence[Case], runs: int = 1, watch: Callable[[Case, int, Moment], None] = lambda *what: None
) -> Iterator[Done]:
    """Run the cases so many times. `watch` is told how it stands. Raises LoadFailed."""
    for number in range(1, runs + 1):
        for case in cases:
            yield Done(case, number, run(case.model, case.plan, case.options, lambda now: watch(case, number, now)))  # noqa: B023


def collect(done: Sequence[Done]) -> dict[str, list[dict[str, Any]]]:
    """For scenarios.load.table: label -> figures of each run."""
    found: dict[str, list[dict[str, Any]]] = {}
    for one in done:
        found.setdefault(one.case.label, []).append(one.figures())
    return found
