"""Arrivals over loopback, told by a mark or in short, written out.

What leaves by the loopback device comes in a moment later on the same processor, byte for byte: most often both
records would say the same but for the time. So the probe that sees a packet come in, and knows it for the one that it
saw leaving last on its processor, does not say it again (text/packet.c, comes_back). Here the whole row of a
``packet:received`` is made, as the probe would have written it.

- Where the record of the leaving is still in a ring of our own, the probe notes there how many ns later the packet
  came in, in place of a file descriptor. A mark is made within a millisecond or not at all, and a record that is to be
  marked is left in its ring until it is, or for much longer than that: `still_coming`.
- Else it writes a head, with the buffer's address in place of a socket's, into the ring of small records. Everything
  else stands in the record of the leaving, which was written before: on the same processor, about a buffer of the same
  address, and the last of these. It is drained no later than that of the arrival, for what a drain hands out is
  complete up to its last moment. It may have been drained earlier: the last ones of each processor are remembered.

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
from tracer.kernel.ring import HEADER_BYTES
from tracer.kinds import STRIDE, Ring

Rows = NDArray[np.uint8]
Keys = NDArray[np.uint64]

SENT: Final = NUMBER["packet:sent"]
RECEIVED: Final = NUMBER["packet:received"]
REMEMBERED: Final = 4
"""Packets of a processor that may be meant: the last one that left, or those whose leaving this one interrupted."""
_NO_END: Final = np.uint64(np.iinfo(np.uint64).max)
COMING: Final = -3
"""In place of the descriptor of a packet that left: it will be marked. From 0 on: so many ns later it came in."""
HELD: Final = 20_000_000
"""ns that a record is left in its ring for its mark: twenty times what a probe allows itself (MARKED_WITHIN), for its
processor may be taken away in between."""
_HEAD: Final = RING_HEAD.itemsize
_SKB: Final = _HEAD + int(RING_PAYLOAD[SENT].fields["skb"][1])  # type: ignore[index]


def still_coming(objects: Rows, now: int) -> NDArray[np.bool_]:
    """Which rows of the ring of objects are left there for their marks, as long as they are younger by ``now``."""
    young = _column(objects, "time").astype(np.int64) > now - HELD
    held: NDArray[np.bool_] = young & (_column(objects, "fd") == COMING) & (_column(objects, "kind") == SENT)
    return held


class Loopback:
    """Writes out the short records of one trace."""

    def __init__(self) -> None:
        self._last: Rows | None = None
        self._waiting = np.zeros((0, STRIDE[Ring.OBJECT] - HEADER_BYTES), np.uint8)
        self.unmatched = 0
        """Short records that refer to none that is there: left out, so events lost. None is known to come to pass."""
        self.marked = 0
        """Marks that were found."""

    @property
    def waiting(self) -> bool:
        """Whether arrivals are known that are not handed out yet."""
        return len(self._waiting) > 0

    def write_out(
        self, small: Rows, small_keys: Keys, objects: Rows, keys: Keys, floor: int = 0, cutoff: np.uint64 = _NO_END
    ) -> tuple[Rows, Keys, Rows, Keys]:
        """The rows (n, bytes) of the rings of small records and of objects with their keys, both in order of keys.

        The same comes back with whole arrivals among the objects in place of short ones among the small. ``floor`` is
        the largest key that was handed out before: none comes below it. An arrival that is later than ``cutoff``, which
        the rows are not, waits.
        """
        places = np.flatnonzero(_column(objects, "kind") == SENT)
        marked, coming = _marked(objects, places)
        self.marked += len(marked)
        sent = objects[places]
        pool = sent if self._last is None else np.concatenate((self._last, sent))
        if len(sent):
            self._last = _latest(pool)
        short = _column(small, "kind") == RECEIVED
        if not (self.waiting or len(marked) or short.any()):
            return small, small_keys, objects, keys
        remembered = len(pool) - len(sent)
        whole = small[short][:, :_HEAD]
        of = _leavings(pool, whole)
        self.unmatched += int((of < 0).sum())
        whole, of = np.concatenate((whole[of >= 0], coming)), np.concatenate((of[of >= 0], remembered + marked))
        rows = pool[of]
        rows[:, :_HEAD] = whole
        _column(rows, "addr")[:] = 0
        early = np.full(remembered, -1)  # whose leaving was handed out before
        behind = np.concatenate((np.full(len(self._waiting), -1), np.concatenate((early, places))[of]))
        rows = np.concatenate((self._waiting, rows))
        left = np.where(behind < 0, np.uint64(floor), np.append(keys, np.uint64(0))[behind])
        when = np.maximum(np.maximum(_column(rows, "time"), left), np.uint64(floor))
        self._waiting = rows[when > cutoff]
        rows, when, behind = (each[when <= cutoff] for each in (rows, when, behind))
        every = np.concatenate((keys, when))
        among = np.maximum(_next_objects(objects, rows) - 0.5, behind + 0.5)
        order = np.lexsort((np.concatenate((np.arange(len(objects)), among)), every))
        return small[~short], small_keys[~short], np.concatenate((objects, rows))[order], every[order]


def _marked(objects: Rows, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], Rows]:
    """Of the packets that left those that are marked, by their number among these, and the heads of their arrivals.

    The marks are taken away.
    """
    fds = _column(objects, "fd")[places]
    _column(objects, "fd")[places] = -1
    marked = np.flatnonzero(fds >= 0)
    coming = objects[places[marked], :_HEAD]
    _column(coming, "time")[:] += fds[marked].astype(np.uint64)
    for name, value in (("ctx", 0), ("cookie", 0), ("kind", RECEIVED)):
        _column(coming, name)[:] = value
    return marked, coming


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
