"""Wireshark-class analysis of the packets on a timeline: the ``analysis`` field of packet events.

The engine reads segments, the timeline holds events; this puts each packet of a batch through the engine once and
writes the findings' bits beside it. A segment that a probe saw leave and arrive is one segment: the departure is
analysed, so that nothing looks like a retransmission only because it was seen twice.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.batch import Batch, Table
from tracer.events import NUMBER
from tracer.replay.engine import Replay
from tracer.segments import SEGMENT

PASSING: Final = (NUMBER["packet:sent"], NUMBER["packet:captured"])
_SAME: Final = tuple(
    name for name in SEGMENT.names or () if name not in ("time", "frame", "src_hi", "src_lo", "dst_hi", "dst_lo")
)


class PacketFindings:
    """Fills ``analysis`` of the packets of every batch; feed all batches of a timeline in order, each once."""

    def __init__(self) -> None:
        self.replay = Replay()
        self._frames = 0

    def extend(self, batch: Batch) -> Batch:
        """The batch itself, its packets' ``analysis`` filled in place."""
        heads = batch.heads
        places = np.flatnonzero(np.isin(heads["kind"], PASSING))
        if len(places):
            found = self.replay.feed(self._segments(batch, places))
            for kind in PASSING:
                if kind in batch.tables:
                    mine = heads["kind"][places] == kind
                    batch.tables[kind]["analysis"][heads["row"][places[mine]]] = found["findings"][mine]
        return batch

    def _segments(self, batch: Batch, places: NDArray[np.int64]) -> Table:
        segments = np.zeros(len(places), SEGMENT)
        for kind in PASSING:
            if kind not in batch.tables:
                continue
            mine = batch.heads["kind"][places] == kind
            rows = batch.tables[kind][batch.heads["row"][places[mine]]]
            for name in _SAME:
                segments[name][mine] = rows[name]
            for ours, theirs in (("saddr", "src"), ("daddr", "dst")):
                halves: NDArray[Any] = rows[ours]
                segments[f"{theirs}_hi"][mine], segments[f"{theirs}_lo"][mine] = halves[:, 0], halves[:, 1]
        segments["time"] = batch.heads["time"][places]
        # Frames are numbered as they come: two kinds of packets on one timeline have no numbering in common.
        segments["frame"] = np.arange(self._frames + 1, self._frames + 1 + len(places))
        self._frames += len(places)
        return segments
