"""Lines of a connection of very many events: rows where they have been merged, single events where they have not.

How many rows a block makes is only known once they are made (tui.ladder.blocks), so until somebody looks at it a block
counts as many lines as it has events. What is looked at is merged first (`settle`, `reach`, `line_of`); the lines
behind it move up then, and so do those in sight if it was above them. Who remembers a line must remember its event.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tui.ladder.blocks import Blocks
from tui.ladder.parts import Row

FRESH: Final = 3
"""Blocks at the end that are not merged while events rush by there."""
FAR: Final = 512
"""Rows up to which every row on the way is counted; who goes further goes by events."""


class Lines:
    """The lines of the first events of a connection, so many as `reveal` says."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._shown = self._limit = 0
        self._key: tuple[object, ...] = ()
        self._version = blocks.version
        self._merged: NDArray[np.int64] = np.zeros(0, np.int64)
        """How many rows there are in each block; 0: not merged."""
        self._tail = -1
        """The last block, if it is merged."""
        self._fresh = 0
        """From this block on none is merged for now."""
        self._counts: NDArray[np.int64] = np.zeros(0, np.int64)
        self._firsts: NDArray[np.int64] = np.zeros(1, np.int64)
        """The first line of each block, and how many lines there are."""

    def reveal(self, shown: int, limit: int, *, rushing: bool = False, still: bool = False) -> None:
        """There are lines for the first ``shown`` events, all of them below order ``limit``, and no others.

        ``rushing``: at the end they come faster than they could be merged there; ``still``: nothing is to be merged.
        """
        blocks = self._blocks
        if self._version != blocks.version:
            self._version, self._merged, self._tail = blocks.version, self._merged[:0], -1
        self._shown, self._limit = shown, limit
        key = (shown, rushing, still, self._version)
        if key == self._key:
            return
        self._key = key
        count = blocks.holding(shown - 1) + 1 if shown else 0
        self._fresh = 0 if still else max(count - FRESH, 0) if rushing else count
        if count > len(self._merged):
            self._merged = np.pad(self._merged, (0, count))
        stops = np.array([*blocks.cuts[1:count], shown] if count else [], np.int64)
        self._counts = stops - np.array(blocks.cuts[:count], np.int64)
        known = self._merged[: min(self._fresh, max(count - 1, 0))]
        self._counts[: len(known)][known > 0] = known[known > 0]
        if self._tail != count - 1 or self._fresh < count:
            self._tail = -1
        elif count:
            self._counts[-1] = len(blocks.rows(self._tail, shown))
        self._number()

    def _number(self) -> None:
        self._firsts = np.concatenate(([0], np.cumsum(self._counts)))

    def __len__(self) -> int:
        return int(self._firsts[-1])

    @property
    def _last(self) -> int:
        """The last block."""
        return len(self._counts) - 1

    def _is_merged(self, block: int) -> bool:
        return block < self._fresh and (self._merged[block] > 0 if block < self._last else self._tail == block)

    def _merge(self, block: int) -> int:
        """Make the block's rows lines, if that may be done now; returns how many lines it has."""
        if block < self._fresh and not self._is_merged(block):
            count = len(self._blocks.rows(block, self._shown))
            if block < self._last:
                self._merged[block] = count
            else:
                self._tail = block
            self._counts[block] = count
            self._number()
        return int(self._counts[block])

    def _locate(self, line: int) -> tuple[int, int]:
        """The block that has a line, and which of the block's lines it is."""
        block = min(int(np.searchsorted(self._firsts, line, side="right")) - 1, self._last)
        return block, line - int(self._firsts[block])

    # What a line holds

    def _row(self, line: int) -> Row | None:
        """The row of a merged line, as it was made."""
        block, at = self._locate(line)
        return self._blocks.rows(block, self._shown)[at] if self._is_merged(block) else None

    def _order(self, line: int) -> int:
        """Order of the event of a line that is not merged."""
        block, at = self._locate(line)
        return int(self._blocks.orders[self._blocks.cuts[block] + at])

    def __getitem__(self, line: int) -> Row:
        row = self._row(line)
        return self._blocks.alone(self._order(line)) if row is None else self._blocks.shown(row, self._limit)

    def key(self, line: int) -> object:
        """What a line is made of: as long as it is equal, so is the row."""
        row = self._row(line)
        return self._order(line) if row is None else self._blocks.shown(row, self._limit)

    def main(self, line: int) -> int:
        """Order of the event that a line is about; -1 for a gap."""
        row = self._row(line)
        return self._order(line) if row is None else row.main

    def orders(self, line: int) -> tuple[int, ...]:
        """Orders of the events in a line."""
        row = self._row(line)
        return (self._order(line),) if row is None else row.orders

    # Finding one's way

    def line_of(self, order: int) -> int:
        """The line that holds the event, or the last one that begins before it; -1 when there is none."""
        place = min(int(np.searchsorted(self._blocks.orders, order, side="right")), self._shown) - 1
        if place < 0:
            return -1
        block = self._blocks.holding(place)
        self._merge(block)
        at = place - self._blocks.cuts[block]
        if self._is_merged(block):
            rows = self._blocks.rows(block, self._shown)
            at = next((at for at in reversed(range(len(rows))) if rows[at].orders and rows[at].orders[0] <= order), 0)
        return int(self._firsts[block]) + at

    def settle(self, line: int, room: int) -> int:
        """Merge what is in ``room`` lines from ``line`` on; returns the line in which is now what was in that one."""
        if not len(self):
            return line
        block, at = self._locate(line)
        if not self._is_merged(block):
            line = self.line_of(self._order(line))
            at = line - int(self._firsts[block])
        rest = room - (int(self._counts[block]) - at)
        while rest > 0 and block < self._last:
            block += 1
            rest -= self._merge(block)
        return line

    def reach(self, line: int, by: int) -> int:
        """The line that is ``by`` rows further on, or as many as there are."""
        if not len(self):
            return -1
        if abs(by) > FAR:
            return self.settle(max(0, min(line + by, len(self) - 1)), 1)
        line = self.settle(max(line, 0), 1)
        block, at = self._locate(line)
        at += by
        while at >= (count := self._merge(block)) and block < self._last:
            block, at = block + 1, at - count
        while at < 0 < block:
            block -= 1
            at += self._merge(block)
        return int(self._firsts[block]) + max(0, min(at, int(self._counts[block]) - 1))
