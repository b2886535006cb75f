"""Loads as evidence: each case several times, each figure with its spread, and no verdict where spreads overlap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from scenarios.load.compare import collect, compare
from scenarios.load.experiments import Case

RUNS: Final = 5


@dataclass(frozen=True)
class Spread:
    """The values of one figure over the runs."""

    values: tuple[float, ...]

    @property
    def middle(self) -> float:
        """The median."""
        return median(self.values)

    @property
    def least(self) -> float:
        """The smallest."""
        return min(self.values)

    @property
    def most(self) -> float:
        """The greatest."""
        return max(self.values)

    def above(self, other: Spread) -> bool:
        """True when every value is above every value of the other: no run says otherwise."""
        return self.least > other.most

    def told(self, shown: Callable[[float], str]) -> str:
        """`31 us (28 us to 40 us)`."""
        low, high = shown(self.least), shown(self.most)
        return low if low == high else f"{shown(self.middle)} ({low} to {high})"


def repeated(measure: Callable[[], float], runs: int = RUNS) -> Spread:
    """What a measurement gives, several times."""
    return Spread(tuple(measure() for _ in range(runs)))


class Loads:
    """Cases run when they are first asked for; claims that look at the same case share its runs."""

    def __init__(self, runs: int = RUNS) -> None:
        self._runs = runs
        self._known: dict[Case, list[dict[str, Any]]] = {}

    def run(self, cases: Sequence[Case]) -> None:
        """Run those that were not yet, in turn. Raises LoadFailed."""
        new = [case for case in cases if case not in self._known]
        figures = collect(list(compare(new, self._runs)))
        for case in new:
            self._known[case] = figures[case.label]

    def figure(self, case: Case, key: str) -> Spread:
        """One figure of a case. Raises LoadFailed, ValueError where it could not be had."""
        self.run([case])
        values = [run[key] for run in self._known[case]]
        if any(value is None for value in values):
            raise ValueError(f"{case.label}: {key} could not be had")
        return Spread(tuple(float(value) for value in values))

    def errors(self, case: Case) -> int:
        """Errors of all kinds in all runs."""
        self.run([case])
        return sum(sum(run["errors"].values()) for run in self._known[case])
