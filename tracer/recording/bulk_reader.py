"""Many blocks of a recording as one batch: what the general reader makes of them, but fast.

What our own writer wrote, in the order in which it writes it, is read by compiled loops (tracer.recording.parse). The
others (texts kept in a pool, control characters, blocks of another program) go through the general reader one by one
and are put between the rest by their places in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from tracer.batch import Batch, interleave
from tracer.events import HEAD, NUMBER, PACKETS, PAYLOAD
from tracer.kinds import KINDS, MAX_HEADER_BYTES, Evidence, Source
from tracer.recording.bulk import Tables, in_bulk
from tracer.recording.fields import PREFIX
from tracer.recording.parse import GENERAL, Words
from tracer.recording.writer import META
from tracer.states import State

_MOST: Final = 1 << 15
"""Blocks at a time."""


def _pool(pieces: list[str]) -> tuple[Any, Any]:
    raw = [piece.encode() for piece in pieces]
    starts = np.cumsum([0, *map(len, raw)]).astype(np.int64)
    return np.frombuffer(b"".join(raw) + b"\0", np.uint8), starts


def _words() -> Words:
    kinds = ["", *(kind.name if in_bulk(kind) else "" for kind in KINDS)]
    names = [_names(enum) for enum in (Source, Evidence)]
    states = [State(i).name if i in State._value2member_map_ else "" for i in range(max(State) + 1)]
    first = [PREFIX + name for name in ("KIND=", "SOURCE=", "EVIDENCE=")]
    tables = Tables().arrays
    return Words(
        *_pool(kinds), *_pool(names[0]), *_pool(names[1]), *_pool(states), *_pool([*first, META]), tables.fields,
        tables.spans, tables.names,
    )  # fmt: skip


def _names(enum: Any) -> list[str]:
    members = enum._value2member_map_
    return [members[i].name.lower() if i in members else "" for i in range(max(members) + 1)]


class BulkReader:
    """Reads blocks. ``functions`` are those of tracer.recording.parse by name."""

    def __init__(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        self._functions = functions
        self._words = _words()
        assert HEAD.fields is not None
        packet = PAYLOAD[NUMBER["packet:sent"]].fields
        assert packet is not None
        self._layout = np.array(
            [HEAD.itemsize, HEAD.fields["source"][1], HEAD.fields["evidence"][1], packet["raw"][1], MAX_HEADER_BYTES],
            np.int64,
        )
        self._starts = np.zeros(_MOST + 1, np.int64)

    def read(
        self, data: bytes | memoryview, largest: int, general: Callable[[int, int], Batch]
    ) -> tuple[Batch | None, int]:
        """The events of the blocks at the beginning of ``data``, and how many bytes that was; None where none is whole.

        Ends before whatever is no packet and no journal entry. ``general`` reads what is not as we write it: from the
        place of a block to the end of it, 0 or 1 events.
        """
        raw = np.frombuffer(data, np.uint8)
        count = self._functions["find_blocks"](raw, largest, self._starts)
        if not count:
            return None, 0
        starts = self._starts[: count + 1].copy()
        kinds, places = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self._functions["find_kinds"](raw, starts, kinds, places, self._words)
        out, tables, bases = self._room(kinds)
        self._functions["read_blocks"](raw, starts, kinds, places, bases, self._layout, out, self._words)
        for kind in PACKETS & tables.keys():
            self._functions["decode_rows"](out, tables[kind][0], tables[kind][1])
        return self._joined(out, tables, kinds, starts, general), int(starts[-1])

    def _room(self, kinds: Any) -> tuple[Any, dict[int, tuple[int, int]], Any]:
        """Zeros for heads and tables; where each kind's table is and its rows; where each event's own fields go."""
        counts = np.bincount(np.maximum(kinds, 0), minlength=len(KINDS) + 1)
        counts[0] = 0
        size = len(kinds) * HEAD.itemsize
        bases, tables = np.zeros(len(kinds), np.int64), {}
        for kind in np.flatnonzero(counts).tolist():
            size += -size % 16
            tables[kind] = size, int(counts[kind])
            bases[kinds == kind] = size + PAYLOAD[kind].itemsize * np.arange(counts[kind])
            size += int(counts[kind]) * PAYLOAD[kind].itemsize
        out = np.zeros(size, np.uint8)
        heads = out[: len(kinds) * HEAD.itemsize].view(HEAD)
        heads["kind"], heads["fd"] = np.maximum(kinds, 0), -1
        for kind, (_, rows) in tables.items():
            heads["row"][kinds == kind] = np.arange(rows)
        return out, tables, bases

    def _joined(self, out: Any, tables: dict[int, tuple[int, int]], kinds: Any, starts: Any,
                general: Callable[[int, int], Batch]) -> Batch:  # fmt: skip
        heads = out[: len(kinds) * HEAD.itemsize].view(HEAD)
        whole = {kind: out[at : at + rows * PAYLOAD[kind].itemsize].view(PAYLOAD[kind])
                 for kind, (at, rows) in tables.items()}  # fmt: skip
        left = np.flatnonzero(kinds == GENERAL)
        if not len(left):
            return Batch(heads, whole)
        fine = np.flatnonzero(kinds != GENERAL)
        chosen = heads[fine]
        for kind in list(whole):  # rows that were given up half-way go
            mine = chosen["kind"] == kind
            whole[kind] = whole[kind][chosen["row"][mine]]
            chosen["row"][mine] = np.arange(int(mine.sum()))
        others = [(i, general(int(starts[i]), int(starts[i + 1]))) for i in left.tolist()]
        batches = [Batch(chosen, whole), *(batch for _, batch in others)]
        return interleave(batches, [fine.astype(np.uint64), *(np.full(len(b), i, np.uint64) for i, b in others)])
