"""Packets as events: what a seat at the wire has seen, decoded and as a batch of `packet:captured`.

Only the headers are kept, never payload: that is what the picture needs, and what people say to each other is nobody's
business. What is not TCP is passed over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final, Protocol

import numpy as np

from tracer import headers
from tracer.batch import Batch
from tracer.events import HEAD, NUMBER, PAYLOAD
from tracer.kinds import MAX_HEADER_BYTES, Evidence, Source
from tracer.session import Losses
from tracer.wire.frames import Frames, Seat

Table = np.ndarray[Any, np.dtype[np.void]]
Column = np.ndarray[Any, np.dtype[np.int64]]
CAPTURED: Final = NUMBER["packet:captured"]


Endpoint = tuple[tuple[int, int], int]
"""Address (two halves) and port."""


class Register(Protocol):
    """Who knows which connections are looked for (a socket table that is read again and again)."""

    @property
    def read_until(self) -> int:
        """What had happened by then (ns since the Unix epoch) is known."""
        ...

    def knows(self, pairs: Iterable[tuple[Endpoint, Endpoint]]) -> list[bool]:
        """Of each pair, whether it is looked for."""
        ...

    def hurry(self) -> None:
        """Somebody waits."""
        ...


class WireSource:
    """The packets of one network as a source of events."""

    def __init__(
        self, seat: Seat, netns: int = 0, ports: Collection[int] = (), register: Register | None = None
    ) -> None:
        """`netns` is the inode of the seat's network; `ports`: only segments from or to one of them, all when empty.

        `register`: only segments of connections that it knows. A segment waits until the register has been brought up
        to its time, so that the first one of a connection is not lost.
        """
        self._register = register
        self._waiting: list[tuple[Table, Column]] = []
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
        table, time = self._registered(table[kept], frames.time[kept])
        table["frame"] = self._written + 1 + np.arange(len(table))
        self._written += len(table)
        # A short payload fits in beside the headers: it goes.
        used = np.where(table["family"] == 4, (table["raw"][:, 0] & 15) * 4, 40) + table["header"].astype(np.int64)
        table["caplen"] = np.minimum(table["caplen"], used)
        table["raw"][np.arange(MAX_HEADER_BYTES) >= table["caplen"][:, None]] = 0
        heads = np.zeros(len(table), HEAD)
        heads["time"], heads["kind"], heads["fd"] = time, CAPTURED, -1
        heads["row"] = np.arange(len(table))
        heads["source"], heads["evidence"] = Source.WIRE, Evidence.CAPTURED
        return Batch(heads, {CAPTURED: table} if len(table) else {})

    def _registered(self, table: Table, time: Column) -> tuple[Table, Column]:
        """Those that the register knows, of all that have waited long enough."""
        if self._register is None:
            return table, time
        self._waiting.append((table, time))
        until = self._register.read_until
        if len(time) and self._open:
            self._register.hurry()
        table = np.concatenate([rows for rows, _ in self._waiting])
        time = np.concatenate([times for _, times in self._waiting])
        ready = time <= until if self._open else np.ones(len(time), np.bool_)
        self._waiting = [(table[~ready], time[~ready])]
        table, time = table[ready], time[ready]
        ends = zip(*(table[name].tolist() for name in ("saddr", "sport", "daddr", "dport")), strict=True)
        pairs = [((tuple(source), sport), (tuple(target), dport)) for source, sport, target, dport in ends]
        known = np.array(self._register.knows(pairs), np.bool_)
        return table[known], time[known]

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
