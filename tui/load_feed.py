"""What the load's screen shows: filled by the thread that runs the loads, read by the screen, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from scenarios.load.report import Moment


@dataclass
class LoadFeed:
    """All loads of one command."""

    title: str
    labels: tuple[str, ...]
    """Of the columns."""
    rows: tuple[str, ...] = ()
    """Figures of the table; all where empty."""
    runs: int = 1
    moments: dict[str, list[Moment]] = field(default_factory=dict)
    """Label -> how its run stood, in order of time. Lists are only added to, or replaced when the next run begins."""
    figures: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Label -> Report.figures() of each run that is over. Replaced as a whole, never changed."""
    now: str = ""
    """Label under way."""
    number: int = 1
    """Its run."""
    over: bool = False
    failure: str = ""

    def saw(self, label: str, number: int, moment: Moment) -> None:
        """A load under way; from the runner's thread."""
        if (label, number) != (self.now, self.number) or label not in self.moments:
            self.moments = {**self.moments, label: []}
            self.now, self.number = label, number
        self.moments[label].append(moment)

    def ended(self, label: str, figures: dict[str, Any]) -> None:
        """A run is over; from the runner's thread."""
        self.figures = {**self.figures, label: [*self.figures.get(label, ()), figures]}


def rates(moments: Sequence[Moment], counter: str) -> list[float]:
    """What a counter has grown by in a second, between one look and the next."""
    found = []
    for before, after in pairwise(moments):
        passed = max(after.seconds - before.seconds, 1e-3)
        found.append(max(after.counted[counter] - before.counted[counter], 0) / passed)
    return found


def busy(moments: Sequence[Moment]) -> list[float]:
    """Processors in use, between one look and the next."""
    return [
        max(after.used.cpu - before.used.cpu, 0.0) / max(after.seconds - before.seconds, 1e-3)
        for before, after in pairwise(moments)
    ]


def standing(moments: Sequence[Moment]) -> list[float]:
    """Connections that the server had."""
    return [max(float(moment.counted["accepted"] - moment.counted["closed"]), 0.0) for moment in moments]
