"""Inferred states as events: ``socket:state`` with evidence *inferred*, right after the packet that led to each.

A session that has no probe to watch sockets puts its batches through ``StateEvents``, after ``Identities.resolve`` has
given packets their connection and side. What comes out is the same batch with the changes of state in their places.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.batch import Batch, Table
from tracer.events import HEAD, NUMBER, PAYLOAD
from tracer.kinds import Evidence, Side, Source
from tracer.replay.infer import Found, Inference
from tracer.segments import V4_MAPPED

STATE: Final = NUMBER["socket:state"]
PASSING: Final = (NUMBER["packet:captured"], NUMBER["packet:sent"])
"""Kinds that show each segment once; ``packet:received`` is the same segment again."""

_COLUMNS: Final = ("seq", "ack", "flags", "length", "window", "wscale")


class StateEvents:
    """Adds inferred changes of state to batches; feed it all batches of a timeline in order, each once."""

    def __init__(self) -> None:
        self.inference = Inference()

    def extend(self, batch: Batch, now: int | None = None) -> Batch:
        """``batch`` with the changes of state that follow from its packets, each behind its packet.

        Changes that a timer brings stand where their time belongs. ``now`` (ns) lets time pass beyond the last packet,
        for a live session; without it, time is what packets say. ``batch`` itself is not changed.
        """
        found = self._judge(batch)
        if now is not None:
            found += self.inference.advance(now)
        return self.insert(batch, found)

    def insert(self, batch: Batch, found: list[Found]) -> Batch:
        """``batch`` with changes that were found of its packets, whoever found them."""
        if not found:
            return batch
        times = np.maximum.accumulate(batch.heads["time"]).tolist()
        places = [bisect_left(times, one.change.time) if one.place < 0 else one.place + 1 for one in found]
        return self._merge(batch, np.maximum.accumulate(places), found)

    def _judge(self, batch: Batch) -> list[Found]:
        segments = [row for kind in PASSING if kind in batch.tables for row in _segments(batch, kind)]
        segments.sort()  # by place, which no two have in common
        found: list[Found] = []
        for place, conn, side, source, target, *columns in segments:
            changes = self.inference.segment(place, conn, source, target, *columns)
            if changes:
                found += changes
                pair = self.inference.pair(conn)
                if pair is not None:
                    pair.client = pair.points.index(source if side == Side.CLIENT else target)
        return found

    def _merge(self, batch: Batch, places: NDArray[np.int64], found: list[Found]) -> Batch:
        """The events at their places; rows of a kind stay in the order of its heads."""
        heads, rows = self._events(found)
        order = np.argsort(np.concatenate([np.arange(len(batch)) + 0.5, places - 0.25]), kind="stable")
        merged = np.concatenate([batch.heads, heads])[order]
        mine = merged["kind"] == STATE
        before = batch.tables.get(STATE, np.zeros(0, PAYLOAD[STATE]))
        observed = mine & (merged["source"] != Source.ENGINE)
        both = np.concatenate([before, rows])
        pick = merged["row"].astype(np.int64)
        pick[mine & ~observed] += len(before)
        tables = dict(batch.tables)
        tables[STATE] = both[pick[mine]]
        merged["row"][mine] = np.arange(int(mine.sum()))
        return Batch(merged, tables, batch.strings)

    def _events(self, found: list[Found]) -> tuple[Table, Table]:
        heads = np.zeros(len(found), HEAD)
        rows = np.zeros(len(found), PAYLOAD[STATE])
        heads["kind"], heads["fd"] = STATE, -1
        heads["source"], heads["evidence"] = Source.ENGINE, Evidence.INFERRED
        heads["row"] = np.arange(len(found))
        for head, row, (_, pair, change) in zip(heads, rows, found, strict=True):
            local, peer = pair.points[change.row], pair.points[1 - change.row]
            head["time"], head["conn"] = change.time, pair.stream
            head["side"] = Side.CLIENT if change.row == pair.client else Side.SERVER
            row["saddr"], row["sport"], row["daddr"], row["dport"] = local[:2], local[2], peer[:2], peer[2]
            row["family"] = 4 if local[0] == 0 and local[1] >> 32 == V4_MAPPED >> 32 else 6
            row["old"], row["new"], row["state"] = change.old, change.new, change.new
            row["certainty"] = change.certainty
        return heads, rows


def _segments(batch: Batch, kind: int) -> Iterator[tuple[Any, ...]]:
    """Place, connection, side, both endpoints and the columns that the rules need, of each packet of that kind."""
    places = np.flatnonzero((batch.heads["kind"] == kind) & (batch.heads["conn"] > 0))
    heads = batch.heads[places]
    rows = batch.tables[kind][heads["row"]]
    sources, targets = (
        zip(*rows[address].T.tolist(), rows[port].tolist(), strict=True)
        for address, port in (("saddr", "sport"), ("daddr", "dport"))
    )
    whose = (heads["conn"].tolist(), heads["side"].tolist())
    columns = (rows[name].tolist() for name in _COLUMNS)
    return zip(places.tolist(), *whose, sources, targets, heads["time"].tolist(), *columns, strict=True)
