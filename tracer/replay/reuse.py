"""Which addresses and ports were in use by connections that have been given up: a memory of fixed size.

A SYN on the addresses and ports of a connection that is over is a reuse of its ports (RFC 9293 section 3.6.1), and is
to be called so even when the rows of that connection have been freed. Of each of its directions a fingerprint and the
initial sequence number stay behind, in a place that the fingerprint tells; whoever comes to the same place later takes
it. So one of which ``n`` directions were given up since is remembered with probability exp(-n / PLACES): 88 % after
PLACES / 16 connections more, 61 % after four times as many. Two directions have the same fingerprint once in 2**50.

``recalled`` and ``remember`` are the functions that differ between plain and compiled (``hashing``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PLACES = 262_144
"""Directions remembered at most: 4 MB as records."""

_LOW = 0xFFFFFFFF
_MIX_A, _MIX_B = 0x61C88647, 0x45D9F3B3


@dataclass(slots=True)
class Closed:
    """One direction of a connection that was given up."""

    mark: int = 0
    """The other half of its fingerprint; 0 where nobody is remembered."""
    base_seq: int = 0
    """Its initial sequence number."""


def mixed(h: int, part: int, factor: int) -> int:
    """``part``, of 64 bits, signed or not, stirred into ``h``, of 32."""
    h = ((h ^ (part & _LOW)) * factor) & 0x7FFFFFFFFFFFFFFF
    h = (h ^ (h >> 29)) & _LOW
    h = ((h ^ ((part >> 32) & _LOW)) * factor) & 0x7FFFFFFFFFFFFFFF
    return (h ^ (h >> 31)) & _LOW


def fingerprint(
    src_hi: int, src_lo: int, sport: int, dst_hi: int, dst_lo: int, dport: int, factor: int
) -> int:  # fmt: skip
    """32 bits of a direction's endpoints."""
    h = mixed(sport << 16 | dport, src_hi, factor)
    return mixed(mixed(mixed(h, src_lo, factor), dst_hi, factor), dst_lo, factor)


def was_closed(
    tables: Any, src_hi: int, src_lo: int, sport: int, dst_hi: int, dst_lo: int, dport: int, seq: int
) -> bool:
    """Whether a SYN with the number ``seq`` uses endpoints again of which another connection was given up."""
    place = fingerprint(src_hi, src_lo, sport, dst_hi, dst_lo, dport, _MIX_A) & (PLACES - 1)
    mark = fingerprint(src_hi, src_lo, sport, dst_hi, dst_lo, dport, _MIX_B) | 1 << 32
    return recalled(tables, place, mark, seq)


def note_closed(
    tables: Any, src_hi: int, src_lo: int, sport: int, dst_hi: int, dst_lo: int, dport: int, base_seq: int
) -> None:
    """One direction of a connection is given up."""
    place = fingerprint(src_hi, src_lo, sport, dst_hi, dst_lo, dport, _MIX_A) & (PLACES - 1)
    mark = fingerprint(src_hi, src_lo, sport, dst_hi, dst_lo, dport, _MIX_B) | 1 << 32
    remember(tables, place, mark, base_seq)


def recalled(tables: Any, place: int, mark: int, seq: int) -> bool:
    """Whether that direction is in its place, with another number."""
    one = tables.closed.get(place)
    return one is not None and one.mark == mark and one.base_seq != seq


def remember(tables: Any, place: int, mark: int, base_seq: int) -> None:
    """Put a direction in its place."""
    tables.closed[place] = Closed(mark, base_seq)
