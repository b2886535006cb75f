"""A capture as a source of events: one ``packet:captured`` for each TCP segment, in the order of the file.

A capture point does not say whether it stood at the sender or the receiver, so a packet from a file is neither sent nor
received: it was seen to pass. What it means for the two endpoints is for the analysis and the inference to say.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.batch import Batch, merge
from tracer.capture.reader import Capture
from tracer.events import HEAD, NUMBER, PAYLOAD
from tracer.kinds import Evidence, Source
from tracer.segments import SEGMENT
from tracer.session import Losses

CAPTURED: Final = NUMBER["packet:captured"]
SHARED: Final = tuple(name for name in SEGMENT.names or () if name in (PAYLOAD[CAPTURED].names or ()))
"""Columns that a decoded segment and the event have in common, under the same name."""


class CaptureSource:
    """Hands over an open capture block by block, as fast as it is asked."""

    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        self.finished = False
        """All that can be read has been handed over."""
        self.progress: float | None = 0.0
        """Part of the file that has been read, 0 to 1; None where its length is not known (a pipe)."""
        self._blocks = capture.blocks()
        self._written = 0

    def drain(self) -> Batch:
        """The next block's segments; empty when it held none, or when there are no more (``finished``)."""
        block = next(self._blocks, None)
        if block is None:
            self.finished = True
            return merge([])
        self.progress = block.done / block.total if block.total else None
        batch = to_batch(block.segments)
        self._written += len(batch)
        return batch

    def losses(self) -> Losses:
        """What the capture's writer lost is not known here."""
        return Losses(self._written, 0)

    def stop(self) -> None:
        """Close the capture."""
        self.capture.close()


def to_batch(segments: NDArray[Any]) -> Batch:
    """Rows of SEGMENT as events; the header bytes stay in the file (``offset`` says where)."""
    table = np.zeros(len(segments), PAYLOAD[CAPTURED])
    for name in SHARED:
        if name != "caplen":  # of the event: how much of the packet is kept in raw, which is nothing here
            table[name] = segments[name]
    for name in ("src", "dst"):
        table[f"{name[0]}addr"][:, 0], table[f"{name[0]}addr"][:, 1] = segments[f"{name}_hi"], segments[f"{name}_lo"]
    heads = np.zeros(len(segments), HEAD)
    heads["time"], heads["kind"], heads["fd"] = segments["time"], CAPTURED, -1
    heads["row"] = np.arange(len(segments))
    heads["source"], heads["evidence"] = Source.FILE, Evidence.CAPTURED
    return Batch(heads, {CAPTURED: table} if len(table) else {})
