"""A TCP segment in its Ethernet frame, read by hand: as much of it as a relay must know to decide.

Only headers are read, in place, since a relay does this for every packet that passes (some ten microseconds each):
Ethernet, IPv4 or IPv6 without extension headers, which is all that the actors' kernels send here, and TCP's fixed
twenty bytes (RFC 9293 section 3.1).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

ETHERTYPE_IPV4: Final = 0x0800
ETHERTYPE_IPV6: Final = 0x86DD
IPPROTO_TCP: Final = 6
LINK: Final = 14
"""Bytes of an Ethernet header."""


@dataclass(frozen=True)
class Segment:
    """The headers of one TCP segment."""

    family: int
    """4 or 6."""
    saddr: bytes
    daddr: bytes
    sport: int
    dport: int
    seq: int
    ack: int
    flags: int
    window: int
    length: int
    """Payload bytes."""
    payload_at: int
    """Where the payload begins in the frame."""


def parse(frame: bytes) -> Segment | None:
    """The TCP segment in a frame; None when there is none (another protocol, a fragment, cut short)."""
    if len(frame) < LINK + 40:
        return None
    ethertype = frame[12] << 8 | frame[13]
    if ethertype == ETHERTYPE_IPV4:
        at = LINK + (frame[LINK] & 15) * 4
        total = frame[LINK + 2] << 8 | frame[LINK + 3]
        if frame[LINK + 9] != IPPROTO_TCP or frame[LINK + 6] & 0x3F or frame[LINK + 7]:
            return None
        family, saddr, daddr, end = 4, frame[26:30], frame[30:34], LINK + total
    elif ethertype == ETHERTYPE_IPV6 and frame[LINK + 6] == IPPROTO_TCP:
        at = LINK + 40
        family, saddr, daddr, end = 6, frame[22:38], frame[38:54], at + (frame[LINK + 4] << 8 | frame[LINK + 5])
    else:
        return None
    if len(frame) < at + 20:
        return None
    sport, dport, seq, ack, offset, flags, window = struct.unpack_from("!HHIIBBH", frame, at)
    payload = at + (offset >> 4) * 4
    return Segment(family, saddr, daddr, sport, dport, seq, ack, flags, window, max(end - payload, 0), payload)
