"""Reading a capture: from a file or a pipe to blocks of decoded TCP segments, in capture order.

A capture is a run of records (pcap) or blocks (pcapng). One buffer is filled, record boundaries are found in it, their
fields are fetched for all at once, the frames are decoded to rows; then the next fill. Memory does not grow with the
file. What cannot be read never raises once the header was understood: reading keeps what it has, stops or goes on as
the format allows, and says so in ``notes``.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.capture import pcap
from tracer.capture.blocks import Block, Frame, Journal
from tracer.capture.compiled import CODE
from tracer.capture.decoder import Decoder, Form, Frames
from tracer.capture.described import Described
from tracer.capture.outcomes import LEFT_OUT, NO_TIME, Notes
from tracer.capture.pcapng import Interface, Order, Section, packet_interface
from tracer.capture.records import pcap_frames, pcap_frames_compiled, pcapng_frames
from tracer.capture.source import ByteSource, CaptureError, Readable, looks_like
from tracer.capture.walk import (
    BAD_LENGTH,
    BAD_TRAILER,
    DSB,
    EPB,
    INTERFACE,
    ISB,
    JOURNAL,
    MORE,
    NRB,
    PB,
    SECTION,
    SPB,
    TOO_LONG,
)
from tracer.capture.window import BLOCK, LARGEST, Window
from tracer.segments import SEGMENT

if TYPE_CHECKING:
    import subprocess

COMPILE_FROM: Final = 100_000
"""Packets from which the compiled form pays."""
BATCH: Final = 16_384
"""Records decoded at a time: their rows still fit a processor's cache."""

_PCAPNG_MAGIC: Final = b"\x0a\x0d\x0d\x0a"
_QUIET_BLOCKS: Final = frozenset((NRB, ISB, DSB))


def open_capture(target: str | os.PathLike[str] | Readable, form: Form | None = None) -> Capture:
    """Open a capture: a path, ``-`` for standard input, or a binary object with ``read``.

    ``form`` forces one way of decoding (decoder.py); None takes numba for large captures where it is installed.

    Raises:
        CaptureError: in one sentence, why nothing of it can be read.
    """
    return Capture(ByteSource(target), form)


class Place(NamedTuple):
    """How far reading is, to be taken up there again (``Capture.from_place``)."""

    offset: int
    """Of the next record, in the unpacked stream."""
    packets: int
    sections: int
    interfaces: int
    first_interface: int
    order: Order


