"""Rows of a connection of very many events, a block at a time: only those that somebody looks at are ever made.

To merge a million events takes half a minute, and nobody looks at more than a screenful at once. So the connection is
cut into blocks where a row begins whatever came before: at a call, at a segment right behind another, at a line across
all lanes. The rows of a block are made when they are needed, by the same fold as those of a small connection
(tui.ladder.rows), which begins with what is known there (tui.ladder.seeds) and asks the columns for segments that come
from or go to other blocks (tui.ladder.flight). So they are the rows that one fold over everything would make. Where no
such place comes for LONGEST events a block is cut nevertheless, and a row there is two.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.events import NUMBER, PACKETS
from tracer.kinds import SYSCALLS, Side
from tracer.relevant import Orders, Relevant, among
from tracer.timeline import Event, Timeline
from tracer.words import message
from tui.ladder.flight import Fate, fate, under_way
from tui.ladder.parts import Memory, Row
from tui.ladder.rows import EPOLL_WAITS, GAP, Rows
from tui.ladder.seeds import Seeds

SIZE: Final = 256
"""Events to a block: some milliseconds, and more rows than most screens have lines."""
LONGEST: Final = 1024
KEPT: Final = 64
"""Blocks whose rows are kept."""
FATES: Final = 4096
"""Segments whose fate is kept."""
_ENTER, _EXIT = NUMBER["syscall:enter"], NUMBER["syscall:exit"]
_EPOLL: Final = [SYSCALLS.index(name) for name in EPOLL_WAITS]
_IS_PACKET: Final = among(PACKETS)
_LEAVES: Final = among([NUMBER["packet:sent"], NUMBER["packet:captured"]])
_ACROSS: Final = among(NUMBER[kind] for kind in ("actor:step", "trace:lost", "trace:note", "trace:unseen"))


class _Part(Rows):
    """A fold that does not begin at the beginning."""

    def __init__(self, timeline: Timeline, relevant: Relevant, memory: Memory) -> None:
        super().__init__(relevant.pids)
        self.memory = memory
        self._timeline = timeline

    def left_before(self, event: Event) -> bool:
        return under_way(self._timeline, event)

    def take(self, *, last: bool) -> list[Row]:
        """The rows so far; with ``last`` what still waits for one goes into the last, so that no event is missing."""
        rows = list(self.rows)
        if last and self._pending:
            at = next((at for at in reversed(range(len(rows))) if rows[at].orders), -1)
            if at >= 0:
                rows[at] = replace(rows[at], orders=(*rows[at].orders, *self._pending))
        return rows

    def cross(self) -> None:
        """Into the next block: what is said of rows is of none that will be here."""
        memory = self.memory
        self.rows, self._pending = [], ()
        memory.segments, memory.calls, memory.lost, memory.dropped = {}, {}, frozenset(), frozenset()


class Blocks:
    """A connection's events in blocks, and the rows of each."""

    def __init__(self, timeline: Timeline, relevant: Relevant) -> None:
        self.relevant = relevant
        self.version = 0
        """How often the blocks have become others."""
        self._timeline = timeline
        self._seeds = Seeds(timeline, relevant)
        self._restart()

    def _restart(self) -> None:
        self.orders: Orders = np.zeros(0, np.int64)
        """Orders of all events."""
        self.cuts = [0]
        """Places at which blocks begin."""
        self._joined = self.relevant.joined
        self._latest, self._in_row = 0, False
        """ns, the latest moment so far; whether all events so far are surely in rows."""
        self._natural: NDArray[np.int64] = np.zeros(0, np.int64)
        """Places where a row begins, as far as they have not become cuts or been passed over."""
        self._made: OrderedDict[tuple[int, int], list[Row]] = OrderedDict()
        self._fold: _Part | None = None
        self._at = (0, 0)
        """Block and place at which that fold stands."""
        self._fates: dict[int, Fate] = {}
        self._seeds.restart()

    def refresh(self) -> None:
        """Take in what has come. Where another process has joined in, places and blocks are others from now on."""
        orders = self.relevant.orders()
        if self.relevant.joined != self._joined:
            self.version += 1
            self._restart()
        done, self.orders = len(self.orders), orders
        if len(orders) > done:
            self._seeds.refresh(orders)
            self._find(done)
            self._cut()

    def _find(self, done: int) -> None:
        """Places where a row begins whatever came before, and where nothing waits for it to begin.

        (What says nothing new waits for the next row if it comes right after a gap: there no block may end.)
        """
        new = self.orders[done:]
        kinds, times = self._timeline.at("kind", new), self._timeline.at("time", new)
        packets, begins = _IS_PACKET[kinds], _ACROSS[kinds]
        calls, ends = (self._theirs(new, kinds, kind) for kind in (_ENTER, _EXIT))
        begins[calls] = True
        sure = begins | packets  # it is in a row
        sure[ends[~self._quiet(new[ends])]] = True
        latest = np.maximum.accumulate(np.concatenate(([self._latest], times)))
        gaps = times - latest[:-1] >= GAP
        at = np.arange(1, len(new) + 1)
        in_row = np.maximum.accumulate(np.where(sure, at, 0)) >= np.maximum.accumulate(np.where(gaps, at, 0))
        in_row[np.cumsum(sure | gaps) == 0] = self._in_row
        begins &= np.concatenate(([self._in_row], in_row[:-1]))
        begins[1:] |= _LEAVES[kinds[1:]] & packets[:-1]
        self._natural = np.concatenate([self._natural, np.flatnonzero(begins) + done])
        self._latest, self._in_row = int(latest[-1]), bool(in_row[-1])

    def _theirs(self, orders: Orders, kinds: NDArray[Any], kind: int) -> NDArray[np.intp]:
        """Places of events of a kind among these that the processes of the connection made."""
        found = np.flatnonzero(kinds == kind)
        return found[np.isin(self._timeline.at("pid", orders[found]), list(self.relevant.pids))]

    def _quiet(self, exits: Orders) -> NDArray[np.bool_]:
        """Which of these returns from calls are told by another event (epoll:wait)."""
        if not len(exits):
            return np.zeros(0, np.bool_)
        rows = self._timeline.at("row", exits).astype(np.int64)
        first = int(rows[0])
        calls = self._timeline.field("syscall:exit", "call", first, int(rows[-1]) + 1 - first)
        return np.isin(calls[rows - first], _EPOLL)

    def _cut(self) -> None:
        natural, count = self._natural, len(self.orders)
        while True:
            begin = self.cuts[-1]
            at = int(np.searchsorted(natural, begin + SIZE))
            if at < len(natural) and natural[at] <= begin + LONGEST:
                self.cuts.append(int(natural[at]))
            elif count > begin + LONGEST:
                self.cuts.append(begin + LONGEST)
            else:
                break
        self._natural = natural[at:]

    def holding(self, place: int) -> int:
        """Number of the block that holds the event at a place."""
        return bisect_right(self.cuts, place) - 1

    def stop(self, block: int, shown: int) -> int:
        """The place behind the block's last event, of the first ``shown``."""
        return min(self.cuts[block + 1] if block + 1 < len(self.cuts) else shown, shown)

    def rows(self, block: int, shown: int) -> list[Row]:
        """The rows that the block's events make, of the first ``shown``."""
        stop = self.stop(block, shown)
        known = self._made.get((block, stop))
        if known is None:
            known = self._made[block, stop] = self._make(block, stop)
            if len(self._made) > KEPT:
                self._made.popitem(last=False)
        else:
            self._made.move_to_end((block, stop))
        return known

    def _make(self, block: int, stop: int) -> list[Row]:
        fold, begin = self._fold, self.cuts[block]
        if fold is not None and self._at == (block - 1, begin):
            fold.cross()
        elif fold is None or self._at[0] != block or self._at[1] > stop:
            fold = self._fold = _Part(self._timeline, self.relevant, self._seeds.at(begin, self.orders))
            self._at = (block, begin)
        for place in range(self._at[1], stop):
            fold.add(self._timeline[int(self.orders[place])])
        self._at = (block, stop)
        return fold.take(last=block + 1 < len(self.cuts) and stop == self.cuts[block + 1])

    def alone(self, order: int) -> Row:
        """One event by itself: in the lanes that it leaves alone the states go on that were entered before."""
        rows = Rows(self.relevant.pids)
        rows.memory = self._seeds.states(order)
        event = self._timeline[order]
        rows.add(event)
        if not rows.rows:
            rows.title(event, message(event))
        return rows.rows[-1]

    def shown(self, row: Row, limit: int) -> Row:
        """The row as far as the events below order ``limit`` tell (tui.ladder.placing)."""
        arrow = row.arrow
        if arrow is None or arrow.arrived or not arrow.left:
            return row
        became = self._fate(row.main, limit)
        if became is Fate.DROPPED:
            return replace(row, arrow=replace(arrow, lost=True))
        if not self._seeds.watched(Side.SERVER if arrow.to_right else Side.CLIENT, limit):
            return replace(row, arrow=replace(arrow, arrived=True))
        return replace(row, arrow=replace(arrow, lost=True)) if became is Fate.LOST else row

    def _fate(self, order: int, limit: int) -> Fate:
        whole = limit >= len(self._timeline)  # before the end less is known than will be
        known = self._fates.get(order) if whole else None
        if known is None:
            known = fate(self._timeline, self._timeline[order], limit)
            if whole and known is not Fate.OPEN:
                if len(self._fates) >= FATES:
                    self._fates.clear()
                self._fates[order] = known
        return known

    def present(self, now: int) -> Row | None:
        """What is going on at ``now`` (ns) behind all events."""
        return self._seeds.present(now)

    # By rows, for the player

    def _begins(self, block: int) -> list[int]:
        """Places at which the block's rows begin; a gap begins with the row behind it."""
        rows = self.rows(block, len(self.orders))
        places = np.searchsorted(self.orders, [row.orders[0] for row in rows if row.orders]).tolist()
        return places or [self.cuts[block]]

    def rest(self, place: int, by: int) -> int:
        """From ``place`` events shown, how many are shown ``by`` rows further on (back where negative)."""
        count = len(self.orders)
        for _ in range(abs(by)):
            if place == (count if by > 0 else 0):
                break
            block = self.holding(place if by > 0 else place - 1)
            begins = self._begins(block)
            if by > 0:
                at = bisect_right(begins, place)
                place = begins[at] if at < len(begins) else self.stop(block, count)
            else:
                at = bisect_left(begins, place) - 1
                place = begins[at] if at >= 0 else self.cuts[block]
        return place

    def row_of(self, order: int) -> Row | None:
        """The row that holds the event, or the last one that begins before it."""
        place = int(np.searchsorted(self.orders, order, side="right")) - 1
        if place < 0:
            return None
        rows = [row for row in self.rows(self.holding(place), len(self.orders)) if row.orders]
        at = bisect_right(rows, order, key=lambda row: row.orders[0]) - 1
        return rows[at] if at >= 0 else None
