"""The kernel's own count of connections turned away: ListenOverflows and ListenDrops of a network namespace.

A SYN or a last ACK that finds the accept queue full is counted in TcpExt of /proc/net/netstat, whoever watches or does
not (ListenDrops counts every reason for which a listener dropped one). The counters name no listener and no client, but
they are exact, so they confirm what the probes saw, or tell that something was not seen. They are read twice a
second; an event is made when they have moved.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tracer.batch import Batch, BatchBuilder
from tracer.kinds import Evidence, Source
from tracer.session import Losses

PERIOD: Final = 500_000_000
"""ns between two readings."""


def read(path: Path) -> tuple[int, int]:
    """(ListenOverflows, ListenDrops). Raises OSError, KeyError where the kernel does not count them."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.read(file, 1 << 20)  # seq_read() gives as much of a record as there is room for: all of it
    finally:
        os.close(file)
    names, values = [line.split() for line in text.splitlines() if line.startswith(b"TcpExt:")][:2]
    told = dict(zip(names, values, strict=True))
    return int(told[b"ListenOverflows"]), int(told[b"ListenDrops"])


class ListenCounters:
    """The counters of some networks as a source; only what happens from now on."""

    rests = True

    def __init__(self, files: Mapping[int, Path], clock: Callable[[], int] = time.time_ns) -> None:
        """`files`: inode of each network namespace -> a netstat file that shows it. What cannot be read is left out."""
        self._files = dict(files)
        self._clock = clock
        self._builder = BatchBuilder(Source.TABLE, Evidence.SAMPLED)
        self._before: dict[int, tuple[int, int]] = {}
        self._due = 0
        self._written = 0
        self._read()

    def _read(self) -> None:
        now = self._clock()
        self._due = now + PERIOD
        for inode, path in list(self._files.items()):
            try:
                overflows, drops = read(path)
            except (OSError, KeyError, ValueError):
                del self._files[inode]  # the process through which it was looked at has ended
                continue
            before = self._before.get(inode)
            self._before[inode] = overflows, drops
            if before is not None and before != (overflows, drops):
                fields = {
                    "netns": inode, "overflows": overflows - before[0], "drops": drops - before[1],
                    "all_overflows": overflows, "all_drops": drops,
                }  # fmt: skip
                with contextlib.suppress(OverflowError):  # a counter that went backwards says nothing
                    self._builder.add("counters:listen", now, fields)

    def drain(self) -> Batch:
        """What has changed; reads when a reading is due."""
        if self._clock() >= self._due:
            self._read()
        batch = self._builder.take()
        self._written += len(batch)
        return batch

    def losses(self) -> Losses:
        """What was delivered."""
        return Losses(self._written, 0)

    def stop(self) -> None:
        """Read a last time."""
        self._read()
