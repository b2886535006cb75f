"""Which packets of a batch are seen for the first time: a segment that left here is not written again when it arrives.

A machine that talks to itself sees each segment twice. The keys of those that have left are kept, the latest few
thousand, and what arrives with such a key has left here: also when it comes late, twice, or in another buffer, as over
a wire that a relay makes. They are compared in compiled code where that is there, else in a dictionary, whose content
moves over when the code has come.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from tracer.batch import Batch
from tracer.events import NUMBER
from tracer.recording.digits import Ints

_SENT, _RECEIVED, _CAPTURED = NUMBER["packet:sent"], NUMBER["packet:received"], NUMBER["packet:captured"]
_DIRECTION: Final = {_SENT: 2, _RECEIVED: 1, _CAPTURED: 0}
"""epb_flags: 1 inbound, 2 outbound, 0 not known."""
_SAME_SEGMENT: Final = ("caplen", "seq", "ack", "flags", "sport", "dport", "ip_id")
"""A segment's departure and its arrival agree in all of these."""
REMEMBERED: Final = 4096
"""Departures kept to recognise arrivals: far more than can be under way on one machine's loopback."""
SEGMENT: Final = len(_SAME_SEGMENT)
_WINDOW: Final = 8
"""Places at which one key may be."""


class Departures:
    """The segments that have left and not arrived."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], None] = {}
        self._memory: Ints | None = None
        self._age = 0

    def directions(self, batch: Batch, loops: Mapping[str, Callable[..., Any]] | None) -> Ints:
        """For each event the direction flags of the packet it is written as; -1 where it is a journal row."""
        kinds = batch.heads["kind"]
        found = np.full(len(kinds), -1, np.int64)
        for number, direction in _DIRECTION.items():
            if number in batch.tables:
                mine = np.flatnonzero(kinds == number)
                whole = batch.tables[number]["caplen"][batch.heads["row"][mine]] > 0
                found[mine[whole]] = direction
        mine = np.flatnonzero(found > 0)
        keys = np.zeros((len(mine), SEGMENT), np.int64)
        for number in (_SENT, _RECEIVED):
            chosen = np.flatnonzero(kinds[mine] == number)
            if len(chosen):
                rows = batch.heads["row"][mine[chosen]]
                for i, name in enumerate(_SAME_SEGMENT):
                    keys[chosen, i] = batch.tables[number][name].astype(np.int64)[rows]
        departed = (found[mine] == _DIRECTION[_SENT]).astype(np.int64)
        first = self._plain(departed, keys) if loops is None and self._memory is None else np.zeros_like(departed)
        if loops is not None or self._memory is not None:
            work = first_sights if loops is None else loops["first_sights"]
            if self._memory is None:
                self._memory = np.zeros(REMEMBERED * (SEGMENT + 1), np.int64)
                before = np.array([*self._known], np.int64)
                ones = np.ones(len(before), np.int64)
                self._age = work(ones, before.reshape(-1), ones.copy(), self._memory, self._age)
                self._known = {}
            self._age = work(departed, keys.reshape(-1), first, self._memory, self._age)
        found[mine[first == 0]] = -1
        return found

    def _plain(self, departed: Ints, keys: Ints) -> Ints:
        first = np.ones(len(keys), np.int64)
        for i, (leaves, key) in enumerate(zip(departed.tolist(), map(tuple, keys.tolist()), strict=True)):
            if leaves:
                self._known.pop(key, None)
                self._known[key] = None
                if len(self._known) > REMEMBERED:
                    del self._known[next(iter(self._known))]
            else:
                first[i] = key not in self._known
        return first


def first_sights(departed: Ints, keys: Ints, found: Ints, memory: Ints, age: int) -> int:
    """Which segments are seen for the first time: 1 into ``found``, else 0; returns the age of the last.

    ``departed`` is 1 for a segment that leaves, 0 for one that arrives; ``keys`` has SEGMENT numbers for each.
    ``memory`` has places of SEGMENT + 1 numbers for those that have left: age (0: free) and key.
    """
    places = len(memory) // (SEGMENT + 1)
    for i in range(len(departed)):
        k = i * SEGMENT
        mixed = keys[k + 1] * 40503 ^ keys[k + 2] * 9973 ^ keys[k + 6]
        first = mixed ^ mixed >> 17
        oldest = same = np.int64(-1)
        for w in range(_WINDOW):
            place = ((first + w) & (places - 1)) * (SEGMENT + 1)
            if oldest < 0 or memory[place] < memory[oldest]:
                oldest = place
            if memory[place]:
                equal = True
                for j in range(SEGMENT):
                    equal = equal and memory[place + 1 + j] == keys[k + j]
                if equal:
                    same = place
        found[i] = departed[i] or same < 0
        if departed[i]:
            age += 1
            place = oldest if same < 0 else same
            memory[place] = age
            for j in range(SEGMENT):
                memory[place + 1 + j] = keys[k + j]
    return age


FUNCTIONS: Final = ("first_sights",)
