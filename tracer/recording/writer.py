"""Writes a recording, block by block, as the events become complete.

One capture point is written as packets: where a segment left its sender (``packet:sent``). The same segment's arrival
is written as a packet too only if its departure was not seen, which is how traffic from another machine gets in; else
it is a journal row, because a segment listed twice would look like a retransmission to every analyser.

Times in block headers are microseconds, as journal entries cannot be finer and capinfos asks for one order; the exact
nanoseconds are among our own fields. A batch of events is one write(2), so that a process killed between two writes
leaves whole blocks; a write that fails half way (a full disk) is cut back to the last whole block.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.batch import Batch
from tracer.machine_code import Background
from tracer.recording.arrivals import Departures
from tracer.recording.fields import to_fields, to_journal
from tracer.timeline import Event, Timeline
from tracer.words import message

if TYPE_CHECKING:
    from tracer.recording.bulk import Bulk

SECTION, INTERFACE, PACKET, JOURNAL, STATISTICS = 0x0A0D0D0A, 1, 6, 9, 5
MAGIC: Final = 0x1A2B3C4D
LINKTYPE_RAW: Final = 101
"""Packets begin with the IP header: link layers are not our subject, and loopback's is all zeros."""
SNAPLEN: Final = 104
COMMENT, HARDWARE, OS, APPLICATION = 1, 2, 3, 4
IF_NAME, IF_TSRESOL = 2, 9
EPB_FLAGS: Final = 2
ISB_IFRECV, ISB_IFDROP = 4, 5
META: Final = "synfin "
"""Comments of ours begin with this; JSON follows in the section's, fields in a packet's."""

BULK: Final = 256
"""Events at a time from which on compiled code is worth its half second of loading."""


class RecordingError(OSError):
    """The file cannot be written; str() is one sentence."""


