"""Which rows there are: those of one connection's events up to the playhead, and never beyond it.

What is not to be seen yet is not even folded. When the playhead goes back, the fold returns to a place it has kept and
goes on from there. A connection of very many events is merged only where somebody looks (tui.ladder.lines), so that a
million events scroll as smoothly as a hundred; while events rush by, and until a smaller one has been merged, each
event is a row.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tracer.events import PACKETS
from tracer.kinds import Side
from tracer.relevant import Relevant, among, once
from tracer.timeline import Timeline
from tui.ladder.blocks import Blocks
from tui.ladder.lines import Lines
from tui.ladder.parts import Row, Saved
from tui.ladder.rows import Rows

MERGED: Final = 20_000
"""Events of a connection up to which all of them are merged, one after the other (a fold of some 20 µs an event)."""
AT_ONCE: Final = 400
"""Events that are merged between two frames. Until all are, each is a row of its own."""
SPACING: Final = 128
"""Events from one kept place to the next."""
_IS_PACKET: Final = among(PACKETS)
_ENDS: Final = frozenset({Side.CLIENT, Side.SERVER})


class Model:
    """Rows of a connection up to a limit: merged, or one an event where there are very many."""

    def __init__(self, timeline: Timeline, connection: int, blocks: Blocks | None = None) -> None:
        """``blocks``: the connection's events, where somebody follows them already."""
        self.connection = connection
        self.start = 0
        """ns that count as zero."""
        self.flat = False
        """From the next `reveal` on no rows are merged where that would give them other numbers: they are hidden."""
        self._timeline = timeline
        self._blocks = blocks or Blocks(timeline, Relevant(timeline, connection))
        self._relevant = self._blocks.relevant
        self._lines = Lines(self._blocks)
        self._orders: NDArray[np.int64] = np.zeros(0, np.int64)
        self._many = self._rushing = False
        self._joined = 0
        self._ends: frozenset[Side] = frozenset()
        self._looked = 0
        self._restart()

    def _restart(self) -> None:
        self._rows = Rows(self._relevant.pids)
        self._done = self._shown = 0
        self._kept: list[tuple[int, Saved]] = []

    def __len__(self) -> int:
        return len(self._lines) if self._single else len(self._rows.rows)

    @property
    def behind(self) -> bool:
        """The next `reveal` of the same merges more."""
        return self._rushing if self._many else self._done < self._shown

    @property
    def loose(self) -> bool:
        """Rows get other numbers as they are merged."""
        return self._many and not self.flat

    @property
    def _single(self) -> bool:
        """Not all is merged."""
        return self._many or self._done < self._shown

    def __getitem__(self, at: int) -> Row:
        return self._lines[at] if self._single else self._rows.shown(at)

    def key(self, at: int) -> object:
        """What row ``at`` is made of: as long as it is equal, so is the row."""
        return self._lines.key(at) if self._single else self._rows.shown(at)

    @property
    def missing(self) -> frozenset[tuple[str, Side]]:
        """Lanes (app or kernel, and whose) nothing on the whole timeline speaks of; none before anybody connects."""
        if not len(self._orders) or not self.connection:
            return frozenset()
        app, kernel = frozenset(self._relevant.pids.values()), self._ends
        if self._relevant.listeners:
            kernel |= {Side.SERVER}
        return frozenset({("app", side) for side in _ENDS - app} | {("kernel", side) for side in _ENDS - kernel})

    def present(self, now: int) -> Row | None:
        """The row of the present, below all others; None when nothing is going on by itself."""
        if self._many:
            return self._blocks.present(now) if self._shown == len(self._orders) else None
        return None if self._single else self._rows.present(now)

    def main(self, at: int) -> int:
        """Order of the event that row ``at`` is about; -1 for a gap."""
        return self._lines.main(at) if self._single else self._rows.rows[at].main

    def orders(self, at: int) -> tuple[int, ...]:
        """Orders of the events in row ``at``; none for a gap."""
        return self._lines.orders(at) if self._single else self._rows.rows[at].orders

    def row_of(self, order: int) -> int:
        """The row that holds the event, or the last one that begins before it; -1 when there are no rows."""
        if self._single:
            return self._lines.line_of(order)
        rows = self._rows.rows
        low, high = -1, len(rows)
        while high - low > 1:
            middle = (low + high) // 2
            first = middle
            while first > low and not rows[first].orders:
                first -= 1  # a gap holds no event: it goes with the row before
            if first == low or rows[first].orders[0] <= order:
                low = middle
            else:
                high = first
        while low > 0 and not rows[low].orders:
            low -= 1
        return low

    def settle(self, row: int, room: int) -> int:
        """Merge what is in ``room`` rows from ``row`` on; returns the row that holds now what that one held."""
        return self._lines.settle(row, room) if self._single else row

    def reach(self, row: int, by: int) -> int:
        """The row ``by`` rows further on, or as many as there are."""
        return self._lines.reach(row, by) if self._single else max(0, min(row + by, len(self) - 1))

    def reveal(self, limit: int) -> None:
        """Have rows for the events below order ``limit`` and no others."""
        before, orders = len(self._orders), self._relevant.orders()
        self._orders = orders
        if self._relevant.joined != self._joined:
            self._joined = self._relevant.joined
            self._restart()  # another process has joined in, with events of its own
        if len(orders):
            self.start = self._timeline[int(orders[0])].time
        self._many |= len(orders) > MERGED
        self._look()
        wanted = self._shown = int(np.searchsorted(orders, limit))
        self._rushing = bool(before) and len(orders) - before > AT_ONCE  # then it is merged when it is calmer
        if not self._many:
            if wanted < self._done:
                self._go_back(wanted)
            stop = self._done if self._rushing else min(wanted, self._done + AT_ONCE)
            for place in range(self._done, stop):
                if place % SPACING == 0:
                    self._kept.append((place, self._rows.save()))
                self._rows.add(self._timeline[int(orders[place])])
            self._done = stop
        if self._single:
            self._blocks.refresh()
            self._lines.reveal(wanted, limit, rushing=self._rushing, still=self.flat or not self._many)

    def _look(self) -> None:
        """Find the ends of which more is known than the segments they sent."""
        if self._ends >= _ENDS:
            return
        count = len(self._timeline)
        own = self._timeline.indices("conn", self.connection, self._looked)
        telling = own[~_IS_PACKET[self._timeline.at("kind", own)]]
        self._ends |= {Side(side) for side in once(self._timeline.at("side", telling)).tolist()} & _ENDS
        self._looked = count

    def _go_back(self, wanted: int) -> None:
        while self._kept and self._kept[-1][0] > wanted:
            self._kept.pop()
        if self._kept:
            self._done, saved = self._kept.pop()  # it is kept again on the way forward
            self._rows.restore(saved)
        else:
            self._restart()
