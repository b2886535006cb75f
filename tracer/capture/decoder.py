"""Decoding a batch: frames whose positions are known become rows, and what became of the others is counted.

The three forms give the same rows: machine code (``compiled``), numpy's columns (``columns``), and the plain loops
(``plain``), which exist to be compared with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tracer.capture.columns import Ints, extract_columns, locate_common
from tracer.capture.compiled import PLAIN, Kernels, compiled
from tracer.capture.fragments import Reassembler
from tracer.capture.layers import locate, locate_all
from tracer.capture.linktypes import link_name
from tracer.capture.outcomes import FRAGMENT, FRAGMENT_LOST, OUTCOMES, TCP, Notes
from tracer.capture.outcomes import LINK as LINK_UNKNOWN
from tracer.capture.rows import extract
from tracer.segments import SEGMENT

Form = Literal["plain", "columns", "compiled"]

_Whole = tuple[int, NDArray[Any]]
"""Index in the batch of the packet that completed a datagram, and the one row of the segment in it."""

MAX_NESTING: Final = 4
"""Reassembled datagrams inside reassembled datagrams."""


@dataclass(slots=True)
class Frames:
    """Packets of one batch, in order; all arrays have one item per packet."""

    start: Ints
    """Where each packet's bytes begin in the buffer."""
    caplen: Ints
    wire: Ints
    """Bytes it had on the wire."""
    link: Ints
    time: NDArray[np.int64]
    """ns since the epoch."""
    outcome: Ints
    """TCP (0) to decode it, else why not."""


class Decoder:
    """Turns batches of frames into rows; keeps fragments and counts from batch to batch."""

    def __init__(self, notes: Notes) -> None:
        self.form: Form = "columns"
        self.kernels: Kernels = PLAIN
        self._notes = notes
        self._reassembler = Reassembler()

    def use(self, form: Form, *, wait: bool = False) -> bool:
        """Change the form; False, and no change, where it is not to be had here (yet; ``wait`` waits for that)."""
        if form == "compiled":
            kernels = compiled(wait=wait)
            if kernels is None:
                return False
            self.kernels = kernels
        else:
            self.kernels = PLAIN
        self.form = form
        return True

    def decode(self, buf: bytearray, octets: NDArray[np.uint8], base: int, first: int, frames: Frames) -> NDArray[Any]:
        """Rows of the TCP segments among ``frames``.

        ``octets`` is ``buf`` as an array, ``base`` the stream offset of its first byte, ``first`` the number of the
        first packet.
        """
        count = len(frames.start)
        outcome = frames.outcome
        ip, stop = np.zeros(count, np.int64), np.zeros(count, np.int64)
        if self.form == "columns":
            rows = self._columns(buf, octets, base, first, frames, ip, stop)
        else:
            rows = np.empty(count, SEGMENT)
            memory: Any = octets if self.kernels.compiled else buf
            rows = rows[: self.kernels.decode_all(
                memory, base, first, frames.start, frames.caplen, frames.wire, frames.link, frames.time, outcome,
                ip, stop, rows,
            )]  # fmt: skip
        if len(rows) == count:  # nearly every frame of a large capture is a segment
            return rows
        segments = np.flatnonzero(outcome == TCP)
        whole = self._fragments(buf, base, first, frames, ip, stop) if (outcome == FRAGMENT).any() else []
        self._count(base, first, frames)
        return self._insert(rows, segments, whole, base, first, frames) if whole else rows

    def _columns(
        self, buf: bytearray, octets: NDArray[np.uint8], base: int, first: int, frames: Frames, ip: Ints, stop: Ints
    ) -> NDArray[Any]:
        cut = frames.start + frames.caplen
        end = frames.start + np.maximum(frames.wire, frames.caplen)
        found = frames.outcome, ip, np.zeros(len(cut), np.int64), stop
        todo = np.flatnonzero(frames.outcome == TCP)
        todo = locate_common(octets, frames.start, cut, end, frames.link, todo, *found)
        locate_all(buf, frames.start, cut, end, frames.link, todo, *found)
        which = np.flatnonzero(frames.outcome == TCP)
        rows = np.empty(len(which), SEGMENT)
        extract_columns(buf, octets, ip[which], found[2][which], stop[which], cut[which], rows)
        self._stamp(rows, which, base, first, frames)
        return rows

    @staticmethod
    def _stamp(rows: NDArray[Any], which: Ints, base: int, first: int, frames: Frames) -> None:
        """The columns that come from the record, not from the packet."""
        rows["time"] = frames.time[which]
        rows["frame"] = which + first
        rows["caplen"] = frames.caplen[which]
        rows["offset"] = frames.start[which] + base

    def _insert(
        self, rows: NDArray[Any], segments: Ints, whole: list[_Whole], base: int, first: int, frames: Frames
    ) -> NDArray[Any]:
        """``rows`` with those of reassembled datagrams in their places."""
        extra = np.concatenate([row for _, row in whole])
        where = np.array([index for index, _ in whole], np.int64)
        self._stamp(extra, where, base, first, frames)
        merged: NDArray[Any] = np.insert(rows, np.searchsorted(segments, where), extra)
        return merged

    def _fragments(
        self, buf: bytearray, base: int, first: int, frames: Frames, ip: Ints, stop: Ints
    ) -> list[_Whole]:
        """Hand the fragments over in order; (index of the packet, its row) for each that completed a segment."""
        done: list[_Whole] = []
        for index in np.flatnonzero(frames.outcome == FRAGMENT).tolist():
            frame, offset = first + index, base + int(frames.start[index])
            packet = bytes(buf[int(ip[index]) : int(stop[index])])
            code = FRAGMENT
            for _ in range(MAX_NESTING):
                datagram = self._reassembler.add(packet, frame, offset)
                if datagram is None:
                    break
                size = len(datagram)
                code, at, tcp, end = locate(datagram, 0, size, size, 101)
                if code == TCP:
                    row = np.empty(1, SEGMENT)
                    extract(datagram, at, tcp, end, size, row[0])
                    done.append((index, row))
                if code != FRAGMENT:
                    break
                packet = datagram[at:end]
            if code not in (TCP, FRAGMENT):
                self._notes.outcome(code, 1, frame, offset)
        self._tell_lost()
        return done

    def _tell_lost(self) -> None:
        for lost in self._reassembler.lost:
            self._notes.outcome(FRAGMENT_LOST, lost.pieces, lost.frame, lost.offset)
        self._reassembler.lost.clear()

    def _count(self, base: int, first: int, frames: Frames) -> None:
        """Note what is not a segment, by reason."""
        counts = np.bincount(frames.outcome)
        for code in np.flatnonzero(counts).tolist():
            index, count = int(np.argmax(frames.outcome == code)), int(counts[code])
            if code == LINK_UNKNOWN:
                self._count_links(base, first, frames)
            elif code in OUTCOMES:
                self._notes.outcome(code, count, first + index, base + int(frames.start[index]))

    def _count_links(self, base: int, first: int, frames: Frames) -> None:
        unknown = np.flatnonzero(frames.outcome == LINK_UNKNOWN)
        links, where, counts = np.unique(frames.link[unknown], return_index=True, return_counts=True)
        for link, index, count in zip(links.tolist(), unknown[where].tolist(), counts.tolist(), strict=True):
            offset = base + int(frames.start[index])
            self._notes.outcome(LINK_UNKNOWN, count, first + index, offset, link_name(link))

    def finish(self) -> None:
        """Note the fragments still waiting."""
        self._reassembler.finish()
        self._tell_lost()