class Capture:
    """An open capture: iterate ``blocks()`` once, then ask for what it says about itself."""

    def __init__(self, source: ByteSource, form: Form | None = None, block: int = BLOCK) -> None:
        """Read the header. ``open_capture`` is the usual way in; ``block`` is the buffer's size in bytes."""
        self._source = source
        self.name = source.name
        """As given; untrusted text."""
        self.compression = source.compression
        """gzip, xz, bzip2, zstd or None."""
        self.notes = Notes()
        """What did not become a row and why; grows while reading."""
        self.packets = 0
        """Packets read so far."""
        self.watch: Callable[[NDArray[np.uint8], Frames], None] | None = None
        """Called with the bytes and positions of each block's frames before they are decoded: it may look at what rows
        do not hold, and set the outcome of frames that are not wanted to FILTERED."""
        self._described = Described()
        self._window = Window(source, block)
        self._decoder = Decoder(self.notes)
        if form is not None and not self._decoder.use(form, wait=True):
            raise CaptureError(f"numba is not installed, so captures cannot be decoded in the form {form!r}")
        self._decided = form is not None
        self._compiler: subprocess.Popen[bytes] | None = None
        self._found = np.empty(BATCH, np.int64)
        self._kinds = np.empty(BATCH, np.int64)
        self._ended = False
        try:
            self._read_header()
        except CaptureError:
            source.close()
            raise

    @property
    def sections(self) -> list[Section]:
        """Every section so far; a pcap file is one."""
        return self._described.sections

    @property
    def interfaces(self) -> list[Interface]:
        """Every interface described so far, of all sections."""
        return self._described.interfaces

    @property
    def _order(self) -> Order:
        return self._described.order

    @property
    def form(self) -> Form:
        """The way of decoding now in use."""
        return self._decoder.form

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    # The header

    def _read_header(self) -> None:
        window = self._window
        window.need(4)
        head = bytes(window.buf[: window.end])
        if head[:4] == _PCAPNG_MAGIC:
            self.format: Literal["pcap", "pcapng"] = "pcapng"
            problem = self._described.read_section(window)
            if problem:
                raise CaptureError(f"{self.name}: {problem}")
            return
        if head[:4] not in pcap.MAGIC:
            inside = f", {self.compression}-compressed," if self.compression else ""
            broken = f" ({self._source.damage})" if self._source.damage else ""
            raise CaptureError(
                f"{self.name}{inside} is not a pcap or pcapng capture: it looks like {looks_like(head[:32])}{broken}"
                if head
                else f"{self.name}{inside} holds no bytes{broken}"
            )
        self.format = "pcap"
        if not window.need(pcap.HEADER):
            raise CaptureError(f"{self.name} ends inside its file header ({window.end} of {pcap.HEADER} bytes)")
        found = pcap.read_header(bytes(window.buf[: pcap.HEADER]), LARGEST)
        self._described.order, self._record, self._limit = found.section.order, found.record, found.limit
        self.sections.append(found.section)
        self.interfaces.append(found.interface)
        window.at = pcap.HEADER

    # The records

    def blocks(self) -> Iterator[Block]:
        """Read on, block by block; each is handed out as soon as its bytes have come.

        May be left and taken up again by another call. Raises CaptureError only when the operating system cannot read.
        """
        step = self._step_pcap if self.format == "pcap" else self._step_pcapng
        while not self._ended:
            block = step()
            if block is not None:
                yield block
                self._decide()

    @property
    def place(self) -> Place:
        """How far reading is: before the next block, where one has just been handed out."""
        told = self._described
        counts = len(told.sections), len(told.interfaces), told.first_interface
        return Place(self._window.offset, self.packets, *counts, told.order)

    def from_place(self, place: Place, until: int) -> Iterator[NDArray[Any]]:
        """Segments from an earlier place on, up to the offset ``until``; what is being read is not disturbed.

        A fragment whose datagram began before the place is not made whole. Raises CaptureError, besides, where the
        file cannot be read twice.
        """
        again = copy.copy(self)
        again._source = self._source.reopened(place.offset)
        again._window = Window(again._source)
        again._window.base = place.offset
        again.notes, again.watch = Notes(), None
        again._decoder = Decoder(again.notes)
        again._decoder.use(self.form, wait=False)
        again._found, again._kinds = np.empty(BATCH, np.int64), np.empty(BATCH, np.int64)
        again._described, again.packets = self._described.until(place), place.packets
        again._ended, again._decided = False, True
        try:
            for block in again.blocks():
                yield block.segments[block.segments["offset"] < until]
                if again._window.offset >= until:
                    return
        finally:
            again.close()

    def _decide(self) -> None:
        """Take the compiled form once the capture turns out to be large, and the form is there."""
        if self._decided or (self._compiler is not None and self._compiler.poll() is None):
            return
        expected = float(self.packets)
        if self._source.total and self._source.done:
            read = self._source.done
            if self.compression is None:
                read = self._window.offset
            expected = self.packets * self._source.total / max(read, 1)
        if expected >= COMPILE_FROM:
            self._decided = self._decoder.use("compiled") or self._compiler is not None
            if not self._decided:
                self._compiler = CODE.aside()
                self._decided = self._compiler is None

    def _end(self, problem: str = "") -> None:
        """Reading is over, at a problem or at the end of the stream."""
        self._ended = True
        if problem:
            self.notes.add("ended", problem, offset=self._window.offset)
        if self._source.damage:
            self.notes.add("ended", f"the compressed stream is damaged: {self._source.damage}",
                           offset=self._window.base + self._window.end)  # fmt: skip
        self._decoder.finish()

    def _fill(self, what: str) -> None:
        """Get more bytes, or end."""
        window = self._window
        if not window.fill():
            left = window.end - window.at
            self._end(f"the file ends inside a {what} ({left} bytes of it are there)" if left else "")

    def _step_pcap(self) -> Block | None:
        window = self._window
        count, after, why = self._decoder.kernels.walk_pcap(
            self._memory(), window.at, window.end, self._record, self._order == "little", self._limit, self._found
        )
        block = self._decode_pcap(self._found[:count]) if count else None
        window.at = after
        if why == MORE:
            if block is None:
                self._fill("packet record")
        elif why == TOO_LONG:
            size = int.from_bytes(window.buf[after + 8 : after + 12], self._order)
            self._end(f"the packet record claims {size} captured bytes")
        return block

    def _memory(self) -> Any:
        """The buffer as the loops in use want it."""
        return self._window.octets if self._decoder.form == "compiled" else self._window.buf

    def _decode_pcap(self, found: NDArray[np.int64]) -> Block:
        place = self._window.octets, found, self._record, self._order, self.interfaces[0]
        kernels = self._decoder.kernels
        return self._decode(pcap_frames_compiled(kernels, *place) if kernels.compiled else pcap_frames(*place), [])

    def _decode(self, frames: Frames, journals: list[Journal]) -> Block:
        window = self._window
        if self.watch is not None:
            self.watch(window.octets, frames)
        rows = self._decoder.decode(window.buf, window.octets, window.base, self.packets + 1, frames)
        self.packets += len(frames.start)
        return self._block(rows, journals)

    def _block(self, rows: NDArray[Any], journals: list[Journal]) -> Block:
        return Block(rows, journals, self.packets, self._source.done, self._source.total)

    def _step_pcapng(self) -> Block | None:
        window = self._window
        count, after, why = self._decoder.kernels.walk_pcapng(
            self._memory(), window.at, window.end, self._order == "little", LARGEST, self._found, self._kinds
        )
        block = self._decode_pcapng(self._found[:count], self._kinds[:count]) if count else None
        window.at = after
        if why == MORE:
            if block is None:
                self._fill("block")
        elif why == SECTION:
            if problem := self._described.read_section(window):
                self._end(problem)
        elif why == INTERFACE:
            if problem := self._described.read_interface(window):
                self._end(problem)
        elif why == TOO_LONG:
            self._skip_large()
        elif why == BAD_LENGTH:
            self._end("a block's length is impossible")
        elif why == BAD_TRAILER:
            self._end("a block's two lengths differ")
        return block

    def _skip_large(self) -> None:
        """A block larger than any packet: passed over, if it is of a kind that would be passed over anyway."""
        window = self._window
        kind, size = (int.from_bytes(window.buf[window.at + i : window.at + i + 4], self._order) for i in (0, 4))
        if kind in (EPB, SPB, PB, JOURNAL):
            self._end(f"a block of type {kind} claims {size} bytes")
            return
        self.notes.add(LEFT_OUT, f"a block of type {kind} of {size} bytes", offset=window.offset)
        if not window.skip(size):
            self._end("the file ends inside a large block")

    def _decode_pcapng(self, found: NDArray[np.int64], kinds: NDArray[np.int64]) -> Block | None:
        window = self._window
        is_packet = (kinds == EPB) | (kinds == PB) | (kinds == SPB)
        packets_before = self.packets + np.cumsum(is_packet) - is_packet
        journals = [
            self._journal(int(found[index]), int(packets_before[index]))
            for index in np.flatnonzero(kinds == JOURNAL).tolist()
        ]
        for kind in np.unique(kinds[~is_packet]).tolist():
            if kind not in _QUIET_BLOCKS and kind != JOURNAL:
                which = np.flatnonzero(kinds == kind)
                where = window.base + int(found[which[0]])
                self.notes.add("other", f"blocks of type {kind:#x}, passed over", len(which), offset=where)
        if not is_packet.any():
            return self._block(np.empty(0, SEGMENT), journals) if journals else None
        if (simple := kinds == SPB).any():
            index = int(np.argmax(simple))
            frame, where = int(packets_before[index]) + 1, window.base + int(found[index])
            self.notes.outcome(NO_TIME, int(simple.sum()), frame, where)
        described = self.interfaces[self._described.first_interface :]
        frames = pcapng_frames(window.octets, found[is_packet], kinds[is_packet], self._order, described)
        return self._decode(frames, journals)

    def _journal(self, where: int, packets: int) -> Journal:
        window = self._window
        size = int.from_bytes(window.buf[where + 4 : where + 8], self._order)
        data = bytes(window.buf[where + 8 : where + size - 4]).rstrip(b"\0")
        return Journal(packets, window.base + where, data)

    def frame(self, offset: int, caplen: int) -> Frame:
        """The captured bytes of the packet at ``offset`` (SEGMENT's offset and caplen), read from the file again.

        A compressed file is unpacked again up to there.

        Raises:
            CaptureError: the capture came through a pipe, or the file is no longer what it was.
        """
        lead = min(28, offset)
        data = self._source.again(offset - lead, lead + caplen)
        number = 0
        section = max(i for i, section in enumerate(self.sections) if section.offset <= offset)
        if self.format == "pcapng":
            number = packet_interface(data[:lead], self.sections[section].order)
        for interface in self.interfaces:
            if interface.section == section and interface.number == number:
                return Frame(data[lead:], interface.link_type, interface)
        raise CaptureError(f"{self.name} does not describe the interface of the packet at offset {offset}")

    def frame_bytes(self, offset: int, caplen: int) -> bytes:
        """The bytes of ``frame``."""
        return self.frame(offset, caplen).data
