"""BPF ring buffers read in bulk: mapped into memory, walked by stride, counted exactly.

A BPF ring buffer (kernel/bpf/ringbuf.c) is three mappings: a consumer page that we write, a producer page that the
kernel writes, and the data, mapped twice back to back so that nothing ever wraps. Each record has an 8-byte header
(length, a BUSY bit while it is being written, a DISCARD bit when it was given up). When all records of a ring have the
same length, the positions of the headers form an arithmetic sequence and numpy looks at thousands at once; a ring of
mixed lengths has to be walked record by record, ten times slower. So there is one ring for each class of record.

Position in the ring is the order of reservation, and that is the causal order across processors; by the stride it is
also the count of records written. A full ring refuses silently, so the programs count what was refused, per processor:
written + lost = attempted.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tracer.kernel.attach import map_lookup
from tracer.kinds import STRIDE, Ring

BUSY: Final = np.uint32(1 << 31)
DISCARD: Final = np.uint32(1 << 30)
HEADER_BYTES: Final = 8
_PAGE: Final = mmap.PAGESIZE


class RingError(Exception):
    """The ring holds something that no probe of ours writes."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the records of one ring."""

    written: int
    """Submitted by the programs."""
    lost: int
    """Refused because the ring was full."""


class MappedRing:
    """One ring of fixed stride.

    `size` is the data size in bytes (a power of two, whole pages), `stride` the bytes from one record to the next,
    header included. `close` unmaps; the map itself belongs to whoever made it.
    """

    def __init__(self, map_fd: int, size: int, stride: int) -> None:
        self.stride = stride
        self._mask = size - 1
        self._consumer_map = mmap.mmap(map_fd, _PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0)
        self._data_map = mmap.mmap(map_fd, _PAGE + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=_PAGE)
        self._consumer: NDArray[np.uint64] | None = np.frombuffer(self._consumer_map, np.uint64, 1)
        self._producer: NDArray[np.uint64] | None = np.frombuffer(self._data_map, np.uint64, 1)
        self._written = 0
        self.drained = 0
        """Records handed out so far."""
        self.more = False
        """The last drain left something: a record that was still being written, or more than it was to take."""

    @property
    def empty(self) -> bool:
        """Nothing has been reserved since the last drain, nor was anything left by it."""
        assert self._consumer is not None and self._producer is not None
        return bool(self._consumer[0] == self._producer[0])

    def drain(self, most: int | None = None) -> NDArray[np.uint8]:
        """The finished records, at most so many, a copy, shape (n, stride - 8), in order of reservation."""
        assert self._consumer is not None and self._producer is not None
        consumer, producer = int(self._consumer[0]), int(self._producer[0])
        there = (producer - consumer) // self.stride
        count = there if most is None else min(there, most)
        begin = _PAGE + (consumer & self._mask)
        rows = np.frombuffer(self._data_map, np.uint8, count * self.stride, begin).reshape(count, self.stride)
        lengths = np.ascontiguousarray(rows[:, :4]).view(np.uint32).reshape(count)
        busy = np.flatnonzero(lengths & BUSY)
        if len(busy):
            count = int(busy[0])
            rows, lengths = rows[:count], lengths[:count]
        self.more = count < there
        body = rows[:, HEADER_BYTES:].copy()
        if count and np.any((lengths & ~DISCARD) != self.stride - HEADER_BYTES):
            raise RingError(f"a record of another length in the ring of stride {self.stride}")
        self._consumer[0] = consumer + count * self.stride  # only now may the kernel overwrite them
        discarded = (lengths & DISCARD) != 0
        if discarded.any():
            body = body[~discarded]
        self.drained += len(body)
        return body

    @property
    def written(self) -> int:
        """Records that have had a place in the ring, drained or not. Any thread may ask, also of one that is closed."""
        producer = self._producer
        if producer is not None:
            self._written = int(producer[0]) // self.stride
        return self._written

    def close(self) -> None:
        """Unmap. Twice is allowed."""
        self._written = self.written
        self._consumer = self._producer = None
        self._consumer_map.close()
        self._data_map.close()


class Buffers:
    """Several rings read as `slots.Slots` are: each has one part, number 0."""

    def __init__(self, fds: Mapping[Ring, int], sizes: Mapping[Ring, int]) -> None:
        """``sizes`` are those with which the programs were loaded, in bytes."""
        self._rings = {ring: MappedRing(fd, sizes[ring], STRIDE[ring]) for ring, fd in fds.items()}

    def news(self, ring: Ring) -> list[int]:
        """The parts in which something is to be drained."""
        return [] if self._rings[ring].empty else [0]

    def drain(
        self, ring: Ring, _part: int, most: int | None = None, _hold: object = None
    ) -> tuple[NDArray[np.uint8], bool]:
        """Finished records, at most so many, and whether something was left. Here none is changed later, none held."""
        mapped = self._rings[ring]
        return mapped.drain(most), mapped.more

    def written(self, ring: Ring) -> int:
        """Records that have had a place in the ring. Any thread may ask, also after `close`."""
        return self._rings[ring].written

    def close(self) -> None:
        """Unmap. Twice is allowed."""
        for mapped in self._rings.values():
            with contextlib.suppress(BufferError):
                mapped.close()


def possible_cpus() -> int:
    """How many values a per-CPU map holds."""
    text = Path("/sys/devices/system/cpu/possible").read_text().strip()
    return int(text.split(",")[-1].split("-")[-1]) + 1


class PerCpu:
    """The one value of a per-CPU map of programs, as words."""

    def __init__(self, map_fd: int, value_size: int) -> None:
        """``value_size``: of one processor's, in bytes, a multiple of 8."""
        self._fd, self._words, self._cpus = map_fd, value_size // 8, possible_cpus()

    def read(self) -> NDArray[np.uint64]:
        """Now, shape (processors, words)."""
        size = 8 * self._words * self._cpus
        raw = map_lookup(self._fd, bytes(4), size) or bytes(size)
        return np.frombuffer(raw, np.uint64).reshape(self._cpus, self._words)


class Tallies:
    """The per-CPU counters that programs keep: slot 2 * ring is written (where they count that), 2 * ring + 1 lost."""

    def __init__(self, map_fd: int) -> None:
        self._fd = map_fd
        self._cpus = possible_cpus()

    def _sum(self, slot: int) -> int:
        raw = map_lookup(self._fd, slot.to_bytes(4, "little"), 8 * self._cpus)
        return 0 if raw is None else int(np.frombuffer(raw, np.uint64).sum())

    def read(self, ring: int) -> Tally:
        """Both counters of a ring, summed over the processors."""
        return Tally(self._sum(2 * ring), self._sum(2 * ring + 1))
