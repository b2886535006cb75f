"""What a pcap file says about itself: 24 bytes in front of its records (draft-ietf-opsawg-pcap).

The first four tell three things at once: byte order, whether a time stamp's fraction counts micro- or nanoseconds, and
whether records have the longer headers of Kuznetzov's patch.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tracer.capture.pcapng import Interface, Order, Section

HEADER: Final = 24
"""Bytes of it."""

LONGEST_RECORD: Final = 262_144
"""libpcap's MAXIMUM_SNAPLEN: a record of more octets is taken for damage, unless the header announces it."""

MAGIC: Final[dict[bytes, tuple[Order, int, int]]] = {
    b"\xd4\xc3\xb2\xa1": ("little", 6, 16),
    b"\xa1\xb2\xc3\xd4": ("big", 6, 16),
    b"\x4d\x3c\xb2\xa1": ("little", 9, 16),
    b"\xa1\xb2\x3c\x4d": ("big", 9, 16),
    b"\x34\xcd\xb2\xa1": ("little", 6, 24),
    b"\xa1\xb2\xcd\x34": ("big", 6, 24),
}
"""First bytes of a file: byte order, decimal places of a second, size of a record header."""


class Header(NamedTuple):
    """What the header says, in the words of pcapng: a pcap file is one section with one interface."""

    section: Section
    interface: Interface
    record: int
    """Bytes of a record's header."""
    limit: int
    """Captured bytes of a record at most."""


def read_header(header: bytes, largest: int) -> Header:
    """The header in these ``HEADER`` bytes, which begin with a MAGIC; no record is longer than ``largest``."""
    order, resolution, record = MAGIC[header[:4]]
    major, minor = (int.from_bytes(header[i : i + 2], order) for i in (4, 6))
    snaplen, link = (int.from_bytes(header[i : i + 4], order) for i in (16, 20))
    interface = Interface(0, 0, link & 0x03FF_FFFF, snaplen, resolution)  # above that are bits about a frame's checksum
    limit = max(LONGEST_RECORD, snaplen if snaplen <= largest - record else 0)
    return Header(Section(0, order, (major, minor)), interface, record, limit)
