"""The events that belong to one connection, by place: what the player counts and the scrubber shows.

An event has an *order* on the timeline of everything and a *place* (0-based) among those that matter to the connection
in focus: its own, its listener's, and what the programs at its ends did meanwhile (tracer.history). Connection 0
stands for what belongs to none: that is all there is before the first one begins.

Playback moves by the rows of the ladder, since a row is what one sees happen: the *ends* of rows are the places where
the playhead may rest. Of a connection of very many events only the rows around the playhead are made
(tui.ladder.blocks).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tracer.events import NUMBER
from tracer.relevant import Relevant
from tracer.segments import FIN
from tracer.states import State
from tracer.timeline import Timeline
from tui.ladder.blocks import LONGEST, Blocks
from tui.ladder.model import AT_ONCE, MERGED
from tui.ladder.rows import Rows

_BORN, _RECEIVED = NUMBER["timewait:born"], NUMBER["packet:received"]


class Track:
    """Orders of one connection's events, ascending."""

    def __init__(self, timeline: Timeline, connection: int) -> None:
        self.connection = connection
        self._timeline = timeline
        self.relevant = Relevant(timeline, connection)
        self.blocks = Blocks(timeline, self.relevant)
        """For others to read along: looking for them takes time."""
        self._orders: NDArray[np.int64] = np.zeros(0, np.int64)
        self._rows = Rows(self.relevant.pids)
        self._folded: NDArray[np.int64] = np.zeros(0, np.int64)
        self._merged = True
        """All that is known is in rows."""
        self._rushing = False
        """More comes than can be merged."""
        self._ends: list[int] = []
        """How many events are shown when each row but the last is."""
        self._numbers: list[int] = [0]
        """Which of the rows each of these is, the last included: those that stand for gaps hold no event."""

    def __len__(self) -> int:
        return len(self._orders)

    def __getitem__(self, place: int) -> int:
        """The order of the event at a place. Raises IndexError."""
        if not 0 <= place < len(self._orders):
            raise IndexError(f"no event at place {place} of {len(self._orders)}")
        return int(self._orders[place])

    def refresh(self) -> bool:
        """Take in what has come since; True when there was anything. Places change when a process joins in."""
        before, merged = len(self._orders), self._merged
        self._orders = self.relevant.orders()
        self._rushing = before > 0 and len(self._orders) - before > AT_ONCE
        if self._rushing:
            self._merged = False  # what rushes by faster than it can be merged is merged when it is calmer
        else:
            self._fold()
        return len(self._orders) != before or self._merged is not merged

    def _in_blocks(self, place: int) -> bool:
        """Rows are made where they are asked for; but not at the end while events rush by there."""
        if len(self) <= MERGED or (self._rushing and place > len(self) - LONGEST):
            return False
        self.blocks.refresh()
        return True

    def place_of(self, order: int) -> int:
        """How many events of the track come before `order`: its place, if it is one of them."""
        return int(np.searchsorted(self._orders, order))

    def rest(self, place: int, by: int) -> int:
        """From `place` events shown, how many are shown `by` rows further on (back where negative)."""
        if self._in_blocks(place):
            return self.blocks.rest(place, by)
        if not self._merged:
            return max(0, min(place + by, len(self)))
        ends = [*self._ends, len(self)]
        at = bisect_right(ends, place) + by - 1 if by > 0 else bisect_left(ends, place) + by
        return ends[min(at, len(ends) - 1)] if at >= 0 else 0

    def until(self, place: int, ns: float) -> tuple[int, float]:
        """From `place` events shown, how many are `ns` later, and how long before that the last of them was."""
        if not len(self):
            return 0, 0.0
        moment = self._time(max(place - 1, 0)) + ns
        shown = bisect_right(range(len(self)), moment, lo=max(place, 1), key=self._time)
        return shown, moment - self._time(shown - 1)

    def place_at(self, ns: int) -> int:
        """The 1-based place of the last event at or before `ns` (since the Unix epoch); at least 1."""
        return max(1, bisect_right(range(len(self)), ns, key=self._time))

    def _time(self, place: int) -> int:
        return self._timeline[int(self._orders[place])].time

    def near(self, order: int, by: int, kinds: Sequence[int]) -> int | None:
        """Order of the next event of these kinds behind an event (`by` > 0), or of the last one before; None if none.

        Of those in one row only one is meant.
        """
        first, last = self.row_of(order) if order >= 0 else (order, order)
        parts = [self._timeline.indices("kind", kind) for kind in kinds]
        if _BORN in kinds:
            parts.append(self._orphaned_fins())
        found = np.intersect1d(np.unique(np.concatenate(parts)), self._orders, assume_unique=True)
        if by > 0:
            at = int(np.searchsorted(found, last, side="right"))
            return int(found[at]) if at < len(found) else None
        at = int(np.searchsorted(found, first)) - 1
        return int(found[at]) if at >= 0 else None

    def _orphaned_fins(self) -> NDArray[np.int64]:
        """FINs that led an orphan from FIN_WAIT2 to TIME_WAIT: no probe tells (tcp_timewait_state_process())."""
        found: list[int] = []
        births = np.intersect1d(self._timeline.indices("kind", _BORN), self._orders, assume_unique=True)
        for born in births.tolist():
            orphan = self._timeline[born]
            if orphan["substate"] != State.FIN_WAIT2:
                continue
            came = np.intersect1d(self._timeline.indices("kind", _RECEIVED, born), self._orders, assume_unique=True)
            segments = (self._timeline[order] for order in came.tolist())
            theirs = (e.order for e in segments if e.conn == orphan.conn and e.side != orphan.side and e["flags"] & FIN)
            found += [order for order in [next(theirs, -1)] if order >= 0]
        return np.array(found, np.int64)

    def row_of(self, order: int) -> tuple[int, int]:
        """Orders of the first and the last event of the row that holds the event; its own where nothing is merged."""
        if self._in_blocks(self.place_of(order)) and (row := self.blocks.row_of(order)) is not None:
            return min(row.orders[0], order), max(row.orders[-1], order)
        if not self._merged or not len(self):
            return order, order
        at = bisect_right(self._ends, min(self.place_of(order), len(self) - 1))
        first = self._ends[at - 1] if at else 0
        last = self._ends[at] if at < len(self._ends) else len(self)
        return min(self[first], order), max(self[last - 1], order)

    def main_of(self, order: int) -> int:
        """Order of the event that the row which holds the event is about."""
        if self._in_blocks(self.place_of(order)) and (row := self.blocks.row_of(order)) is not None:
            return row.main if row.main >= 0 else order
        if not self._merged or not len(self):
            return order
        at = bisect_right(self._ends, min(self.place_of(order), len(self) - 1))
        if not self._rows.rows:  # nothing but what has no row: a traced program that has not come to any socket yet
            return order
        main = self._rows.rows[self._numbers[at]].main
        return main if main >= 0 else order

    @property
    def behind(self) -> bool:
        """The next `refresh` merges more, though no more may have come."""
        return len(self._folded) < len(self) <= MERGED

    def _fold(self) -> None:
        """Merge what has come into rows, not more at once than a frame can bear, and not where there are too many."""
        self._merged = False
        if len(self) > MERGED:
            return
        done = len(self._folded)
        if not np.array_equal(self._folded, self._orders[:done]):
            self._rows, self._ends, self._numbers, done = Rows(self.relevant.pids), [], [0], 0
        stop = min(done + AT_ONCE, len(self))
        for place in range(done, stop):
            before = len(self._rows.rows)
            self._rows.add(self._timeline[int(self._orders[place])])
            if len(self._rows.rows) > before and place:
                self._ends.append(place)
                self._numbers.append(len(self._rows.rows) - 1)
        self._folded = self._orders[:stop]
        self._merged = stop == len(self)
