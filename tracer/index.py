"""Where a value occurs in a column of the heads: asked for any of thousands of connections, answered without a scan.

Heads come in chunks that never change once full. Of a full chunk a column's values are sorted once, the place within
the chunk packed below the value so that equal values keep their order; from then on any value is found by bisection.
The chunk that is still being filled is searched as it is. So the first question about a column costs a millisecond or
two for every chunk, any later one some microseconds, and a timeline that grows pays for a chunk when it is full.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

PLACE_BITS: Final = 16
"""A chunk holds 2**16 events."""
_PLACE: Final = np.uint64((1 << PLACE_BITS) - 1)
_SHIFT: Final = np.uint64(PLACE_BITS)
_BITS: Final = np.uint64(64)
_WHOLE: Final = (1 << 64) - 1


class _Sorted(NamedTuple):
    """A full chunk."""

    values: NDArray[np.uint64]
    """Those that occur, without their topmost bits, ascending."""
    firsts: NDArray[np.intp]
    """Where each of them begins in ``places``, and the end."""
    places: NDArray[np.uint16]
    cut: bool
    """Some value has topmost bits, which are not here: what is found is to be compared."""


class ColumnIndex:
    """One column of chunks of heads. Any thread may ask: what two work out at once is the same."""

    def __init__(self, chunks: Sequence[NDArray[Any]], column: str) -> None:
        """``chunks``: those of the timeline, as it goes on to fill them."""
        self._chunks, self._column = chunks, column
        self._sorted: dict[int, _Sorted] = {}

    def find(self, value: int, start: int, stop: int) -> NDArray[np.int64]:
        """Orders in start..stop, all of them complete, at which the column has ``value``; ascending, a new array."""
        found = []
        for number in range(start >> PLACE_BITS, -(-stop // (1 << PLACE_BITS))):
            base = number << PLACE_BITS
            if stop >= base + (1 << PLACE_BITS):
                places = self._look_up(number, value)
            else:
                # What was looked through before is not looked through again: a live tail is asked at every frame.
                first = max(start - base, 0)
                places = np.flatnonzero(self._chunks[number][self._column][first : stop - base] == value) + first
            if len(places):
                found.append(places.astype(np.int64) + base)
        if not found:
            return np.zeros(0, np.int64)
        orders = np.concatenate(found)
        return orders[np.searchsorted(orders, start) :] if orders[0] < start else orders

    def _look_up(self, number: int, value: int) -> NDArray[Any]:
        """Places in a full chunk."""
        chunk = self._sorted.get(number)
        if chunk is None:
            chunk = self._sorted[number] = _sort(self._chunks[number][self._column])
        sought = np.uint64((value << PLACE_BITS & _WHOLE) >> PLACE_BITS)
        at = int(np.searchsorted(chunk.values, sought))
        if at == len(chunk.values) or chunk.values[at] != sought:
            return chunk.places[:0]
        places = chunk.places[chunk.firsts[at] : chunk.firsts[at + 1]]
        if chunk.cut:
            places = places[self._chunks[number][self._column][places] == value]
        return places


def _sort(column: NDArray[Any]) -> _Sorted:
    whole = column.astype(np.uint64)
    keys = np.sort(whole << _SHIFT | np.arange(len(column), dtype=np.uint64))
    places, values = (keys & _PLACE).astype(np.uint16), keys >> _SHIFT
    firsts = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))
    return _Sorted(values[firsts], np.append(firsts, len(values)), places, bool((whole >> (_BITS - _SHIFT)).any()))
