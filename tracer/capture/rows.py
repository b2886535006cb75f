"""From a located TCP header to a row of numbers: the fields of ``tracer.segments.SEGMENT``.

The same plain source, one packet after the other, serves numba (large files) and, as the measure that numpy's column
form (columns.py) is tested against, small ones. Options are read here in both cases: they are the part of a segment
that has no fixed shape (RFC 9293 section 3.2).
"""

from __future__ import annotations

from typing import Any, Final

from tracer.capture.walk import Octets
from tracer.segments import MAX_SACK_BLOCKS, V4_MAPPED


def b16(buf: Octets, at: int) -> int:
    """The big-endian 16-bit number at ``at``."""
    return buf[at] * 0x100 + buf[at + 1]


def b32(buf: Octets, at: int) -> int:
    """The big-endian 32-bit number at ``at``."""
    return buf[at] * 0x100_0000 + buf[at + 1] * 0x1_0000 + buf[at + 2] * 0x100 + buf[at + 3]


def b64(buf: Octets, at: int) -> int:
    """The big-endian 64-bit number at ``at``."""
    return b32(buf, at) << 32 | b32(buf, at + 4)


def read_options(buf: Octets, at: int, stop: int, row: Any) -> None:
    """Read the options at ``at`` to ``stop`` into ``row``; a malformed option ends them, as in tcp_parse_options."""
    blocks = 0
    while at < stop:
        kind = buf[at]
        if kind == 0:
            break
        if kind == 1:
            at += 1
            continue
        if at + 2 > stop:
            break
        size = buf[at + 1]
        if size < 2 or at + size > stop:
            break
        if kind == 2 and size == 4:
            row["mss"] = b16(buf, at + 2)
        elif kind == 3 and size == 3:
            row["wscale"] = buf[at + 2] if buf[at + 2] < 127 else 127
        elif kind == 4 and size == 2:
            row["sack_permitted"] = 1
        elif kind == 5 and size >= 10 and (size - 2) % 8 == 0:
            block = at + 2
            while block < at + size and blocks < MAX_SACK_BLOCKS:
                row["sack_left"][blocks] = b32(buf, block)
                row["sack_right"][blocks] = b32(buf, block + 4)
                blocks += 1
                block += 8
            row["n_sack"] = blocks
        elif kind == 8 and size == 10:
            row["tsval"] = b32(buf, at + 2)
            row["tsecr"] = b32(buf, at + 6)
            row["has_ts"] = 1
        at += size


def clear_options(row: Any) -> None:
    """Set the option fields of ``row`` to what they are where no option is."""
    row["mss"] = 0
    row["wscale"] = -1
    row["sack_permitted"] = 0
    row["n_sack"] = 0
    row["has_ts"] = 0
    row["tsval"] = 0
    row["tsecr"] = 0
    for k in range(MAX_SACK_BLOCKS):
        row["sack_left"][k] = 0
        row["sack_right"][k] = 0


def extract(buf: Octets, ip: int, tcp: int, stop: int, cut: int, row: Any) -> None:
    """Fill ``row`` but for time, frame, caplen and offset.

    Where the packet's IP header, TCP header, payload end and end of captured bytes are in ``buf``.
    """
    at = ip
    if buf[at] >> 4 == 4:
        row["family"] = 4
        row["src_hi"] = 0
        row["src_lo"] = b32(buf, at + 12) | V4_MAPPED
        row["dst_hi"] = 0
        row["dst_lo"] = b32(buf, at + 16) | V4_MAPPED
        row["ip_id"] = b16(buf, at + 4)
        row["ttl"] = buf[at + 8]
    else:
        row["family"] = 6
        row["src_hi"] = b64(buf, at + 8)
        row["src_lo"] = b64(buf, at + 16)
        row["dst_hi"] = b64(buf, at + 24)
        row["dst_lo"] = b64(buf, at + 32)
        row["ip_id"] = 0
        row["ttl"] = buf[at + 7]
    at = tcp
    header = (buf[at + 12] >> 4) * 4
    row["sport"] = b16(buf, at)
    row["dport"] = b16(buf, at + 2)
    row["seq"] = b32(buf, at + 4)
    row["ack"] = b32(buf, at + 8)
    row["flags"] = b16(buf, at + 12) & 0x1FF
    row["window"] = b16(buf, at + 14)
    row["urgent"] = b16(buf, at + 18)
    row["header"] = header
    row["length"] = stop - at - header
    clear_options(row)
    row["partial"] = 0
    options_end = at + header
    if options_end > cut:
        options_end = cut
        row["partial"] = 1
    if options_end > at + 20:
        read_options(buf, at + 20, options_end, row)


KERNELS: Final = ("b16", "b32", "b64", "read_options", "clear_options", "extract")
"""Functions numba may compile, each after those it calls."""
