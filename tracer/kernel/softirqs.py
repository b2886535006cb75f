"""Softirqs in which no probe was run: what the kernel counts, less what the probes saw.

TCP's timers and everything that arrives are worked on in softirqs. Where a machine keeps BPF programs from running in
some process, they do not run in a softirq that interrupts it either, and no counter of theirs tells (recursion_misses
stays 0). But the kernel counts every softirq itself (handle_softirqs(): kstat_incr_softirqs_this_cpu(), shown in
/proc/softirqs), and the program at softirq_exit counts those that it sees; what the first count grows by and the second
does not, no probe has seen. None of these need have had anything to do with what is traced: they are no lost events.

The two counts are not read at one moment, and the kernel counts a softirq at its beginning, the program at its end. So
a thread goes to each processor in turn: while it runs there none is under way there (a softirq runs to its end before
the task it interrupts), and when the program's count is the same before and after the kernel's was read, the two
belong together and their difference is exact. Where that cannot be had it is a range, and the least is said.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.kernel.ring import PerCpu

PROC: Final = Path("/proc/softirqs")
REALTIME: Final = Path("/sys/kernel/realtime")
VECTORS: Final = {"TIMER": 1, "NET_TX": 2, "NET_RX": 3}
"""Those in which TCP's work is done, with their numbers in include/linux/interrupt.h."""
_TRIES: Final = 20
_PATIENCE: Final = 2.0
"""Seconds that a processor may keep the thread waiting, all of them together."""
_WRAP: Final = 1 << 32
"""The kernel's counters are of 32 bits."""

Counts = dict[tuple[str, int], int]
"""By vector and processor."""


class Range(NamedTuple):
    """Softirqs that the kernel has counted and the probe has not, from some beginning: least and most, modulo 2^32."""

    least: int
    most: int


Ranges = dict[tuple[str, int], Range]


def counted(text: str) -> Counts:
    """What /proc/softirqs says of our vectors."""
    header, *rows = text.splitlines()
    processors = [int(word.removeprefix("CPU")) for word in header.split()]
    found: Counts = {}
    for row in rows:
        name, _, numbers = row.partition(":")
        if name.strip() in VECTORS:
            found |= {(name.strip(), cpu): int(n) for cpu, n in zip(processors, numbers.split(), strict=True)}
    return found


def grown(before: Mapping[tuple[str, int], Range], after: Mapping[tuple[str, int], Range]) -> dict[str, int]:
    """How many went unseen between two readings, at least, by vector; only vectors of which any did."""
    found: dict[str, int] = {}
    for (vector, cpu), first in before.items():
        last = after.get((vector, cpu))
        if last is None:
            continue
        more = (last.least - first.most) % _WRAP
        if 0 < more < _WRAP // 2:
            found[vector] = found.get(vector, 0) + more
    return found


class Softirqs:
    """Compares the two counts from `begin` to `end`; `seen` are the programs', shape (CPUs, 4 or more)."""

    def __init__(self, seen: Callable[[], NDArray[np.uint64]], kernels: Callable[[], str] = PROC.read_text) -> None:
        self._seen, self._kernels = seen, kernels
        self._first: Ranges = {}
        self._thread: threading.Thread | None = None

    @classmethod
    def of_map(cls, descriptor: int, value_size: int) -> Softirqs:
        """Of the programs' map `cpu_here` (text/common.c), whose values of so many bytes begin with the counts."""
        words = PerCpu(descriptor, value_size)
        return cls(words.read)

    def begin(self) -> None:
        """The first reading, in a thread of its own: nobody need wait for it."""
        if REALTIME.exists():  # PREEMPT_RT: softirqs are interrupted by tasks, so the counts never belong together
            return
        self._thread = threading.Thread(target=self._read_into, args=(self._first,), name="synfin-softirqs")
        self._thread.daemon = True
        self._thread.start()

    def end(self) -> dict[str, int]:
        """The last reading: how many softirqs no probe has seen, at least, by vector. The map must still be there."""
        if self._thread is None:
            return {}
        self._thread.join(_PATIENCE)
        last: Ranges = {}
        thread = threading.Thread(target=self._read_into, args=(last,), name="synfin-softirqs", daemon=True)
        thread.start()
        thread.join(_PATIENCE)
        return grown(dict(self._first), dict(last))

    def _read_into(self, found: Ranges) -> None:
        with contextlib.suppress(OSError, ValueError):
            for cpu in sorted(os.sched_getaffinity(0)):
                os.sched_setaffinity(0, {cpu})  # of this thread only
                found.update(self._read(cpu))

    def _read(self, cpu: int) -> Ranges:
        ranges: Ranges = {}
        for _ in range(_TRIES):
            before, kernels, after = self._seen(), counted(self._kernels()), self._seen()
            for vector, slot in VECTORS.items():
                there = kernels[vector, cpu]
                now = Range((there - int(after[cpu, slot])) % _WRAP, (there - int(before[cpu, slot])) % _WRAP)
                known = ranges.get((vector, cpu))
                if known is None or now.least == now.most or known.least != known.most:
                    ranges[vector, cpu] = now
            if all(least == most for least, most in ranges.values()):
                break
        return ranges
