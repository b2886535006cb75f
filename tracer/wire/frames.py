"""What a seat at the wire hands over: the first bytes of some packets, from the IP header on.

This is the form in which probes and recordings keep packets too, so one decoder (`tracer.headers`) serves all of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracer.kinds import MAX_HEADER_BYTES


@dataclass(frozen=True)
class Frames:
    """Captured packets, in the order in which they came; all columns have the same length."""

    raw: NDArray[np.uint8]
    """Shape (n, MAX_HEADER_BYTES): the packet from its IP header on, then whatever."""
    caplen: NDArray[np.int64]
    """How many bytes of each row are the packet's."""
    wire_len: NDArray[np.int64]
    """Bytes from the IP header to the end of the frame, which may include Ethernet's padding."""
    time: NDArray[np.int64]
    """ns since the Unix epoch."""
    ifindex: NDArray[np.uint32]
    """Interface."""

    def __len__(self) -> int:
        return len(self.time)

    @staticmethod
    def none() -> Frames:
        """No packets."""
        no = np.zeros(0, np.int64)
        return Frames(np.zeros((0, MAX_HEADER_BYTES), np.uint8), no, no, no, no.astype(np.uint32))


class Seat(ABC):
    """A place from which packets are seen."""

    @abstractmethod
    def read(self) -> Frames:
        """All packets that have come since the last call; never blocks."""

    @abstractmethod
    def dropped(self) -> int:
        """Packets that were lost for want of room, since the beginning; also asked after `close`."""

    @abstractmethod
    def close(self) -> None:
        """Let go of everything."""
