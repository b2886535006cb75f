"""What is wrong on a timeline, in one list: lints, contradictions, losses, and what the analysis of packets says.

Working that out means reading the timeline, so it is done when somebody asks, and again only when enough has come since
(`STALE`). A long timeline is read in another thread than the screen's.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Final

import numpy as np

from tracer.events import NUMBER, PACKETS
from tracer.kinds import KINDS
from tracer.lints import LINTS, check
from tracer.replay import analysis
from tracer.timeline import Timeline
from tracer.words import clean, segment

QUICK: Final = 30_000
"""Events that are read without making a key wait."""
MOST: Final = 5_000
"""Problems listed of the packets; a capture with more of them has one cause, not thousands."""
_SEVERE: Final = tuple(
    row for row in analysis.FINDINGS
    if row.severity in ("warn", "error") or "retransmission" in row.field
)  # fmt: skip
_BITS: Final = sum(row.bit for row in _SEVERE)
SIGNS: Final = {"error": "✗", "warn": "!", "note": "·"}
"""How a severity is written beside its name."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong."""

    order: int
    """Of the event that shows it."""
    conn: int
    severity: str
    """note, warn or error."""
    name: str
    words: str
    meaning: str = ""
    advice: str = ""


class Problems:
    """The list, kept up to date on demand."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._found: tuple[Problem, ...] = ()
        self._lock = threading.Lock()
        self.read = 0
        """Events that the list was made from."""

    @property
    def stale(self) -> bool:
        """Events have come since."""
        return self.read < len(self._timeline)

    @property
    def long(self) -> bool:
        """Reading takes long enough to be done in another thread."""
        return len(self._timeline) > QUICK

    def refresh(self) -> None:
        """Read the timeline anew if anything has come since. May run in any thread."""
        with self._lock:
            count = len(self._timeline)
            if self.read < count:
                self._found = tuple(find(self._timeline))
                self.read = count

    def before(self, limit: int) -> tuple[Problem, ...]:
        """Those that events below order `limit` show, by event."""
        found = self._found
        return found[: bisect_left(found, limit, key=lambda problem: problem.order)]

    def near(self, order: int, by: int) -> Problem | None:
        """The next one behind an event (`by` > 0), or the last one before it."""
        found = self._found
        if by > 0:
            at = bisect_right(found, order, key=lambda problem: problem.order)
            return found[at] if at < len(found) else None
        at = bisect_left(found, order, key=lambda problem: problem.order) - 1
        return found[at] if at >= 0 else None


def find(timeline: Timeline) -> list[Problem]:
    """All problems of a timeline, by event."""
    lints = {lint.name: lint for lint in LINTS}
    found = []
    for finding in check(timeline):
        lint = lints[finding.lint]
        found.append(
            Problem(
                finding.order, finding.conn, lint.severity, lint.name, clean(finding.words), lint.meaning, lint.advice
            )
        )
    for order in timeline.indices("kind", NUMBER["trace:lost"]).tolist():
        words = f"{timeline[order]['lost']} events were lost before they could be read"
        meaning = "what the probes saw then is not on the timeline"
        found.append(Problem(order, 0, "warn", "events-lost", words, meaning, "trace less: --port, --probes"))
    for order in timeline.indices("kind", NUMBER["trace:anomaly"]).tolist():
        event = timeline[order]
        found.append(Problem(order, event.conn, "error", "anomaly", clean(event["text"]), "it contradicts the rules"))
    for number in sorted(PACKETS):
        bits = timeline.field(KINDS[number - 1].name, "analysis")
        orders = timeline.indices("kind", number)[: len(bits)]
        for order in orders[bits[: len(orders)] & np.uint32(_BITS) != 0][:MOST].tolist():
            event = timeline[order]
            row = next(row for row in _SEVERE if event["analysis"] & row.bit)
            name = row.field.replace("_", "-")
            severity = "warn" if row.severity == "note" else row.severity
            found.append(Problem(order, event.conn, severity, name, segment(event), row.meaning))
    return sorted(found, key=lambda problem: problem.order)
