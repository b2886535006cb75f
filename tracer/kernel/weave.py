"""Rows of the three rings woven into one batch: a plain function over arrays, made for numba to compile.

Every row is read once and written once: its head among the heads, its own fields into the table of its kind. What is
known of layouts comes as tables of numbers.
"""

from __future__ import annotations

import sys
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer import headers_loop
from tracer.events import HEAD, PAYLOAD, RING_HEAD, RING_PAYLOAD
from tracer.kinds import KINDS, Evidence, Source
from tracer.machine_code import Entry, Group, MachineCode

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
PLAN: Final = 4
"""Numbers for a kind: where in the bytes of all tables the next row of it goes, bytes of a row in a ring and in its
table, and how many there were."""


class Heads(NamedTuple):
    """Heads on the timeline, seen as numbers of three widths."""

    b: Bytes
    w: NDArray[np.uint32]
    q: NDArray[np.uint64]


class Layout(NamedTuple):
    """Places, each in its own unit."""

    head: int
    """Bytes of a head on the timeline."""
    ring_head: int
    kind: int
    time: int
    probe_time: int
    row: int
    source: int
    evidence: int


def _at(name: str) -> int:
    assert HEAD.fields is not None
    return int(HEAD.fields[name][1])


LAYOUT: Final = Layout(
    HEAD.itemsize, RING_HEAD.itemsize, _at("kind"), _at("time") // 8, _at("probe_time") // 8, _at("row") // 4,
    _at("source"), _at("evidence"),
)  # fmt: skip
_HEAD, _RING_HEAD, _KIND, _TIME, _PROBE_TIME, _ROW, _SOURCE, _EVIDENCE = LAYOUT
_FROM, _KNOWN = int(Source.KERNEL), int(Evidence.OBSERVED)


def plan() -> Ints:
    """The table of kinds, rows of PLAN numbers one behind the other, without places."""
    rows = np.zeros((len(KINDS) + 1, PLAN), np.int64)
    for number, dtype in RING_PAYLOAD.items():
        rows[number, 1:3] = dtype.itemsize, PAYLOAD[number].itemsize
    return rows.reshape(-1)


def put_row(rows: Bytes, at: int, key: Any, i: int, heads: Heads, owns: Bytes, kinds: Ints) -> None:
    """One row, which is the batch's event ``i``, at the time ``key``."""
    for j in range(_RING_HEAD):
        heads.b[np.uint64(i * _HEAD + j)] = rows[np.uint64(at + j)]
    p = PLAN * (np.int64(rows[at + _KIND]) | np.int64(rows[at + _KIND + 1]) << 8)
    to, own = kinds[p], at + _RING_HEAD
    for j in range(kinds[p + 1]):
        owns[np.uint64(to + j)] = rows[np.uint64(own + j)]
    q = i * _HEAD >> 3
    heads.q[q + _PROBE_TIME] = heads.q[q + _TIME]
    heads.q[q + _TIME] = key
    heads.w[(i * _HEAD >> 2) + _ROW] = np.uint32(kinds[p + 3])
    heads.b[i * _HEAD + _SOURCE], heads.b[i * _HEAD + _EVIDENCE] = np.uint8(_FROM), np.uint8(_KNOWN)
    kinds[p] = to + kinds[p + 2]
    kinds[p + 3] += 1


def weave(first: Bytes, second: Bytes, third: Bytes, lengths: Ints, keys: NDArray[np.uint64], ends: Ints, heads: Heads,
          owns: Bytes, kinds: Ints) -> None:  # fmt: skip
    """Rows of three rings by their times; at equal times the rings' order counts.

    ``lengths`` are the bytes of a row of each ring, ``keys`` the times of all rows, ring by ring, each never stepping
    back; ``ends`` says where in it a ring's end.
    """
    a, b, c = 0, ends[0], ends[1]
    last = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
    for i in range(len(keys)):
        one = keys[a] if a < ends[0] else last
        two = keys[b] if b < ends[1] else last
        three = keys[c] if c < ends[2] else last
        if a < ends[0] and one <= two and one <= three:
            put_row(first, a * lengths[0], one, i, heads, owns, kinds)
            a += 1
        elif b < ends[1] and two <= three:
            put_row(second, (b - ends[0]) * lengths[1], two, i, heads, owns, kinds)
            b += 1
        else:
            put_row(third, (c - ends[1]) * lengths[2], three, i, heads, owns, kinds)
            c += 1


_U8, _INT, _U64 = np.dtype(np.uint8), np.dtype(np.int64), np.dtype(np.uint64)
CODE: Final = MachineCode(
    __name__,
    ((headers_loop, headers_loop.FUNCTIONS), (sys.modules[__name__], ("put_row", "weave"))),
    {
        "weave": Entry((_U8, _U8, _U8, _INT, _U64, _INT, Group(Heads, (_U8, np.dtype(np.uint32), _U64)), _U8, _INT)),
        "decode_rows": Entry((_U8, int, int)),
    },
)
