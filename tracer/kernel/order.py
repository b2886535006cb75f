"""Rows of the rings as one batch, in the order of their times: by the compiled loop where that is there, else by numpy.

Positions in a ring are the causal order, so a row's key is the running maximum of its ring's times, and the rings are
merged by key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.batch import Batch
from tracer.events import HEAD, PACKETS, PAYLOAD, RING_HEAD, RING_PAYLOAD
from tracer.headers import decode
from tracer.kernel.reasons import Reasons
from tracer.kinds import Evidence, Source
from tracer.machine_code import Background

_HEAD_BYTES: Final = RING_HEAD.itemsize
_HEAD_WORDS: Final = _HEAD_BYTES // 8
_KIND_AT: Final = int(RING_HEAD.fields["kind"][1])  # type: ignore[index]
MANY: Final = 512
"""Rows at a time from which on compiled code is worth loading."""

Rows = NDArray[np.uint8]
Keys = NDArray[np.uint64]
Functions = Mapping[str, Callable[..., Any]]


class Order:
    """Makes batches. ``reasons`` names what is a number in this kernel."""

    def __init__(self, reasons: Reasons | None = None) -> None:
        self.reasons = reasons
        self.background: Background | None = None
        self._frames: dict[int, int] = {}

    def batch(self, parts: list[Rows], keys: list[Keys], offset: int) -> Batch:
        """The rows of the three rings; ``keys`` are the rows' times by the probes' clock, ``offset`` what to add."""
        count = sum(map(len, parts))
        if count >= MANY and self.background is None:
            from tracer.kernel.weave import CODE  # llvmlite, for whoever has much to read

            self.background = Background(CODE)
        functions = self.background.functions if self.background is not None and count >= MANY // 8 else None
        woven = self._by_numpy(parts, keys) if functions is None else self._woven(functions, parts, keys)
        woven.heads["time"] += np.uint64(offset)
        for kind, rows in woven.tables.items():
            if kind in PACKETS:
                before = self._frames.get(kind, 0)
                rows["frame"] = np.arange(before + 1, before + 1 + len(rows))
                self._frames[kind] = before + len(rows)
            elif self.reasons is not None:
                self.reasons.fill(kind, rows)
        return woven

    def _woven(self, functions: Functions, parts: list[Rows], keys: list[Keys]) -> Batch:
        from tracer.kernel.weave import PLAN, Heads, plan

        counts = np.bincount(np.concatenate([_kinds(part) for part in parts]), minlength=len(PAYLOAD) + 1)
        kinds, places, size = plan(), {}, 0
        for kind in np.flatnonzero(counts).tolist():
            kinds[PLAN * kind] = size
            places[kind] = size, int(counts[kind]) * PAYLOAD[kind].itemsize
            size += -(-places[kind][1] // 16) * 16
        heads, owns = np.zeros(sum(map(len, parts)), HEAD), np.zeros(size, np.uint8)
        raw = heads.view(np.uint8)
        seen = Heads(raw, raw.view(np.uint32), raw.view(np.uint64))
        lengths = np.array([part.shape[1] for part in parts], np.int64)
        flat = [np.ascontiguousarray(part).reshape(-1) for part in parts]
        functions["weave"](*flat, lengths, np.concatenate(keys), np.cumsum([*map(len, keys)]), seen, owns, kinds)
        for kind in PACKETS & places.keys():
            functions["decode_rows"](owns, places[kind][0], int(counts[kind]))
        return Batch(heads, {kind: owns[at : at + size].view(PAYLOAD[kind]) for kind, (at, size) in places.items()})

    def _by_numpy(self, parts: list[Rows], keys: list[Keys]) -> Batch:
        times = np.concatenate(keys)
        order = np.argsort(times, kind="stable")
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        heads = np.zeros(len(order), HEAD)
        tables: dict[int, NDArray[np.void]] = {}
        at = 0
        for part in parts:
            here = rank[at : at + len(part)]
            _words(heads)[here, :_HEAD_WORDS] = part.view(np.uint64)[:, :_HEAD_WORDS]
            kinds = heads["kind"][here]
            for kind in np.flatnonzero(np.bincount(kinds)).tolist():
                mine = np.flatnonzero(kinds == kind)
                rows = tables[kind] = np.zeros(len(mine), PAYLOAD[kind])
                size = RING_PAYLOAD[kind].itemsize
                rows.view(np.uint8).reshape(len(rows), -1)[:, :size] = part[mine, _HEAD_BYTES : _HEAD_BYTES + size]
                heads["row"][here[mine]] = np.arange(len(mine))  # a kind has one ring, so its order is that ring's
            at += len(part)
        for kind in PACKETS & tables.keys():
            decode(tables[kind])
        heads["probe_time"] = heads["time"]
        heads["time"] = times[order]
        heads["source"], heads["evidence"] = Source.KERNEL, Evidence.OBSERVED
        return Batch(heads, tables)


def times(body: Rows) -> Keys:
    """When each row was written, by the probes' clock."""
    return np.ascontiguousarray(body[:, :8]).view(np.uint64)[:, 0]


def _kinds(body: Rows) -> NDArray[np.uint16]:
    return np.ascontiguousarray(body[:, _KIND_AT : _KIND_AT + 2]).view(np.uint16)[:, 0]


def _words(heads: NDArray[np.void]) -> NDArray[np.uint64]:
    return heads.view(np.uint64).reshape(len(heads), HEAD.itemsize // 8)


def _is_prefix(short: np.dtype[np.void], long: np.dtype[np.void]) -> bool:
    """Whether a record of `short` may be copied over the beginning of one of `long`."""
    assert short.fields is not None and long.fields is not None
    return all(long.fields[name][:2] == place[:2] for name, place in short.fields.items())


# Derived fields come last in every kind, so the probes' bytes are the beginning of the timeline's record.
assert _is_prefix(RING_HEAD, HEAD) and all(_is_prefix(RING_PAYLOAD[kind], PAYLOAD[kind]) for kind in RING_PAYLOAD)
