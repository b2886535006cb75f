"""One TCP segment as a row of numbers: what every packet source produces and the analysis engine reads.

A capture file, an AF_PACKET socket and a kernel probe see the same thing, a run of header bytes. Decoding turns each
segment once into one fixed-size row, so that all later work (stream numbers, Wireshark-class analysis, state inference)
runs over columns and never touches bytes again. IPv4 addresses are kept v4-mapped (``::ffff:a.b.c.d``, RFC 4291 section
2.5.5.2) as two big-endian halves, so that one key serves both families and a dual-stack socket meets its own packets.
"""

from __future__ import annotations

from typing import Final

import numpy as np

MAX_SACK_BLOCKS: Final = 4
"""RFC 2018 section 3: 40 bytes of options hold at most four blocks (three beside a timestamp)."""

FIN: Final = 0x001
SYN: Final = 0x002
RST: Final = 0x004
PSH: Final = 0x008
ACK: Final = 0x010
URG: Final = 0x020
ECE: Final = 0x040
CWR: Final = 0x080
AE: Final = 0x100
"""RFC 9293 section 3.1 control bits, with AE (RFC 9768, once NS) as Wireshark shows it."""

V4_MAPPED: Final = 0x0000_FFFF_0000_0000
"""Low half of a v4-mapped IPv6 address before the IPv4 address is or-ed in; the high half is 0."""

SEGMENT: Final = np.dtype(
    [
        ("time", "i8"),  # ns since the Unix epoch, as the capture point stamped it
        ("frame", "u4"),  # 1-based number of the packet in its file (counts non-TCP packets too)
        ("caplen", "u4"),  # bytes captured of the frame
        ("offset", "u8"),  # where the frame's bytes begin in the (decompressed) file; 0 where there is no file
        ("src_hi", "u8"),
        ("src_lo", "u8"),
        ("dst_hi", "u8"),
        ("dst_lo", "u8"),
        ("sport", "u2"),
        ("dport", "u2"),
        ("seq", "u4"),
        ("ack", "u4"),
        ("length", "u4"),  # payload bytes by the IP header, never by caplen
        ("tsval", "u4"),  # RFC 7323 timestamps; meaningful where has_ts
        ("tsecr", "u4"),
        ("sack_left", "u4", (MAX_SACK_BLOCKS,)),
        ("sack_right", "u4", (MAX_SACK_BLOCKS,)),
        ("flags", "u2"),  # the control bits above
        ("window", "u2"),  # as in the header, unscaled
        ("urgent", "u2"),
        ("mss", "u2"),  # 0 where the option is absent
        ("ip_id", "u2"),  # 0 for IPv6
        ("wscale", "i1"),  # shift count; -1 where the option is absent
        ("sack_permitted", "u1"),
        ("n_sack", "u1"),
        ("has_ts", "u1"),
        ("family", "u1"),  # 4 or 6
        ("ttl", "u1"),
        ("header", "u1"),  # TCP header length in bytes
        ("partial", "u1"),  # 1 where the snapshot length cut the TCP options: options above may be missing
    ],
    align=True,
)
"""numpy dtype of one decoded TCP segment, in capture order."""
