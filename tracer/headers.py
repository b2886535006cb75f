"""From header bytes to numbers: what a packet event's ``raw`` field says.

Probes, AF_PACKET and recordings all keep the same thing, the bytes from the IP header on. Here they become the derived
fields of the packet kinds, for a whole batch at once: every row's header starts where its own IP header length says, so
a field of all rows is one gather. Options (RFC 9293 section 3.1, RFC 7323, RFC 2018) are walked in step: each pass
reads the next option of every row that still has one.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.kinds import MAX_HEADER_BYTES
from tracer.segments import MAX_SACK_BLOCKS, V4_MAPPED

_TCP: Final = 6
_MAX_OPTIONS: Final = 40
"""Bytes of options a TCP header can hold; an option takes at least one."""
_LONGEST: Final = 60
"""Bytes of the longest TCP header: its offset has four bits."""
_TIMESTAMPS_ALONE: Final = 0x0101_080A
"""How the options of nearly every segment begin: two to fill up, then timestamps (RFC 7323 appendix A)."""
_EOL, _NOP, _MSS, _WSCALE, _SACK_PERMITTED, _SACK, _TIMESTAMPS = 0, 1, 2, 3, 4, 5, 8

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]


def decode(rows: NDArray[np.void]) -> NDArray[np.bool_]:
    """Fill the derived fields of ``rows`` (dtype of a packet kind) from raw, caplen and wire_len, in place.

    What is behind caplen bytes in raw becomes zeros: a probe leaves there what was there. Returns which rows are a TCP
    segment whose fixed header is there; the others keep zeros. ``frame``, ``offset`` and ``analysis`` are left alone.
    IPv6 extension headers are not walked: a probe finds TCP right behind the IP header or leaves the packet out.
    """
    raw, caplen = rows["raw"], rows["caplen"].astype(np.int64)
    raw[np.arange(MAX_HEADER_BYTES) >= caplen[:, None]] = 0
    version = raw[:, 0] >> 4
    four, six = version == 4, version == 6
    ip_header = np.where(four, (raw[:, 0] & 15).astype(np.int64) * 4, 40)
    protocol = np.where(four, raw[:, 9], raw[:, 6])
    good = (four | six) & (protocol == _TCP) & (ip_header >= 20) & (caplen >= ip_header + 20)
    good &= ip_header + 20 <= MAX_HEADER_BYTES
    at = np.where(good, ip_header, 0)
    rows["family"] = np.where(good, version, 0)
    rows["ttl"] = np.where(good, np.where(four, raw[:, 8], raw[:, 7]), 0)
    rows["ip_id"] = np.where(good & four, _number(raw, 4, "u2"), 0)
    for name, v4, v6 in (("saddr", 12, 8), ("daddr", 16, 24)):
        low = _number(raw, v4, "u4") | np.uint64(V4_MAPPED)
        if six.any():
            rows[name][:, 0] = np.where(good & six, _number(raw, v6, "u8"), np.uint64(0))
            low = np.where(four, low, _number(raw, v6 + 8, "u8"))
        rows[name][:, 1] = np.where(good, low, np.uint64(0))
    tcp = _from(raw, at)
    for name, offset in (("sport", 0), ("dport", 2), ("window", 14), ("urgent", 18)):
        rows[name] = np.where(good, _number(tcp, offset, "u2"), 0)
    for name, offset in (("seq", 4), ("ack", 8)):
        rows[name] = np.where(good, _number(tcp, offset, "u4"), 0)
    control = _number(tcp, 12, "u2").astype(np.int64)
    header = (control >> 12) * 4
    rows["flags"] = np.where(good, control & 0x1FF, 0)
    rows["header"] = np.where(good, header, 0)
    rows["length"] = np.where(good, np.maximum(rows["wire_len"].astype(np.int64) - ip_header - header, 0), 0)
    rows["wscale"] = -1
    end = np.minimum(at + header, caplen)
    rows["partial"] = good & (at + header > caplen)
    usual = good & (header == 32) & (at + 32 <= caplen) & (_number(tcp, 20, "u4") == _TIMESTAMPS_ALONE)
    for name, value in (("has_ts", 1), ("tsval", _number(tcp, 24, "u4")), ("tsecr", _number(tcp, 28, "u4"))):
        rows[name] = np.where(usual, value, rows[name])
    others = np.flatnonzero(good & ~usual & (end > at + 20))
    if len(others):
        some = rows[others]
        _options(some, raw[others], at[others] + 20, end[others])
        rows[others] = some
    return np.asarray(good, np.bool_)


def _from(raw: Bytes, at: Numbers) -> Bytes:
    """The longest TCP header of each row, from ``at`` on; bytes behind the last are the last."""
    if len(at) and at[0] + _LONGEST <= MAX_HEADER_BYTES and (at == at[0]).all():
        return raw[:, at[0] : at[0] + _LONGEST]
    where = np.minimum(at[:, None] + np.arange(_LONGEST), MAX_HEADER_BYTES - 1)
    return np.take_along_axis(raw, where, 1)


def _number(raw: Bytes, at: int, kind: str) -> NDArray[Any]:
    """The number in network order at the same place of every row."""
    size = int(kind[1:])
    return np.ascontiguousarray(raw[:, at : at + size]).view(f">{kind}")[:, 0].astype(kind)


def _options(rows: NDArray[np.void], raw: Bytes, at: Numbers, end: Numbers) -> None:
    at = at.copy()
    for _ in range(_MAX_OPTIONS):
        alive = at < end
        if not alive.any():
            return
        kind = np.where(alive, _byte(raw, at), _EOL)
        length = np.where(kind == _NOP, 1, _byte(raw, at + 1))
        whole = alive & (kind != _EOL) & (length >= 1 + (kind != _NOP)) & (at + length <= end)
        _set(rows, "mss", whole & (kind == _MSS) & (length == 4), _be16(raw, at + 2))
        _set(rows, "wscale", whole & (kind == _WSCALE) & (length == 3), np.minimum(_byte(raw, at + 2), 127))
        _set(rows, "sack_permitted", whole & (kind == _SACK_PERMITTED), np.ones_like(at))
        stamps = whole & (kind == _TIMESTAMPS) & (length == 10)
        _set(rows, "has_ts", stamps, np.ones_like(at))
        _set(rows, "tsval", stamps, _be32(raw, at + 2))
        _set(rows, "tsecr", stamps, _be32(raw, at + 6))
        sack = whole & (kind == _SACK)
        if sack.any():
            blocks = np.minimum((length - 2) // 8, MAX_SACK_BLOCKS)
            _set(rows, "n_sack", sack, blocks)
            for block in range(MAX_SACK_BLOCKS):
                has = sack & (blocks > block)
                rows["sack_left"][has, block] = _be32(raw, at + 2 + 8 * block)[has]
                rows["sack_right"][has, block] = _be32(raw, at + 6 + 8 * block)[has]
        # An option that is not whole ends the walk for its row, as EOL does.
        at = np.where(whole, at + length, end)


def _set(rows: NDArray[np.void], name: str, where: NDArray[np.bool_], values: Any) -> None:
    column = rows[name]
    column[where] = values[where]


def _byte(raw: Bytes, at: Numbers) -> Numbers:
    inside = np.clip(at, 0, MAX_HEADER_BYTES - 1)
    return np.asarray(raw[np.arange(len(raw)), inside], np.int64)


def _be16(raw: Bytes, at: Numbers) -> Numbers:
    return _byte(raw, at) << 8 | _byte(raw, at + 1)


def _be32(raw: Bytes, at: Numbers) -> Numbers:
    return _be16(raw, at) << 16 | _be16(raw, at + 2)
