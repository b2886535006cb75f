"""Rings of our own read in bulk: arrays of slots in memory that programs and we share, a part for each processor.

A slot is a number of 31 bits and a record (text/ring.c). The program that writes record n of its processor's part,
counted from 1, claims the slot, sets the number to n with the topmost bit, fills in the record and takes the bit away:
so a slot whose number is the one expected holds a whole record, and what it held a round ago never looks like one. How
many records a part has been given stands in a turn, how many of them we have taken beside it: their difference is all
that a program asks before it claims the next, so nothing is overwritten that was not taken.

Within a processor the position is the causal order; between processors only time tells (`rings` merges).
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tracer.kernel.ring import HEADER_BYTES, possible_cpus
from tracer.kinds import STRIDE, Ring

TURNS: Final = 4
"""Turns of a processor, by number of the ring."""
_TURN_BYTES: Final = 128
_NEXT, _SLOTS, _FIRST, _TAKEN = 0, 1, 2, 8
"""Words of a turn."""
_NUMBER_BYTES: Final = 4
_NUMBERS: Final = (1 << 31) - 1
_LEAST: Final = 16
"""A processor's part is never smaller than this share of a ring."""

Hold = Callable[[NDArray[np.uint8]], NDArray[np.bool_]]
"""Of records which are to stay in the ring for now."""


def slots_of(ring: Ring, size: int, cpus: int) -> int:
    """Slots of one processor's part where a ring of ``size`` bytes is asked for.

    A program and its peer keep one or two processors busy: on two, each has a whole ring's size (with half of it a
    recorder that stood still for a second has lost events). All parts together take twice the size, or more where there
    are very many processors.
    """
    return max(size * 2 // min(max(cpus, 2), 2 * _LEAST) // STRIDE[ring], 1)


def map_entries(sizes: Mapping[Ring, int], names: Mapping[Ring, str]) -> dict[str, int]:
    """How many entries the programs' maps are to have, by name, for rings of about so many bytes."""
    cpus = possible_cpus()
    return {names[ring]: slots_of(ring, size, cpus) * cpus for ring, size in sizes.items()} | {"turns": TURNS * cpus}


class Slots:
    """The rings of one loading of the programs. `close` unmaps; the maps belong to whoever made them."""

    def __init__(self, turns_fd: int, fds: Mapping[Ring, int], sizes: Mapping[Ring, int]) -> None:
        """``sizes`` are those that were given to `map_entries`."""
        cpus = possible_cpus()
        self._maps = [_shared(turns_fd, TURNS * cpus * _TURN_BYTES, mmap.PROT_READ | mmap.PROT_WRITE)]
        self._turns: NDArray[np.uint64] | None = np.frombuffer(
            self._maps[0], np.uint64, TURNS * cpus * _TURN_BYTES // 8
        ).reshape(cpus, TURNS, _TURN_BYTES // 8)
        self._slots: dict[Ring, NDArray[np.uint8]] = {}
        for ring, fd in fds.items():
            count = slots_of(ring, sizes[ring], cpus)
            memory = _shared(fd, cpus * count * STRIDE[ring], mmap.PROT_READ)
            self._maps.append(memory)
            rows = np.frombuffer(memory, np.uint8, cpus * count * STRIDE[ring])
            self._slots[ring] = rows.reshape(cpus, count, STRIDE[ring])
            self._turns[:, ring, _FIRST] = np.arange(cpus) * count
            self._turns[:, ring, _SLOTS] = count
        self._written = dict.fromkeys(fds, 0)

    def news(self, ring: Ring) -> list[int]:
        """The processors that have written since they were last drained, or were not drained to the end."""
        assert self._turns is not None
        found: list[int] = np.flatnonzero(self._turns[:, ring, _NEXT] != self._turns[:, ring, _TAKEN]).tolist()
        return found

    def drain(
        self, ring: Ring, cpu: int, most: int | None = None, hold: Hold | None = None
    ) -> tuple[NDArray[np.uint8], bool]:
        """Finished records of a processor, at most so many, a copy, shape (n, stride - 8), in order of their places.

        And whether something was left: a record that was still being written or that ``hold`` holds, or more than there
        were to be taken.
        """
        assert self._turns is not None
        turn, slots = self._turns[cpu, ring], self._slots[ring][cpu]
        taken, there = int(turn[_TAKEN]), int(turn[_NEXT] - turn[_TAKEN])
        count = there if most is None else min(there, most)
        begin = taken % len(slots)
        pieces = slots[begin : begin + count], slots[: max(begin + count - len(slots), 0)]
        # all numbers before any record: what is finished only between the two is left for the next time
        numbers = np.concatenate([piece[:, :_NUMBER_BYTES] for piece in pieces]).view(np.uint32)[:, 0]
        unfinished = np.flatnonzero(numbers != np.arange(taken + 1, taken + 1 + count) & _NUMBERS)
        if len(unfinished):
            count = int(unfinished[0])
        width = slots.shape[1] - HEADER_BYTES
        body = np.concatenate([piece[:, _NUMBER_BYTES : _NUMBER_BYTES + width] for piece in pieces])[:count]
        if hold is not None and len(held := np.flatnonzero(hold(body))):
            count = int(held[0])
            body = body[:count]
        turn[_TAKEN] = taken + count  # only now may the programs overwrite them
        return body, count < there

    def written(self, ring: Ring) -> int:
        """Records that have had a place in the ring, drained or not. Any thread may ask, also after `close`."""
        turns = self._turns
        if turns is not None:
            self._written[ring] = int(turns[:, ring, _NEXT].sum())
        return self._written[ring]

    def close(self) -> None:
        """Unmap. Twice is allowed."""
        for ring in self._slots:
            self.written(ring)
        self._turns, self._slots = None, {}
        maps, self._maps = self._maps, []
        for memory in maps:
            with contextlib.suppress(BufferError):
                memory.close()


def _shared(fd: int, size: int, access: int) -> mmap.mmap:
    """A map's values, whole pages of them."""
    return mmap.mmap(fd, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE, mmap.MAP_SHARED, access)
