"""Packets as events: what a seat at the wire has seen, decoded and as a batch of `packet:captured`.

Only the headers are kept, never payload: that is what the picture needs, and what people say to each other is nobody's
business. What is not TCP is passed over.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import numpy as np

from tracer import headers
from tracer.batch import Batch
from tracer.events import HEAD, NUMBER, PAYLOAD
from tracer.kinds import MAX_HEADER_BYTES, Evidence, Source
from tracer.session import Losses
from tracer.wire.frames import Frames, Seat

CAPTURED: Final = NUMBER["packet:captured"]


class WireSource:
    """The packets of one network as a source of events."""

    def __init__(self, seat: Seat, netns: int = 0, ports: Collection[int] = ()) -> None:
        """`netns` is the inode of the seat's network; `ports`: only segments from or to one of them, all when empty."""
        self._seat = seat
        self._netns = netns
        self._ports = np.array(sorted(ports), np.uint16)
        self._written = 0
        self._open = True
        self._rest = Frames.none()

    def drain(self) -> Batch:
        """The segments since the last call."""
        frames, self._rest = self._seat.read() if self._open else self._rest, Frames.none()
        return self._batch(frames)

    def _batch(self, frames: Frames) -> Batch:
        table = np.zeros(len(frames), PAYLOAD[CAPTURED])
        table["raw"], table["caplen"] = frames.raw, frames.caplen
        table["wire_len"] = _ip_length(frames)
        table["ifindex"], table["netns"] = frames.ifindex, self._netns
        kept = headers.decode(table)
        if len(self._ports):
            kept &= np.isin(table["sport"], self._ports) | np.isin(table["dport"], self._ports)
        table = table[kept]
        table["frame"] = self._written + 1 + np.arange(len(table))
        self._written += len(table)
        # A short payload fits in beside the headers: it goes.
        used = np.where(table["family"] == 4, (table["raw"][:, 0] & 15) * 4, 40) + table["header"].astype(np.int64)
        table["caplen"] = np.minimum(table["caplen"], used)
        table["raw"][np.arange(MAX_HEADER_BYTES) >= table["caplen"][:, None]] = 0
        heads = np.zeros(len(table), HEAD)
        heads["time"], heads["kind"], heads["fd"] = frames.time[kept], CAPTURED, -1
        heads["row"] = np.arange(len(table))
        heads["source"], heads["evidence"] = Source.WIRE, Evidence.CAPTURED
        return Batch(heads, {CAPTURED: table} if len(table) else {})

    def losses(self) -> Losses:
        """Segments delivered, and packets that found no room."""
        return Losses(self._written, self._seat.dropped())

    def stop(self) -> None:
        """Leave the seat; what has come until now is still to be drained."""
        if self._open:
            self._rest, self._open = self._seat.read(), False
            self._seat.close()


def _ip_length(frames: Frames) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Length of each packet as its IP header says: the frame may be longer (Ethernet pads to 60 bytes).

    0 there means that the card will fill it in (segmentation offload) or a jumbogram (RFC 2675): then the frame's.
    """
    raw = frames.raw.astype(np.int64)
    v4 = raw[:, 2] << 8 | raw[:, 3]
    v6 = raw[:, 4] << 8 | raw[:, 5]
    told = np.where(raw[:, 0] >> 4 == 4, v4, np.where(v6 > 0, v6 + 40, 0))
    return np.where(told > 0, np.minimum(told, frames.wire_len), frames.wire_len)