class Recorder:
    """Appends events to a pcapng file. Nothing raises after construction: see ``failure``."""

    def __init__(self, path: str, meta: dict[str, Any] | None = None) -> None:
        """Create ``path`` ("-" is standard output) and write its section header.

        ``meta`` goes into the section's comment as JSON. Raises RecordingError when the file cannot be made.
        """
        self.path = path
        self.failure: str | None = None
        """Why recording stopped, in words; None while all is well."""
        self.written = 0
        """Events in the file."""
        self._size = 0
        self._last_us = 0
        self._departures = Departures()
        self._loading: Background | None = None
        self._compiled: Bulk | None = None
        try:
            if path == "-":
                self._fd = os.dup(1)
            else:
                self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        except OSError as failure:
            raise RecordingError(f"cannot write the recording {path!r}: {failure.strerror}") from None
        self._regular = stat.S_ISREG(os.fstat(self._fd).st_mode)
        self._put(_section(meta or {}) + _interface())
        if self.failure:
            raise RecordingError(self.failure)

    def write(self, timeline: Timeline, start: int, stop: int) -> None:
        """Append events start..stop of a timeline."""
        if self.failure is None:
            self.write_batch(timeline.batch(start, stop))

    def write_batch(self, batch: Batch) -> None:
        """Append the events of a batch."""
        if self.failure is not None or not len(batch):
            return
        heads = batch.heads
        # Times never step back in the file, whatever a late source brings: analysers expect it.
        ticks = np.maximum.accumulate(np.maximum((heads["time"] // 1000).astype(np.int64), self._last_us))
        self._last_us = int(ticks[-1])
        bulk = self._bulk(len(batch))
        directions = self._departures.directions(batch, None if bulk is None else bulk.loops)

        def block(i: int) -> bytes:
            event = Event(i, heads[i], batch.tables[int(heads["kind"][i])][int(heads["row"][i])], batch.strings)
            tick, direction = int(ticks[i]), int(directions[i])
            return _packet(event, tick, direction) if direction >= 0 else _journal(event, tick)

        if bulk is None:
            blocks = [block(i) for i in range(len(batch))]
            self._put(b"".join(blocks), np.cumsum([len(one) for one in blocks]))
        else:
            bulk.blocks(batch, ticks, directions, block, self._put)

    def _bulk(self, events: int) -> Bulk | None:
        """The compiled writer, once there are events enough to be worth it; None while there is none."""
        if self._loading is None and events >= BULK:
            from tracer.recording.compiled import CODE  # llvmlite, for whoever has much to write

            self._loading = Background(CODE)
        if self._compiled is None and self._loading is not None and self._loading.functions is not None:
            from tracer.recording.bulk import Bulk

            self._compiled = Bulk(self._loading.functions)
        return self._compiled if events >= BULK // 8 else None

    def close(self, written: int = 0, lost: int = 0) -> None:
        """Append what the probes wrote and lost (interface statistics) and close the file."""
        if self._fd < 0:
            return
        if self.failure is None:
            options = _option(ISB_IFRECV, struct.pack("<Q", written)) + _option(ISB_IFDROP, struct.pack("<Q", lost))
            high, low = divmod(self._last_us, 1 << 32)
            self._put(_wrap(STATISTICS, struct.pack("<III", 0, high, low) + options + _END))
        with contextlib.suppress(OSError):  # a failure on closing was one on writing before
            os.close(self._fd)
        self._fd = -1

    def _put(self, data: bytes | memoryview, ends: NDArray[np.int64] | None = None) -> None:
        """Append whole blocks, in one write where that is possible; ``ends``: where the block of each event ends."""
        if self.failure is not None:
            return
        done, failure = 0, None
        try:
            while done < len(data):
                done += os.write(self._fd, data[done:])
        except OSError as refused:
            failure = refused
        whole = len(data) if failure is None else 0
        if ends is not None:
            count = int(np.searchsorted(ends, done, side="right"))
            self.written += count
            whole = int(ends[count - 1]) if count else 0
        self._size += whole
        if failure is None:
            return
        if self._regular:
            with contextlib.suppress(OSError):  # on a full disk cutting back needs no room
                os.ftruncate(self._fd, self._size)
        where = "the pipe" if self.path == "-" else repr(self.path)
        self.failure = f"recording to {where} stopped: {failure.strerror}; {self.written} events are in it"


def _packet(event: Event, tick: int, direction: int) -> bytes:
    raw = event["raw"][: event["caplen"]]
    high, low = divmod(tick, 1 << 32)
    head = struct.pack("<IIIII", 0, high, low, len(raw), max(event["wire_len"], len(raw)))
    fields = " ".join(f"{name}={text}" for name, text in to_fields(event, without=frozenset({"raw"})))
    options = _option(COMMENT, (META + fields).encode())
    if direction:
        options += _option(EPB_FLAGS, struct.pack("<I", direction))
    return _wrap(PACKET, head + _padded(raw) + options + _END)


def _journal(event: Event, tick: int) -> bytes:
    known = [("__REALTIME_TIMESTAMP", str(tick)), ("MESSAGE", message(event))]
    return _wrap(JOURNAL, _padded(to_journal(iter([*known, *to_fields(event)]))))


def _section(meta: dict[str, Any]) -> bytes:
    system = platform.uname()
    options = (
        _option(COMMENT, (META + json.dumps(meta, sort_keys=True)).encode())
        + _option(HARDWARE, system.machine.encode())
        + _option(OS, f"{system.system} {system.release}".encode())
        + _option(APPLICATION, f"synfin {meta.get('version', '')}".strip().encode())
    )
    return _wrap(SECTION, struct.pack("<IHHq", MAGIC, 1, 0, -1) + options + _END)


def _interface() -> bytes:
    options = _option(IF_NAME, b"kernel") + _option(IF_TSRESOL, bytes([6]))
    return _wrap(INTERFACE, struct.pack("<HHI", LINKTYPE_RAW, 0, SNAPLEN) + options + _END)


_END: Final = struct.pack("<HH", 0, 0)


def _option(code: int, value: bytes) -> bytes:
    value = value[:65535]
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _wrap(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def default_path(name: str) -> Path:
    """A name for a recording that does not exist yet, in this folder: NAME.pcapng, NAME-2.pcapng, ..."""
    path, number = Path(f"{name}.pcapng"), 2
    while path.exists():
        path, number = Path(f"{name}-{number}.pcapng"), number + 1
    return path
