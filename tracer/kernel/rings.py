"""The rings of the programs drained into batches, records in one order, written and lost counted.

Order. Within a part of a ring (`slots`: what one processor wrote; `ring`: all of it) the position is the causal order.
Between parts records merge by time: each part's times are made monotone (a program takes its time just after its place
in the ring), and a drain only hands out what is older than the moment at which it began, so that no part can still
bring something earlier. What is younger waits for the next drain.

What the programs write in short, or what only the next record explains, is put into plain words on the way: timers that
came off their wheel (`settle`), arrivals over loopback (`loopback`).
"""

from __future__ import annotations

import time
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tracer.batch import Batch, merge
from tracer.kernel.clock import Clock
from tracer.kernel.image import Loaded
from tracer.kernel.loopback import Loopback, still_coming
from tracer.kernel.order import Order, times
from tracer.kernel.reasons import Reasons
from tracer.kernel.ring import HEADER_BYTES, Buffers, PerCpu, Tallies, Tally
from tracer.kernel.settle import settle
from tracer.kernel.slots import Slots
from tracer.kinds import STRIDE, Ring

RINGS: Final = {Ring.SMALL: "small_ring", Ring.OBJECT: "object_ring", Ring.SOCKET: "socket_ring"}
DEFAULT_BYTES: Final = {Ring.SMALL: 8 << 20, Ring.OBJECT: 16 << 20, Ring.SOCKET: 16 << 20}
"""Sizes of the rings: 80,000 calls, 87,000 packets, 65,000 socket records between two drains."""
RECORDING_BYTES: Final = {Ring.SMALL: 32 << 20, Ring.OBJECT: 32 << 20, Ring.SOCKET: 64 << 20}
"""The same for who only records: at 200,000 events a second two seconds in which the recorder may be kept waiting."""
PORTION: Final = 1 << 13
"""Records taken from a ring at once."""
_MARKS: Final = 4
"""The word of `cpu_here` (text/common.c) that counts marks."""
_NEVER: Final = 1 << 62
"""ns after which no record comes any more."""


class _Queue:
    """Rows of one ring that are not handed out yet, in order of keys: times that within a part never step back."""

    def __init__(self, ring: Ring) -> None:
        self.body = np.zeros((0, STRIDE[ring] - HEADER_BYTES), np.uint8)
        self.keys = np.zeros(0, np.uint64)
        self.last = 0
        """Largest key handed out: later rows never go below it."""
        self._ends: dict[int, int] = {}

    def room(self, part: int) -> int:
        """Rows that may be taken from a part now: it is not to run ahead of the others."""
        return PORTION if self.end(part) <= self.last else max(PORTION - len(self.body), 0)

    def end(self, part: int) -> int:
        """Key of the last row that has come from a part."""
        return self._ends.get(part, 0)

    def add(self, fresh: list[tuple[int, NDArray[np.uint8]]]) -> None:
        """Rows of parts, behind those that came before."""
        keys = [self.keys]
        for part, rows in fresh:
            keys.append(np.maximum.accumulate(np.maximum(times(rows), np.uint64(max(self.end(part), self.last)))))
            self._ends[part] = int(keys[-1][-1])
        bodies = [rows for _, rows in fresh]
        self.body = np.concatenate((self.body, *bodies)) if len(self.body) or len(bodies) > 1 else bodies[0]
        self.keys = np.concatenate(keys)
        if np.any(self.keys[1:] < self.keys[:-1]):
            order = np.argsort(self.keys, kind="stable")
            self.body, self.keys = self.body[order], self.keys[order]

    def hand_out(self, count: int) -> None:
        """So many rows are gone."""
        if count:
            self.last = int(self.keys[count - 1])
            self.body, self.keys = self.body[count:], self.keys[count:]


