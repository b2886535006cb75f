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
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final

from tracer.events import NUMBER
from tracer.recording.fields import to_fields, to_journal
from tracer.timeline import Event, Timeline
from tracer.words import message

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

_SENT, _RECEIVED, _CAPTURED = NUMBER["packet:sent"], NUMBER["packet:received"], NUMBER["packet:captured"]
_INBOUND, _OUTBOUND = 1, 2
_REMEMBERED: Final = 4096
"""Departures kept to recognise arrivals: far more than can be under way on one machine's loopback."""


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
        self._departed: OrderedDict[tuple[Any, ...], None] = OrderedDict()
        try:
            if path == "-":
                self._fd = os.dup(1)
            else:
                self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        except OSError as failure:
            raise RecordingError(f"cannot write the recording {path!r}: {failure.strerror}") from None
        self._regular = stat.S_ISREG(os.fstat(self._fd).st_mode)
        self._put([_section(meta or {}), _interface()])
        if self.failure:
            raise RecordingError(self.failure)

    def write(self, timeline: Timeline, start: int, stop: int) -> None:
        """Append events start..stop."""
        if self.failure is None:
            self._put([self._block(event) for event in timeline.events(start, stop)], events=True)

    def close(self, written: int = 0, lost: int = 0) -> None:
        """Append what the probes wrote and lost (interface statistics) and close the file."""
        if self._fd < 0:
            return
        if self.failure is None:
            options = _option(ISB_IFRECV, struct.pack("<Q", written)) + _option(ISB_IFDROP, struct.pack("<Q", lost))
            high, low = divmod(self._last_us, 1 << 32)
            self._put([_wrap(STATISTICS, struct.pack("<III", 0, high, low) + options + _END)])
        with contextlib.suppress(OSError):  # a failure on closing was one on writing before
            os.close(self._fd)
        self._fd = -1

    def _put(self, blocks: list[bytes], *, events: bool = False) -> None:
        """Append blocks, in one write where that is possible; ``events``: each is an event to be counted."""
        data, done, failure = b"".join(blocks), 0, None
        try:
            while done < len(data):
                done += os.write(self._fd, data[done:])
        except OSError as refused:
            failure = refused
        for block in blocks:
            if done < len(block):
                break
            done -= len(block)
            self._size += len(block)
            self.written += events
        if failure is None:
            return
        if self._regular:
            with contextlib.suppress(OSError):  # on a full disk cutting back needs no room
                os.ftruncate(self._fd, self._size)
        where = "the pipe" if self.path == "-" else repr(self.path)
        self.failure = f"recording to {where} stopped: {failure.strerror}; {self.written} events are in it"

    def _block(self, event: Event) -> bytes:
        # Times never step back in the file, whatever a late source brings: analysers expect it.
        self._last_us = max(self._last_us, event.time // 1000)
        if event.number in (_SENT, _RECEIVED, _CAPTURED) and event["caplen"] and self._first_sight(event):
            return self._packet(event)
        return self._journal(event)

    def _first_sight(self, event: Event) -> bool:
        if event.number == _CAPTURED:
            return True
        key = (event["skb"], event["seq"], event["ack"], event["flags"], event["sport"], event["dport"], event["ip_id"])
        if event.number == _RECEIVED:
            if key not in self._departed:
                return True
            del self._departed[key]
            return False
        self._departed[key] = None
        if len(self._departed) > _REMEMBERED:
            self._departed.popitem(last=False)
        return True

    def _packet(self, event: Event) -> bytes:
        raw = event["raw"][: event["caplen"]]
        high, low = divmod(self._last_us, 1 << 32)
        head = struct.pack("<IIIII", 0, high, low, len(raw), max(event["wire_len"], len(raw)))
        fields = " ".join(f"{name}={text}" for name, text in to_fields(event, without=frozenset({"raw"})))
        options = _option(COMMENT, (META + fields).encode())
        if event.number != _CAPTURED:
            direction = _OUTBOUND if event.number == _SENT else _INBOUND
            options += _option(EPB_FLAGS, struct.pack("<I", direction))
        return _wrap(PACKET, head + _padded(raw) + options + _END)

    def _journal(self, event: Event) -> bytes:
        known = [
            ("__REALTIME_TIMESTAMP", str(self._last_us)),
            ("MESSAGE", message(event)),
            ("PRIORITY", "6"),
            ("SYSLOG_IDENTIFIER", "synfin"),
        ]
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
