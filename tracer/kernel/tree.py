"""The followed processes as the programs know them (text/tree.c): a byte for each number a process can have."""

from __future__ import annotations

import mmap
from typing import Final

import numpy as np

FOLLOW: Final = 1
"""Its calls, threads and sockets are recorded."""
INHERIT: Final = 2
"""Its children are followed."""
_NUMBERS: Final = 1 << 22
"""PID_MAX_LIMIT of 64-bit kernels (include/linux/threads.h)."""


class Tree:
    """A view of the map. Any thread may use it; after `close` nothing is followed."""

    def __init__(self, fd: int) -> None:
        """``fd``: of the map, which belongs to whoever made it."""
        self.fd = fd
        self._how: mmap.mmap | None = mmap.mmap(fd, _NUMBERS, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)

    def put(self, pid: int, how: int) -> None:
        """From now on; 0: no longer. One store, which no program can spoil."""
        if self._how is not None and 0 <= pid < _NUMBERS:
            self._how[pid] = how

    def followed(self) -> set[int]:
        """The processes that are followed or whose children will be."""
        how = self._how
        return set() if how is None else set(np.flatnonzero(np.frombuffer(how[:], np.uint8)).tolist())

    def close(self) -> None:
        """Unmap. Twice is allowed."""
        how, self._how = self._how, None
        if how is not None:
            how.close()
