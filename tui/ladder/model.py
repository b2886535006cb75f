"""Which rows there are: those of one connection's events up to the playhead, and never beyond it.

What is not to be seen yet is not even folded. When the playhead goes back, the fold returns to a place it has kept and
goes on from there. A connection of very many events is not merged: there each event is a row, made when it is drawn,
so that a million events scroll as smoothly as a hundred.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.events import NUMBER, PACKETS
from tracer.kinds import Side
from tracer.relevant import Relevant, among, once
from tracer.segments import SYN
from tracer.timeline import Timeline
from tracer.words import message
from tui.ladder.parts import End, Held, Row, Saved
from tui.ladder.rows import Rows

MERGED: Final = 20_000
"""Events of a connection up to which they are merged into rows (a fold of some 20 µs an event)."""
AT_ONCE: Final = 400
"""Events that are merged between two frames. Until all are, each is a row of its own."""
SPACING: Final = 128
"""Events from one kept place to the next."""
OPENING: Final = 64
"""Events at the beginning among which the SYNs are looked for, where rows are not merged."""
_IS_PACKET: Final = among(PACKETS)
_STATE_KINDS: Final = tuple(
    NUMBER[kind] for kind in ("socket:state", "request:born", "timewait:born", "timewait:expired", "timewait:cancelled")
)
_ENDS: Final = frozenset({Side.CLIENT, Side.SERVER})


class _Seed(NamedTuple):
    """What the lanes say from an event on."""

    order: int
    client: End
    server: End
    base: dict[Side, int]
    held: dict[Side, Held]


class Model:
    """Rows of a connection up to a limit: merged, or one an event where there are very many."""

    def __init__(self, timeline: Timeline, connection: int, relevant: Relevant | None = None) -> None:
        """``relevant``: the connection's events, where somebody follows them already."""
        self.connection = connection
        self.start = 0
        """ns that count as zero."""
        self._timeline = timeline
        self._relevant = relevant or Relevant(timeline, connection)
        self._orders: NDArray[np.int64] = np.zeros(0, np.int64)
        self._many = False
        self._joined = 0
        self._ends: frozenset[Side] = frozenset()
        self._looked = 0
        self._restart()

    def _restart(self) -> None:
        self._rows = Rows(self._relevant.pids)
        self._done = self._shown = 0
        self._kept: list[tuple[int, Saved]] = []
        self._seeds: list[_Seed] = []
        self._seeding = Rows(self._relevant.pids)

    def __len__(self) -> int:
        return self._shown if self._single else len(self._rows.rows)

    @property
    def behind(self) -> bool:
        """The next `reveal` of the same merges more."""
        return not self._many and self._done < self._shown

    @property
    def _single(self) -> bool:
        """A row an event."""
        return self._many or self._done < self._shown

    def __getitem__(self, at: int) -> Row:
        if not self._single:
            return self._rows.shown(at)
        # One event by itself: in the lanes that it leaves alone the states go on that were entered before.
        rows = Rows(self._relevant.pids)
        order = int(self._orders[at])
        seed = bisect_left(self._seeds, order, key=lambda seed: seed.order) - 1
        if seed >= 0:
            rows.memory.client, rows.memory.server = self._seeds[seed].client, self._seeds[seed].server
            rows.memory.base, rows.memory.held = dict(self._seeds[seed].base), dict(self._seeds[seed].held)
        event = self._timeline[order]
        rows.add(event)
        if not rows.rows:
            rows.title(event, message(event))
        return rows.rows[-1]

    def key(self, at: int) -> object:
        """What row ``at`` is made of: as long as it is equal, so is the row."""
        return int(self._orders[at]) if self._single else self._rows.shown(at)

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
        return None if self._single else self._rows.present(now)

    def main(self, at: int) -> int:
        """Order of the event that row ``at`` is about; -1 for a gap."""
        return int(self._orders[at]) if self._single else self._rows.rows[at].main

    def orders(self, at: int) -> tuple[int, ...]:
        """Orders of the events in row ``at``; none for a gap."""
        return (int(self._orders[at]),) if self._single else self._rows.rows[at].orders

    def row_of(self, order: int) -> int:
        """The row that holds the event, or the last one that begins before it; -1 when there are no rows."""
        if self._single:
            return int(np.searchsorted(self._orders[: self._shown], order, side="right")) - 1
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
        if not self._many:
            if wanted < self._done:
                self._go_back(wanted)
            rushing = before and len(orders) - before > AT_ONCE  # then it is merged when it is calmer
            stop = self._done if rushing else min(wanted, self._done + AT_ONCE)
            for place in range(self._done, stop):
                if place % SPACING == 0:
                    self._kept.append((place, self._rows.save()))
                self._rows.add(self._timeline[int(orders[place])])
            self._done = stop
        if self._single:
            self._seed()

    def _seed(self) -> None:
        """Fold what the lanes go on saying: changes of state, and the numbers that the first segments begin with."""
        orders, last = self._orders, self._seeds[-1].order if self._seeds else -1
        found = [orders[:OPENING]]
        for kind in _STATE_KINDS:
            told = self._timeline.indices("kind", kind)
            places = np.minimum(np.searchsorted(orders, told), len(orders) - 1)
            found.append(told[orders[places] == told])
        for order in np.unique(np.concatenate(found)).tolist():
            event = self._timeline[order]
            if order <= last or (event.number in PACKETS and not event["flags"] & SYN):
                continue
            if event.number not in PACKETS and event.number not in _STATE_KINDS:
                continue
            fold = self._seeding
            fold.add(event)
            memory = fold.memory
            client, server = (End(state=end.state, mark=end.mark) for end in (memory.client, memory.server))
            self._seeds.append(_Seed(order, client, server, dict(memory.base), dict(memory.held)))

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
