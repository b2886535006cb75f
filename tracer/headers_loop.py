"""``tracer.headers.decode`` row by row: a plain function over arrays, made for numba to compile, for whoever has many.

The same rules, in the order in which a header is read; a test compares the two on real and on damaged headers.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.events import NUMBER, PAYLOAD
from tracer.kinds import MAX_HEADER_BYTES
from tracer.segments import MAX_SACK_BLOCKS

Bytes = NDArray[np.uint8]

_ROW: Final = PAYLOAD[NUMBER["packet:sent"]]
SIZE: Final = _ROW.itemsize
assert all(PAYLOAD[NUMBER[f"packet:{name}"]] == _ROW for name in ("received", "captured"))


def _at(name: str) -> int:
    assert _ROW.fields is not None
    return int(_ROW.fields[name][1])


_RAW, _CAPLEN, _WIRE_LEN, _FAMILY, _TTL, _IP_ID = map(_at, ("raw", "caplen", "wire_len", "family", "ttl", "ip_id"))
_SADDR, _DADDR, _SPORT, _DPORT, _SEQ, _ACK = map(_at, ("saddr", "daddr", "sport", "dport", "seq", "ack"))
_FLAGS, _HEADER, _WINDOW, _URGENT, _LENGTH = map(_at, ("flags", "header", "window", "urgent", "length"))
_PARTIAL, _MSS, _WSCALE, _PERMITTED = map(_at, ("partial", "mss", "wscale", "sack_permitted"))
_HAS_TS, _TSVAL, _TSECR, _N_SACK = map(_at, ("has_ts", "tsval", "tsecr", "n_sack"))
_SACK_LEFT, _SACK_RIGHT = map(_at, ("sack_left", "sack_right"))


def turned(b: Bytes, to: int, at: int, size: int) -> None:
    """A number in network order, copied into one in this machine's: little-endian, as the compiled form is for."""
    for i in range(size):
        b[to + i] = b[at + size - 1 - i]


def address(b: Bytes, to: int, at: int, four: bool) -> None:
    """An address as two host-order halves, IPv4 mapped."""
    if four:
        turned(b, to + 8, at, 4)
        b[to + 12], b[to + 13] = np.uint8(255), np.uint8(255)
    else:
        turned(b, to, at, 8)
        turned(b, to + 8, at + 8, 8)


def options(b: Bytes, row: int, at: int, end: int) -> None:
    """RFC 9293 section 3.1; one that is not whole ends the walk."""
    while at < end:
        kind: Any = np.int64(b[at])
        if kind == 0:
            return
        if kind == 1:
            at += 1
            continue
        if at + 1 >= end or b[at + 1] < 2 or at + b[at + 1] > end:
            return
        length: Any = np.int64(b[at + 1])
        if kind == 2 and length == 4:
            turned(b, row + _MSS, at + 2, 2)
        elif kind == 3 and length == 3:
            b[row + _WSCALE] = min(b[at + 2], np.uint8(127))
        elif kind == 4:
            b[row + _PERMITTED] = np.uint8(1)
        elif kind == 8 and length == 10:
            b[row + _HAS_TS] = np.uint8(1)
            turned(b, row + _TSVAL, at + 2, 4)
            turned(b, row + _TSECR, at + 6, 4)
        elif kind == 5:
            blocks = min((length - 2) >> 3, MAX_SACK_BLOCKS)
            b[row + _N_SACK] = np.uint8(blocks)
            for i in range(blocks):
                turned(b, row + _SACK_LEFT + 4 * i, at + 2 + 8 * i, 4)
                turned(b, row + _SACK_RIGHT + 4 * i, at + 6 + 8 * i, 4)
        at += length


def decode_rows(b: Bytes, first: int, count: int) -> None:
    """Fill the derived fields of ``count`` rows, zero so far, from the byte ``first`` on."""
    for i in range(count):
        row = first + i * SIZE
        b[row + _WSCALE] = np.uint8(255)
        raw = row + _RAW
        caplen: Any = np.int64(b[row + _CAPLEN]) | np.int64(b[row + _CAPLEN + 1]) << 8
        for j in range(caplen, MAX_HEADER_BYTES):
            b[raw + j] = np.uint8(0)
        four = b[raw] >> 4 == 4
        ip: Any = np.int64(b[raw] & 15) * 4 if four else 40
        if not (four or b[raw] >> 4 == 6) or b[raw + (9 if four else 6)] != 6 or ip < 20:
            continue
        if caplen < ip + 20 or ip + 20 > MAX_HEADER_BYTES:
            continue
        b[row + _FAMILY] = b[raw] >> 4
        b[row + _TTL] = b[raw + (8 if four else 7)]
        if four:
            turned(b, row + _IP_ID, raw + 4, 2)
        address(b, row + _SADDR, raw + (12 if four else 8), four)
        address(b, row + _DADDR, raw + (16 if four else 24), four)
        at = raw + ip
        turned(b, row + _SPORT, at, 2)
        turned(b, row + _DPORT, at + 2, 2)
        turned(b, row + _SEQ, at + 4, 4)
        turned(b, row + _ACK, at + 8, 4)
        turned(b, row + _WINDOW, at + 14, 2)
        turned(b, row + _URGENT, at + 18, 2)
        header: Any = np.int64(b[at + 12] >> 4) * 4
        b[row + _HEADER] = np.uint8(header)
        b[row + _FLAGS], b[row + _FLAGS + 1] = b[at + 13], b[at + 12] & np.uint8(1)
        wire: Any = 0
        for j in range(4):
            wire |= np.int64(b[row + _WIRE_LEN + j]) << (8 * j)
        length: Any = max(wire - ip - header, 0)
        for j in range(4):
            b[row + _LENGTH + j] = np.uint8((length >> (8 * j)) & 255)
        b[row + _PARTIAL] = np.uint8(ip + header > caplen)
        options(b, row, at + 20, raw + min(ip + header, caplen, MAX_HEADER_BYTES))


FUNCTIONS: Final = ("turned", "address", "options", "decode_rows")
"""Each after those it calls."""
