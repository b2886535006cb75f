"""Finding record boundaries: the only part of reading that must look at records one after the other.

A pcap record and a pcapng block both begin with their own length, so the position of each follows from the one before.
These loops find positions and nothing else; every field is then fetched for many records at once. They are plain Python
over integers so that numba can compile the same source for large files (compiled.py); therefore no calls into the
standard library, no exceptions, and octets that are indexed one at a time.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Octets = bytes | bytearray | memoryview
"""Bytes whose items are Python integers (a numpy array's would overflow when shifted)."""

FULL: Final = 0
"""The output array is full; call again."""
MORE: Final = 1
"""The next record is not wholly in the buffer."""
SECTION: Final = 2
"""A Section Header Block begins here."""
INTERFACE: Final = 3
"""An Interface Description Block begins here."""
TOO_LONG: Final = 4
"""The next record claims more bytes than allowed."""
BAD_LENGTH: Final = 5
"""The next block's length is less than any block's, or no multiple of 4."""
BAD_TRAILER: Final = 6
"""The block's two lengths differ."""

SHB: Final = 0x0A0D0D0A
IDB: Final = 1
PB: Final = 2
SPB: Final = 3
NRB: Final = 4
ISB: Final = 5
EPB: Final = 6
JOURNAL: Final = 9
DSB: Final = 10
"""pcapng block types (draft-ietf-opsawg-pcapng section 11.1); JOURNAL is the systemd Journal Export Block."""


def u32(buf: Octets, at: int, little: bool) -> int:
    """The 32-bit number at ``at``."""
    if little:
        return buf[at] + buf[at + 1] * 0x100 + buf[at + 2] * 0x1_0000 + buf[at + 3] * 0x100_0000
    return buf[at] * 0x100_0000 + buf[at + 1] * 0x1_0000 + buf[at + 2] * 0x100 + buf[at + 3]


def walk_pcap(
    buf: Octets, at: int, end: int, header: int, little: bool, limit: int, found: NDArray[np.int64]
) -> tuple[int, int, int]:
    """Record positions from ``at``: (how many were found, where the next begins, why it stopped).

    ``header`` is the size of a record header; a record of more than ``limit`` bytes stops the walk.
    """
    count = 0
    room = len(found)
    while count < room:
        if at + header > end:
            return count, at, MORE
        size = u32(buf, at + 8, little)
        if size > limit:
            return count, at, TOO_LONG
        after = at + header + size
        if after > end:
            return count, at, MORE
        found[count] = at
        count += 1
        at = after
    return count, at, FULL


def walk_pcapng(
    buf: Octets, at: int, end: int, little: bool, limit: int, found: NDArray[np.int64], kinds: NDArray[np.int64]
) -> tuple[int, int, int]:
    """Block positions and types from ``at``, up to the next block that changes what later ones mean.

    (how many were found, where the next begins, why it stopped), as ``walk_pcap``.
    """
    count = 0
    room = len(found)
    while count < room:
        if at + 8 > end:
            return count, at, MORE
        kind = u32(buf, at, little)
        if kind == SHB:
            return count, at, SECTION
        if kind == IDB:
            return count, at, INTERFACE
        size = u32(buf, at + 4, little)
        if size < 12 or size & 3:
            return count, at, BAD_LENGTH
        if size > limit:
            return count, at, TOO_LONG
        after = at + size
        if after > end:
            return count, at, MORE
        if u32(buf, after - 4, little) != size:
            return count, at, BAD_TRAILER
        found[count] = at
        kinds[count] = kind
        count += 1
        at = after
    return count, at, FULL


KERNELS: Final = ("u32", "walk_pcap", "walk_pcapng")
"""Functions numba may compile, each after those it calls."""
