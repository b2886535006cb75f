"""The numpy form of decoding, for captures too small to be worth a compiler.

A structured dtype is laid over the buffer at every byte position (a window), so that one fancy index fetches a whole
header of every packet at once, however unaligned. Only the common shape is recognised here: an untagged link header,
IPv4 or IPv6 without extension headers, TCP wholly within the captured bytes. All other frames go through
``layers.locate`` one by one; the answers are the same, which a test holds both to.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.capture.outcomes import TCP
from tracer.capture.rows import read_options
from tracer.capture.walk import Octets
from tracer.segments import V4_MAPPED

Ints = NDArray[np.int64]

SLACK: Final = 64
"""Bytes a buffer must have behind its contents, so that a window may look past the last header."""

_IP4: Final = np.dtype(
    [
        ("version", "u1"),
        ("tos", "u1"),
        ("total", ">u2"),
        ("id", ">u2"),
        ("fragment", ">u2"),
        ("ttl", "u1"),
        ("proto", "u1"),
        ("sum", ">u2"),
        ("src", ">u4"),
        ("dst", ">u4"),
    ]
)
_IP6: Final = np.dtype(
    [
        ("flow", ">u4"),
        ("total", ">u2"),
        ("next", "u1"),
        ("hops", "u1"),
        ("src_hi", ">u8"),
        ("src_lo", ">u8"),
        ("dst_hi", ">u8"),
        ("dst_lo", ">u8"),
    ]
)
_TCP: Final = np.dtype(
    [
        ("sport", ">u2"),
        ("dport", ">u2"),
        ("seq", ">u4"),
        ("ack", ">u4"),
        ("flags", ">u2"),
        ("window", ">u2"),
        ("sum", ">u2"),
        ("urgent", ">u2"),
    ]
)
_STAMP: Final = np.dtype([("head", ">u4"), ("tsval", ">u4"), ("tsecr", ">u4")])
_NOP_NOP_STAMP: Final = 0x0101080A
"""RFC 7323 appendix A: the layout nearly every segment uses."""

_KIND_AT: Final = {1: (14, 12), 113: (16, 14), 276: (20, 0), 104: (4, 2), 242: (44, 40)}
"""Link type: header bytes, where in it the EtherType is."""
_RAW: Final = (101, 12, 14, 228, 229)


def at(octets: NDArray[np.uint8], where: Ints, dtype: Any) -> NDArray[Any]:
    """The records of ``dtype`` at byte positions ``where``, which must leave room for one."""
    kind = np.dtype(dtype)
    windows = np.ndarray((len(octets) - kind.itemsize + 1,), f"V{kind.itemsize}", octets, strides=(1,))
    found: NDArray[Any] = windows[where].view(kind)
    return found


def locate_common(
    octets: NDArray[np.uint8],
    start: Ints,
    cut: Ints,
    end: Ints,
    link: Ints,
    todo: Ints,
    outcome: Ints,
    ip: Ints,
    tcp: Ints,
    stop: Ints,
) -> Ints:
    """Locate TCP in the frames of ``todo`` that have the common shape; the indices that are left for ``locate``."""
    if not len(todo):
        return todo
    left = np.ones(len(start), np.bool_)
    kinds = link[todo]
    for kind in [int(kinds[0])] if (kinds == kinds[0]).all() else np.unique(kinds).tolist():  # nearly always one
        header, type_at = _KIND_AT.get(kind, (0, 0))
        if not header and kind not in _RAW:
            continue
        which = todo[(link[todo] == kind) & (cut[todo] - start[todo] >= header + 40)]
        base = start[which] + header
        v4 = at(octets, base, _IP4)
        version = v4["version"] >> 4
        ether = at(octets, start[which] + type_at, ">u2") if header else None
        four = (version == 4) & (v4["proto"] == 6) & (v4["fragment"] & 0x3FFF == 0) & (v4["version"] & 15 >= 5)
        six = (version == 6) & (cut[which] - start[which] >= header + 60)
        if ether is not None:
            four &= ether == 0x0800
            six &= ether == 0x86DD
        # IPv6 has its payload length where IPv4 has its identification, and its next header behind that
        six &= v4["fragment"] >> 8 == 6
        total = np.where(four, v4["total"], v4["id"]).astype(np.int64)
        good = (four | six) & (total > 0)
        which, base, total, four = which[good], base[good], total[good], four[good]
        length = np.where(four, (v4["version"][good] & 15).astype(np.int64) * 4, 40)
        segment = base + length
        over = np.minimum(base + total + np.where(four, 0, 40), end[which])
        good = (segment + 20 <= np.minimum(over, cut[which])) & ((total >= length) | ~four)
        which, base, segment, over = which[good], base[good], segment[good], over[good]
        offset = (octets[segment + 12] >> 4).astype(np.int64) * 4
        good = (offset >= 20) & (segment + offset <= over)
        which = which[good]
        outcome[which] = TCP
        ip[which] = base[good]
        tcp[which] = segment[good]
        stop[which] = over[good]
        left[which] = False
    return todo[left[todo]]


def extract_columns(
    buf: Octets, octets: NDArray[np.uint8], ip: Ints, tcp: Ints, stop: Ints, cut: Ints, rows: NDArray[Any]
) -> None:
    """``rows.extract`` by columns; ``octets`` is ``buf`` as an array."""
    four = octets[ip] >> 4 == 4
    rows["family"] = np.where(four, 4, 6)
    which = np.flatnonzero(four)
    v4 = at(octets, ip[which], _IP4)
    rows["src_hi"][which] = 0
    rows["dst_hi"][which] = 0
    rows["src_lo"][which] = v4["src"].astype(np.uint64) | np.uint64(V4_MAPPED)
    rows["dst_lo"][which] = v4["dst"].astype(np.uint64) | np.uint64(V4_MAPPED)
    rows["ip_id"][which] = v4["id"]
    rows["ttl"][which] = v4["ttl"]
    which = np.flatnonzero(~four)
    if len(which):
        v6 = at(octets, ip[which], _IP6)
        for name in ("src_hi", "src_lo", "dst_hi", "dst_lo"):
            rows[name][which] = v6[name]
        rows["ip_id"][which] = 0
        rows["ttl"][which] = v6["hops"]
    segment = at(octets, tcp, _TCP)
    for name in ("sport", "dport", "seq", "ack", "window", "urgent"):
        rows[name] = segment[name]
    rows["flags"] = segment["flags"] & 0x1FF
    header = (segment["flags"] >> 12).astype(np.int64) * 4
    rows["header"] = header
    rows["length"] = stop - tcp - header
    for name in ("mss", "sack_permitted", "n_sack", "has_ts", "tsval", "tsecr", "sack_left", "sack_right"):
        rows[name] = 0
    rows["wscale"] = -1
    last = np.minimum(tcp + header, cut)
    rows["partial"] = last < tcp + header
    stamped = np.flatnonzero((header == 32) & (last - tcp == 32))
    stamp = at(octets, tcp[stamped] + 20, _STAMP)
    usual = stamp["head"] == _NOP_NOP_STAMP
    which = stamped[usual]
    rows["has_ts"][which] = 1
    rows["tsval"][which] = stamp["tsval"][usual]
    rows["tsecr"][which] = stamp["tsecr"][usual]
    rest = last > tcp + 20
    rest[which] = False
    for i in np.flatnonzero(rest).tolist():
        read_options(buf, int(tcp[i]) + 20, int(last[i]), rows[i])
