"""The events of one connection, by place: what the player counts and the scrubber shows.

An event has an *order* on the timeline of everything and a *place* (0-based) among the events of its connection. The
track keeps the orders of the connection in focus and is only ever extended by what came since.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracer.timeline import Timeline


class Track:
    """Orders of one connection's events, ascending."""

    def __init__(self, timeline: Timeline, connection: int) -> None:
        self.connection = connection
        self._timeline = timeline
        self._orders: NDArray[np.int64] = np.zeros(256, np.int64)
        self._count = 0
        self._done = 0

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: int) -> int:
        """The order of the event at a place. Raises IndexError."""
        if not 0 <= place < self._count:
            raise IndexError(f"no event at place {place} of {self._count}")
        return int(self._orders[place])

    def refresh(self) -> bool:
        """Take in what has come since; True when there was anything of this connection."""
        stop = len(self._timeline)
        before = self._count
        for chunk in self._timeline.heads(self._done, stop):
            hits = np.flatnonzero(chunk["conn"] == self.connection) + self._done
            self._append(hits)
            self._done += len(chunk)
        return self._count != before

    def place_of(self, order: int) -> int:
        """How many events of the track come before `order`: its place, if it is one of them."""
        return int(np.searchsorted(self._orders[: self._count], order))

    def _append(self, orders: NDArray[np.int64]) -> None:
        need = self._count + len(orders)
        if need > len(self._orders):
            grown = np.zeros(max(need, 2 * len(self._orders)), np.int64)
            grown[: self._count] = self._orders[: self._count]
            self._orders = grown
        self._orders[self._count : need] = orders
        self._count = need
