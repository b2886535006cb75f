"""A sliding view of a stream: one buffer that is filled again and again.

Records are looked for in the buffer; what is left of the last, incomplete one moves to the front before the next read.
The buffer grows only when a single record is larger than it, and never beyond a limit.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tracer.capture.columns import SLACK
from tracer.capture.source import ByteSource

BLOCK: Final = 1 << 20
"""Bytes of the buffer: large enough that work per read is small, small enough to stay in a processor's own cache."""
FIRST: Final = 1 << 16
"""Bytes read at first: somebody may be waiting to see something, and how large packets are is learnt soon."""
LARGEST: Final = 16 << 20
"""Bytes of the largest record taken, which is what Wireshark takes too."""


class Window:
    """The bytes of a stream from ``base`` on that are in memory: ``buf[at:end]`` are yet to be consumed."""

    def __init__(self, source: ByteSource, size: int = BLOCK) -> None:
        self._source = source
        self.base = 0
        """Stream offset of ``buf[0]``."""
        self.at = 0
        self.end = 0
        self._allocate(size)

    def _allocate(self, size: int) -> None:
        self.buf = bytearray(size + SLACK)
        self.octets: NDArray[np.uint8] = np.frombuffer(self.buf, np.uint8)
        """``buf`` as an array, the same memory."""
        self._room = size

    @property
    def offset(self) -> int:
        """Stream offset of the next byte to be consumed."""
        return self.base + self.at

    def fill(self) -> bool:
        """Read more behind what is there; False at the end of the stream, or when nothing more may be held."""
        if self.at:
            left = self.buf[self.at : self.end]
            self.buf[: len(left)] = left
            self.base += self.at
            self.at, self.end = 0, len(left)
        if self.end == self._room:
            if self._room >= LARGEST:
                return False
            old = self.buf
            self._allocate(min(self._room * 4, LARGEST))
            self.buf[: self.end] = old[: self.end]
        room = min(self._room, FIRST) if self.base + self.end < FIRST else self._room
        with memoryview(self.buf) as view:
            got = self._source.readinto(view[self.end : room])
        self.end += got
        return got > 0

    def need(self, count: int) -> bool:
        """Have at least ``count`` bytes to consume; False if the stream ends before, or that is too many."""
        while self.end - self.at < count:
            if not self.fill():
                return False
        return True

    def skip(self, count: int) -> bool:
        """Consume ``count`` bytes, however many; False if the stream ends before."""
        while self.end - self.at < count:
            count -= self.end - self.at
            self.at = self.end
            if not self.fill():
                return False
        self.at += count
        return True