class Rings:
    """The rings of loaded programs. `drain` while they run; `close` when they are off, and `drain` for the rest."""

    def __init__(self, module: Loaded, sizes: dict[Ring, int], reasons: Reasons, *, own: bool) -> None:
        """``sizes`` are those with which the programs were loaded, in bytes; ``own``: `program.own_rings`."""
        fds = {ring: module.map_fd(name) for ring, name in RINGS.items()}
        self._reader = Slots(module.map_fd("turns"), fds, sizes) if own else Buffers(fds, sizes)
        self._open = True
        self._tallies: Tallies | None = Tallies(module.map_fd("tallies"))
        self._here = PerCpu(module.map_fd("cpu_here"), module.value_size("cpu_here"))
        self._queues = {ring: _Queue(ring) for ring in RINGS}
        self._counts = dict.fromkeys(RINGS, Tally(0, 0))
        self._clock = Clock()
        self._order = Order(reasons)
        self._loopback = Loopback()
        self._marks = 0
        self.more = False
        """Whether the last drain left much: the next one should follow at once."""

    def drain(self) -> Batch:
        """Events since the last call, in order. Never blocks.

        At most ``PORTION`` records of each part, see ``more``: what is worked on has to fit into a processor's cache,
        or whoever falls behind is slowed down by it and falls further behind.
        """
        self.more = False
        now = time.monotonic_ns()  # before the rings are looked at: what is not there yet is younger
        cutoff = np.uint64(now if self._open else np.iinfo(np.uint64).max)
        holds = {Ring.OBJECT: partial(still_coming, now=now)}
        for ring, queue in self._queues.items():
            fresh, unfinished = [], []
            for part in self._reader.news(ring) if self._open else ():
                room = queue.room(part)
                rows, left = self._reader.drain(ring, part, room, holds.get(ring))
                if len(rows):
                    fresh.append((part, rows))
                if left:
                    self.more = self.more or len(rows) == room
                    unfinished.append(part)
            if fresh:
                queue.add(fresh)
            # the next record of a part may be as old as the last one before it
            cutoff = min((cutoff, *(np.uint64(queue.end(part)) for part in unfinished)))
        if not self._held:
            return merge([])
        return self._take(cutoff, now if self._open else now + _NEVER)

    def _take(self, cutoff: np.uint64, now: int) -> Batch:
        settled = settle(self._queues[Ring.OBJECT].body, now)
        if settled.open_since is not None:
            cutoff = min(cutoff, np.uint64(settled.open_since - 1))
        parts: list[NDArray[np.uint8]] = []
        keys: list[NDArray[np.uint64]] = []
        floor = max(queue.last for queue in self._queues.values())
        for ring, queue in self._queues.items():
            count = int(np.searchsorted(queue.keys, cutoff, side="right"))
            if ring is Ring.OBJECT:
                ready = int(np.searchsorted(settled.origin, count))
                parts.append(settled.body[:ready])
                keys.append(queue.keys[settled.origin[:ready]])
            else:
                parts.append(queue.body[:count])
                keys.append(queue.keys[:count])
            queue.hand_out(count)
        small, small_keys, objects, object_keys = self._loopback.write_out(
            parts[0], keys[0], parts[1], keys[1], floor, cutoff
        )
        parts[:2], keys[:2] = (small, objects), (small_keys, object_keys)
        return self._order.batch(parts, keys, self._clock.offset.ns)

    def tallies(self) -> dict[Ring, Tally]:
        """Written and lost records by ring, exactly. Any thread may ask, also of rings that are being closed."""
        tallies, reader = self._tallies, self._reader
        if tallies is not None:
            lost = {ring: tallies.read(int(ring)).lost for ring in RINGS}
            self._counts = {ring: Tally(reader.written(ring), lost[ring]) for ring in RINGS}
            # arrivals that are a mark in the record of their leaving, and else would be small ones
            self._marks = int(self._here.read()[:, _MARKS].sum())
            self._counts[Ring.SMALL] = Tally(reader.written(Ring.SMALL) + self._marks, lost[Ring.SMALL])
        return dict(self._counts)

    def lost(self) -> int:
        """Events lost: records refused, those that could not be understood, and in the end marks that came too late."""
        refused = sum(count.lost for count in self.tallies().values())
        late = max(self._marks - self._loopback.marked, 0) if not (self._open or self._held) else 0
        return refused + self._loopback.unmatched + late

    @property
    def _held(self) -> bool:
        """Whether there is something that was read and is not handed out yet."""
        return self._loopback.waiting or any(len(queue.body) for queue in self._queues.values())

    def close(self) -> None:
        """No more will be written: take what is there, count for the last time, unmap. Twice is allowed."""
        if not self._open:
            return
        for ring, queue in self._queues.items():
            fresh = [(part, self._reader.drain(ring, part)[0]) for part in self._reader.news(ring)]
            if fresh := [(part, rows) for part, rows in fresh if len(rows)]:
                queue.add(fresh)
        self.tallies()
        self._open, self._tallies = False, None
        self._reader.close()
