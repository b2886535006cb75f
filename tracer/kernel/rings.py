"""The rings of the programs drained into batches, records in one order, written and lost counted.

Order. Within a ring the position is the causal order. Between rings records merge by time: each ring's times are made
monotone (a program takes its time just after its place in the ring), and a drain only hands out what is older than the
moment at which it began, so that no ring can still bring something earlier. What is younger waits for the next drain.

What the programs write in short, or what only the next record explains, is put into plain words on the way: timers that
came off their wheel (`settle`), arrivals over loopback (`loopback`).
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tracer.batch import Batch, merge
from tracer.kernel.clock import Clock
from tracer.kernel.image import Loaded
from tracer.kernel.loopback import Loopback
from tracer.kernel.order import Order, times
from tracer.kernel.reasons import Reasons
from tracer.kernel.ring import MappedRing, Tallies, Tally
from tracer.kernel.settle import settle
from tracer.kinds import STRIDE, Ring

RINGS: Final = {Ring.SMALL: "small_ring", Ring.OBJECT: "object_ring", Ring.SOCKET: "socket_ring"}
DEFAULT_BYTES: Final = {Ring.SMALL: 8 << 20, Ring.OBJECT: 16 << 20, Ring.SOCKET: 16 << 20}
"""Sizes of the rings: 80,000 calls, 87,000 packets, 65,000 socket records between two drains."""
RECORDING_BYTES: Final = {Ring.SMALL: 32 << 20, Ring.OBJECT: 32 << 20, Ring.SOCKET: 64 << 20}
"""The same for who only records: at 200,000 events a second two seconds in which the recorder may be kept waiting."""
PORTION: Final = 1 << 13
"""Records taken from a ring at once."""
_NEVER: Final = 1 << 62
"""ns after which no record comes any more."""


@dataclass
class _Queue:
    """Rows of one ring that are not handed out yet."""

    body: NDArray[np.uint8]
    last: int = 0
    """Largest time handed out: later rows never go below it."""


class Rings:
    """The rings of loaded programs. `drain` while they run; `close` when they are off, and `drain` for the rest."""

    def __init__(self, module: Loaded, sizes: dict[Ring, int], reasons: Reasons) -> None:
        """``sizes`` are those with which the programs were loaded, in bytes."""
        fds = {ring: module.map_fd(name) for ring, name in RINGS.items()}
        self._mapped = {ring: MappedRing(fds[ring], sizes[ring], STRIDE[ring]) for ring in RINGS}
        self._tallies: Tallies | None = Tallies(module.map_fd("tallies"))
        self._queues = {ring: _Queue(np.zeros((0, STRIDE[ring] - 8), np.uint8)) for ring in RINGS}
        self._counts = dict.fromkeys(RINGS, Tally(0, 0))
        self._clock = Clock()
        self._order = Order(reasons)
        self._loopback = Loopback()
        self.more = False
        """Whether the last drain left much: the next one should follow at once."""

    def drain(self) -> Batch:
        """Events since the last call, in order. Never blocks.

        At most ``PORTION`` records of each ring, see ``more``: what is worked on has to fit into a processor's cache,
        or whoever falls behind is slowed down by it and falls further behind.
        """
        self.more = False
        if self._idle():
            return merge([])
        now = time.monotonic_ns()
        closed = not self._mapped
        cutoff = np.uint64(np.iinfo(np.uint64).max) if closed else np.uint64(now)
        for ring, mapped in self._mapped.items():
            queue = self._queues[ring]
            fresh = mapped.drain(max(PORTION - len(queue.body), 0))
            if len(fresh):
                queue.body = np.concatenate((queue.body, fresh)) if len(queue.body) else fresh
            self.more = self.more or len(queue.body) >= PORTION
            if mapped.more:
                # the next record may be as old as the last one before it
                cutoff = min(cutoff, np.uint64(times(queue.body)[-1] if len(queue.body) else queue.last))
        if not any(len(queue.body) for queue in self._queues.values()):
            return merge([])
        return self._take(cutoff, now + _NEVER if closed else now)

    def _idle(self) -> bool:
        """Nothing has come and nothing waits."""
        return bool(self._mapped) and all(
            mapped.empty and not len(self._queues[ring].body) for ring, mapped in self._mapped.items()
        )

    def _take(self, cutoff: np.uint64, now: int) -> Batch:
        settled = settle(self._queues[Ring.OBJECT].body, now)
        if settled.open_since is not None:
            cutoff = min(cutoff, np.uint64(settled.open_since - 1))
        parts: list[NDArray[np.uint8]] = []
        keys: list[NDArray[np.uint64]] = []
        floor = max(queue.last for queue in self._queues.values())
        for ring, queue in self._queues.items():
            risen = np.maximum.accumulate(np.maximum(times(queue.body), np.uint64(queue.last)))
            count = int(np.searchsorted(risen, cutoff, side="right"))
            if ring is Ring.OBJECT:
                ready = int(np.searchsorted(settled.origin, count))
                parts.append(settled.body[:ready])
                keys.append(risen[settled.origin[:ready]])
            else:
                parts.append(queue.body[:count])
                keys.append(risen[:count])
            if count:
                queue.last = int(risen[count - 1])
                queue.body = queue.body[count:]
        small, small_keys, objects, object_keys = self._loopback.write_out(
            parts[0], keys[0], parts[1], keys[1], floor
        )
        parts[:2], keys[:2] = (small, objects), (small_keys, object_keys)
        return self._order.batch(parts, keys, self._clock.offset.ns)

    def tallies(self) -> dict[Ring, Tally]:
        """Written and lost records by ring, exactly. Any thread may ask, also of rings that are being closed."""
        tallies, mapped = self._tallies, self._mapped
        if tallies is not None and mapped:
            lost = {ring: tallies.read(int(ring)).lost for ring in RINGS}
            self._counts = {ring: Tally(mapped[ring].written, lost[ring]) for ring in RINGS}
        return dict(self._counts)

    def lost(self) -> int:
        """Events lost: records refused, and those that could not be understood."""
        return sum(count.lost for count in self.tallies().values()) + self._loopback.unmatched

    def close(self) -> None:
        """No more will be written: take what is there, count for the last time, unmap. Twice is allowed."""
        for ring, mapped in self._mapped.items():
            queue = self._queues[ring]
            queue.body = np.concatenate((queue.body, mapped.drain()))
        self.tallies()
        closing, self._mapped, self._tallies = self._mapped, {}, None
        for mapped in closing.values():
            with contextlib.suppress(BufferError):
                mapped.close()
