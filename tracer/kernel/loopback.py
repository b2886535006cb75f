"""Arrivals over loopback, told in short, written out.

What leaves by the loopback device comes in a moment later on the same processor, byte for byte: most often both
records would say the same but for the time. So the probe that sees a packet come in, and knows it for the one that it
saw leaving last on its processor, writes only a head, with the buffer's address in place of a socket's, into the ring
of small records (text/packet.c, comes_back). Everything else stands in the record of the leaving, which was written
before: on the same processor, about a buffer of the same address, and the last of these. Here the whole row of a
``packet:received`` is made of the two, as the probe would have written it.

The record of the leaving is drained no later than that of the arrival, for what a drain hands out is complete up to
its last moment. It may have been drained earlier: the last ones of each processor are remembered.

The place of an arrival is that of its time among the objects, not its place in the ring of small records: there a
processor that was held up between taking a place and reading the clock makes all that follow it late, and what an
arrival led to is in other rings. Where objects were made late themselves it still comes before what its processor wrote
after it.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.events import NUMBER, RING_HEAD, RING_PAYLOAD

Rows = NDArray[np.uint8]
Keys = NDArray[np.uint64]

SENT: Final = NUMBER["packet:sent"]
RECEIVED: Final = NUMBER["packet:received"]
REMEMBERED: Final = 4
"""Packets of a processor that may be meant: the last one that left, or those whose leaving this one interrupted."""
_HEAD: Final = RING_HEAD.itemsize
_SKB: Final = _HEAD + int(RING_PAYLOAD[SENT].fields["skb"][1])  # type: ignore[index]


class Loopback:
    """Writes out the short records of one trace."""

    def __init__(self) -> None:
        self._last: Rows | None = None
        self.unmatched = 0
        """Short records that refer to none that is there: left out, so events lost. None is known to come to pass."""

    def write_out(
        self, small: Rows, small_keys: Keys, objects: Rows, keys: Keys, floor: int = 0
    ) -> tuple[Rows, Keys, Rows, Keys]:
        """The rows (n, bytes) of the rings of small records and of objects with their keys, both in order of keys.

        The same comes back with whole arrivals among the objects in place of short ones among the small. ``floor`` is
        the largest key that was handed out before: none comes below it.
        """
        places = np.flatnonzero(_column(objects, "kind") == SENT)
        sent = objects[places]
        pool = sent if self._last is None else np.concatenate((self._last, sent))
        if len(sent):
            self._last = _latest(pool)
        short = _column(small, "kind") == RECEIVED
        if not short.any():
            return small, small_keys, objects, keys
        whole = small[short]
        of = _leavings(pool, whole)
        self.unmatched += int((of < 0).sum())
        whole, of = whole[of >= 0], of[of >= 0]
        rows = pool[of]
        rows[:, :_HEAD] = whole[:, :_HEAD]
        _column(rows, "addr")[:] = 0
        remembered = len(pool) - len(sent)
        left = np.concatenate((np.full(remembered, floor, np.uint64), keys[places]))[of]
        behind = np.concatenate((np.full(remembered, -1), places))[of]
        every = np.concatenate((keys, np.maximum(np.maximum(_column(rows, "time"), left), np.uint64(floor))))
        among = np.maximum(_next_objects(objects, rows) - 0.5, behind + 0.5)
        order = np.lexsort((np.concatenate((np.arange(len(objects)), among)), every))
        return small[~short], small_keys[~short], np.concatenate((objects, rows))[order], every[order]


def _column(rows: Rows, name: str) -> NDArray[Any]:
    """A field of the heads, a view."""
    kind, at = RING_HEAD.fields[name][:2]  # type: ignore[index]
    return rows[:, at : at + kind.itemsize].view(kind)[:, 0]


def _latest(pool: Rows) -> Rows:
    """The last rows of each processor, in their order."""
    cpus = _column(pool, "cpu")
    chosen = [np.flatnonzero(cpus == cpu)[-REMEMBERED:] for cpu in np.unique(cpus)]
    return pool[np.sort(np.concatenate(chosen))]


def _leavings(pool: Rows, arrivals: Rows) -> NDArray[np.int64]:
    """For each arrival the row of the pool that it is about; -1 where there is none."""
    cpus, times, buffers = _column(pool, "cpu"), _column(pool, "time"), pool[:, _SKB : _SKB + 8].view(np.uint64)[:, 0]
    coming, moments, skbs = (_column(arrivals, name) for name in ("cpu", "time", "addr"))
    found = np.full(len(arrivals), -1)
    for cpu in np.unique(coming):
        here = np.flatnonzero(cpus == cpu)
        here = here[np.argsort(times[here], kind="stable")]  # the place of one that was interrupted is before its time
        mine = np.flatnonzero(coming == cpu)
        at = np.searchsorted(times[here], moments[mine], side="right") - 1
        for back in range(REMEMBERED):
            still = (found[mine] < 0) & (at >= back)
            candidates = here[at[still] - back]
            same = buffers[candidates] == skbs[mine[still]]
            found[mine[still][same]] = candidates[same]
    return found


def _next_objects(objects: Rows, arrivals: Rows) -> NDArray[np.int64]:
    """For each arrival the place of the first object that its processor wrote after it; their number where none."""
    cpus, times = _column(objects, "cpu"), _column(objects, "time")
    coming, moments = _column(arrivals, "cpu"), _column(arrivals, "time")
    found = np.full(len(arrivals), len(objects))
    for cpu in np.unique(coming):
        here, mine = np.flatnonzero(cpus == cpu), np.flatnonzero(coming == cpu)
        at = np.searchsorted(np.maximum.accumulate(times[here]), moments[mine], side="right")
        found[mine] = np.append(here, len(objects))[at]
    return found
