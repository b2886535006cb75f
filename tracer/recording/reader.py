"""Reads a recording of our own: a pcapng file whose section comment says so.

It hands over the same batches the live sources did: nothing is kept of what identity and analysis had made of them, so
the timeline is worked out anew by the same code. A file that ends in the middle of a block is read up to there, and
``notes`` says at which byte. Packets that someone else has put into the file (mergecap) come as captured.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np

from tracer.batch import Batch, BatchBuilder
from tracer.events import NUMBER
from tracer.headers import decode
from tracer.kinds import MAX_HEADER_BYTES, Evidence, Source
from tracer.machine_code import Background
from tracer.recording.fields import PREFIX, BadFields, from_fields, from_journal
from tracer.recording.writer import COMMENT, IF_TSRESOL, INTERFACE, JOURNAL, LINKTYPE_RAW, MAGIC, META, PACKET, SECTION

if TYPE_CHECKING:
    from tracer.recording.bulk_reader import BulkReader

EVENTS_PER_BATCH: Final = 4096
BULK: Final = 256
"""Blocks from which on compiled code is worth loading."""
PIECE: Final = 1 << 21
"""Bytes of one read: some thousand events, which is a batch."""
_MAX_BLOCK: Final = 1 << 24
"""A block of ours has a few hundred bytes; a length beyond this is a damaged file, not a reason to take memory."""
_PACKET_KINDS: Final = ("packet:sent", "packet:received", "packet:captured")


def is_recording(head: bytes) -> bool:
    """Whether a file that begins with ``head`` (some 2 KiB are enough) is a recording of ours."""
    return head[:4] == struct.pack("<I", SECTION) and (META + "{").encode() in head


class RecordingReader:
    """One pass over a recording."""

    def __init__(self, file: BinaryIO) -> None:
        """``file`` is read from where it stands; pipes will do."""
        self._file = file
        self.meta: dict[str, Any] = {}
        """What the section's comment says: version, kernel, scenario, probes."""
        self.notes: list[str] = []
        """What could not be read, one sentence each."""
        self.position = 0
        """Bytes read so far."""
        self._resolution = [1000]
        """ns to a tick, per interface."""
        self._bad = 0
        self._data, self._at = b"", 0
        self._background: Background | None = None
        self._bulk: BulkReader | None = None

    def batches(self) -> Iterator[Batch]:
        """The events in the order of the file."""
        builder = BatchBuilder(Source.FILE, Evidence.CAPTURED)
        seen = 0
        while True:
            if seen >= BULK and (bulk := self._compiled()) is not None:
                if len(builder):
                    yield _finished(builder)
                if (batch := self._in_bulk(bulk)) is not None:
                    if len(batch):
                        yield batch
                    continue
            block = self._block()
            if block is None or not self._general(builder, *block):
                break
            seen += 1
            if len(builder) >= (EVENTS_PER_BATCH if seen > BULK else BULK):
                yield _finished(builder)
        if self._bad > 1:
            self.notes.append(f"{self._bad} blocks in all could not be read")
        if len(builder):
            yield _finished(builder)

    def _compiled(self) -> BulkReader | None:
        if self._background is None:
            from tracer.recording.parse import CODE  # llvmlite, for whoever has much to read

            self._background = Background(CODE)
        if self._bulk is None and self._background.functions is not None:
            from tracer.recording.bulk_reader import BulkReader

            self._bulk = BulkReader(self._background.functions)
        return self._bulk

    def _in_bulk(self, bulk: BulkReader) -> Batch | None:
        """The packets and journal entries from here on, those of one read; None where the next block is neither."""
        if len(self._data) - self._at < PIECE // 2:
            self._fill()
        data, start = memoryview(self._data)[self._at :], self.position

        def general(begin: int, end: int) -> Batch:
            self.position = start + end
            builder = BatchBuilder(Source.FILE, Evidence.CAPTURED)
            self._general(builder, int.from_bytes(data[begin : begin + 4], "little"), bytes(data[begin + 8 : end - 4]))
            return _finished(builder) if len(builder) else builder.take()

        batch, size = bulk.read(data, _MAX_BLOCK, general)
        self._at += size
        self.position = start + size
        return batch

    def _general(self, builder: BatchBuilder, kind: int, body: bytes) -> bool:
        """Any one block; False where nothing behind it can be read."""
        if kind == INTERFACE:
            self._resolution.append(_resolution(body))
        elif kind == SECTION:
            try:
                self._begin_section(body)
            except BadFields as failure:
                self.notes.append(f"a section before byte {self.position}: {failure}; the rest was not read")
                return False
        else:
            try:
                if kind == JOURNAL:
                    self._journal(builder, body)
                elif kind == PACKET:
                    self._packet(builder, body)
            except (BadFields, struct.error) as failure:
                self._bad += 1
                if self._bad == 1:
                    self.notes.append(f"a block before byte {self.position} could not be read: {failure}")
        return True

    def _fill(self) -> bool:
        """More bytes, as many as there are at once; False at the end."""
        read = getattr(self._file, "read1", self._file.read)  # a pipe's writer may take its time
        more = read(PIECE)
        self._data, self._at = self._data[self._at :] + more, 0
        return bool(more)

    def _take(self, size: int) -> bytes:
        """The next bytes; fewer at the end."""
        while len(self._data) - self._at < size and self._fill():
            pass
        found = self._data[self._at : self._at + size]
        self._at += len(found)
        return found

    def _block(self) -> tuple[int, bytes] | None:
        """The next block's kind and body; None at the end, or where no block is."""
        start = self.position
        head = self._take(8)
        if not head:
            return None
        kind, length = struct.unpack("<II", head) if len(head) == 8 else (0, 0)
        if len(head) == 8 and not (12 <= length <= _MAX_BLOCK and length % 4 == 0):
            self.notes.append(f"damaged at byte {start}: a block of {length} bytes; the rest was not read")
            return None
        rest = self._take(length - 8) if length else b""
        if len(head) < 8 or len(rest) < length - 8:
            self.notes.append(f"cut off in the middle of a block at byte {start}; all before it was read")
            return None
        self.position += length
        return kind, rest[:-4]

    def _begin_section(self, body: bytes) -> None:
        if len(body) < 16 or struct.unpack_from("<I", body)[0] != MAGIC:
            raise BadFields("its byte order is not ours")
        self._resolution = []
        for code, value in _options(body, 16):
            if code == COMMENT and value.startswith(META.encode()):
                try:
                    self.meta = json.loads(value[len(META) :])
                except ValueError:
                    self.notes.append("the recording's own description is damaged")

    def _journal(self, builder: BatchBuilder, body: bytes) -> None:
        fields = from_journal(body)
        if PREFIX + "KIND" in fields:  # others are a real journal's, of no meaning here
            name, time, head, own = from_fields(fields)
            if isinstance(own.get("comm"), str):
                own["comm"] = own["comm"].encode()
            builder.add(name, time, own, **head)

    def _packet(self, builder: BatchBuilder, body: bytes) -> None:
        interface, high, low, caplen, wire_len = struct.unpack_from("<IIIII", body)
        raw = body[20 : 20 + caplen]
        comments = (value for code, value in _options(body, 20 + caplen + -caplen % 4) if code == COMMENT)
        ours = next((value for value in comments if value.startswith(META.encode())), None)
        if ours is None:
            tick = self._resolution[interface] if interface < len(self._resolution) else 1000
            own: dict[str, Any] = {"caplen": min(len(raw), MAX_HEADER_BYTES), "wire_len": wire_len}
            name, time = "packet:captured", (high << 32 | low) * tick
            head: dict[str, Any] = {}
        else:
            words = (word.partition("=") for word in ours[len(META) :].decode("utf-8", "replace").split())
            name, time, head, own = from_fields({key: value for key, _, value in words})
        own["raw"] = np.frombuffer(raw.ljust(MAX_HEADER_BYTES, b"\0")[:MAX_HEADER_BYTES], np.uint8)
        builder.add(name, time, own, **head)


def _finished(builder: BatchBuilder) -> Batch:
    batch = builder.take()
    for name in _PACKET_KINDS:
        if NUMBER[name] in batch.tables:
            decode(batch.tables[NUMBER[name]])
    return batch


def _options(body: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    while at + 4 <= len(body):
        code, length = struct.unpack_from("<HH", body, at)
        if code == 0:
            return
        yield code, body[at + 4 : at + 4 + length]
        at += 4 + length + -length % 4


def _resolution(body: bytes) -> int:
    """ns to a tick of the interface's clock; finer ones count as 1."""
    if len(body) >= 2 and struct.unpack_from("<H", body)[0] != LINKTYPE_RAW:
        return 1000
    for code, value in _options(body, 8):
        if code == IF_TSRESOL and value:
            per_second = 2 ** (value[0] & 127) if value[0] & 128 else 10 ** value[0]
            return int(max(1, 1_000_000_000 // per_second))
    return 1000
