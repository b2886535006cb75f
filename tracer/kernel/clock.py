"""One clock for everything: from the kernel's monotonic time to the time of day.

Probes stamp records with bpf_ktime_get_ns (CLOCK_MONOTONIC); captures, reports and people use the time of day
(CLOCK_REALTIME). The offset between them is read by bracketing: monotonic, realtime, monotonic. The mean of the outer
two stands for the moment of the middle one, with an error of at most half the bracket, so the tightest of many brackets
wins (about 100 ns). The offset drifts as NTP slews the time of day, so it is read again every second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

ATTEMPTS: Final = 50
RENEW_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Offset:
    """REALTIME minus MONOTONIC."""

    ns: int
    """Add this to a monotonic time to get ns since the Unix epoch."""
    error_ns: int
    """Half the tightest bracket: how wrong `ns` can be at most."""


def measure(
    attempts: int = ATTEMPTS,
    monotonic: Callable[[], int] = time.monotonic_ns,
    realtime: Callable[[], int] = time.time_ns,
) -> Offset:
    """The offset now, the tightest of `attempts` brackets."""
    best = None
    for _ in range(attempts):
        before, middle, after = monotonic(), realtime(), monotonic()
        found = Offset(middle - (before + after) // 2, (after - before + 1) // 2)
        if best is None or found.error_ns < best.error_ns:
            best = found
    if best is None:
        raise ValueError("at least one attempt is needed")
    return best


class Clock:
    """An offset that renews itself when it is older than a second."""

    def __init__(self) -> None:
        self._offset = measure()
        self._read = time.monotonic_ns()

    @property
    def offset(self) -> Offset:
        """REALTIME minus MONOTONIC, at most a second old."""
        now = time.monotonic_ns()
        if now - self._read > RENEW_NS:
            self._offset, self._read = measure(), now
        return self._offset
