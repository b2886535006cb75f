"""What reading a capture hands out.

Segments come as rows of numbers, many at a time. Of other blocks only journal entries are handed out: a recording of
our own keeps its events in them, and whoever reads recordings takes them from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from tracer.capture.pcapng import Interface


@dataclass(frozen=True, slots=True)
class Journal:
    """A systemd Journal Export Block."""

    packets: int
    """Packets of the file before it."""
    offset: int
    """Where the block begins in the unpacked stream."""
    data: bytes
    """The entry in the journal export format, without the block's padding of zero octets."""


@dataclass(frozen=True, slots=True)
class Block:
    """What one step of reading gave."""

    segments: NDArray[Any]
    """Rows of SEGMENT, the caller's to keep."""
    journals: list[Journal]
    packets: int
    """Packets of the file read so far, this block's included; other than TCP too."""
    done: int
    """Bytes of the file (packed, if it is) read so far."""
    total: int | None
    """Bytes of the file; None for a pipe."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One packet's captured bytes."""

    data: bytes
    link_type: int
    """LINKTYPE_ number."""
    interface: Interface
