"""What a load is to be, and what came of it: plain data, as it goes to the client processes and into reports.

Latencies are kept in a histogram whose buckets grow by a twelfth of an octave, so that a percentile is known to six per
cent whatever its size, and histograms of several processes can simply be added.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

STEPS: Final = 12
"""Buckets for each doubling."""


@dataclass(frozen=True)
class Plan:
    """One load. Rates are of all client processes together."""

    connections: int = 1000
    """Connections to hold; with `per_request`: requests under way at a time, at most."""
    rate: float = 2000.0
    """New connections a second."""
    messages: float = 1000.0
    """Messages a second over all connections; infinite: as many as go; 0: none, the connections are only held."""
    size: int = 64
    """Payload of a message in bytes."""
    duration: float = 5.0
    """Seconds in which messages flow, after all connections stand."""
    per_request: bool = False
    """A connection for every message, instead of a pool of connections."""
    slow: int = 0
    """Clients besides that drip a byte of a message every half second."""
    resets: int = 0
    """Connections that are cut off with an RST, abruptly, while messages flow."""
    clients: int = 1
    """Client processes."""
    seed: int = 1

    def share(self, place: int) -> Plan:
        """The part of one client process."""
        part = {name: self._part(getattr(self, name), place) for name in ("connections", "slow", "resets")}
        rates = {name: getattr(self, name) / self.clients for name in ("rate", "messages")}
        return Plan(**{**self.__dict__, **part, **rates, "clients": 1, "seed": self.seed + place})

    def _part(self, whole: int, place: int) -> int:
        return whole // self.clients + (place < whole % self.clients)


@dataclass
class Histogram:
    """How often what took how long."""

    buckets: Counter[int] = field(default_factory=Counter)

    def add(self, seconds: float) -> None:
        """Count one."""
        self.buckets[math.floor(math.log2(max(seconds, 1e-9)) * STEPS)] += 1

    def merge(self, others: Iterable[tuple[int, int]]) -> None:
        """Take in (bucket, count) pairs of another."""
        for bucket, count in others:
            self.buckets[bucket] += count

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self.buckets.values())

    def percentile(self, percent: float) -> float:
        """Seconds which so many per cent did not exceed (upper edge of the bucket); nan when there are none."""
        need = self.count * percent / 100
        so_far = 0
        for bucket in sorted(self.buckets):
            so_far += self.buckets[bucket]
            if so_far >= need:
                return float(2 ** ((bucket + 1) / STEPS))
        return math.nan


@dataclass
class Outcome:
    """What the client processes saw."""

    connected: int = 0
    held: int = 0
    """Connections that stood at the end of the duration."""
    connect_seconds: float = 0.0
    """From the first connect() to the last connection that stood."""
    messages: int = 0
    seconds: float = 0.0
    """How long messages flowed."""
    errors: Counter[str] = field(default_factory=Counter)
    connect: Histogram = field(default_factory=Histogram)
    round_trip: Histogram = field(default_factory=Histogram)

    def merge(self, told: dict[str, Any]) -> None:
        """Take in what one client process told."""
        for name in ("connected", "held", "messages"):
            setattr(self, name, getattr(self, name) + told[name])
        for name in ("connect_seconds", "seconds"):
            setattr(self, name, max(getattr(self, name), told[name]))
        self.errors.update(told["errors"])
        self.connect.merge(told["connect"])
        self.round_trip.merge(told["round_trip"])

    def told(self) -> dict[str, Any]:
        """As plain data."""
        return {
            **{name: getattr(self, name) for name in ("connected", "held", "messages", "connect_seconds", "seconds")},
            "errors": dict(self.errors),
            "connect": list(self.connect.buckets.items()),
            "round_trip": list(self.round_trip.buckets.items()),
        }
