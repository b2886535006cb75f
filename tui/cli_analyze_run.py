"""One capture through the analysis, table by table: what `synfin analyze` writes, in bounded memory.

Blocks of segments go through the engine and, where states are wanted, through the inference; out come rows of
tracer.filter_rows. Packets and changes of state are handed on as they are found. A connection is handed on when the
engine gives its state up, the others at the end; what is remembered beside the engine is kept for as long as the engine
keeps the connection, and a few bytes for each one that has been.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.capture import Capture
from tracer.capture.decoder import Frames
from tracer.filter_keys import TableName
from tracer.filter_rows import CHANGE, Changes, Connections, Packets, Rows, changes
from tracer.kinds import Side
from tracer.replay import Replay, analysed
from tracer.replay.history import likely_responder
from tracer.replay.lived import LIVED, sided
from tui.cli_analyze_text import Info

if TYPE_CHECKING:
    from tracer.replay.infer import Found, Pair
    from tracer.replay.infer_engine import FastInference

Array = NDArray[Any]
Sieve = Callable[[NDArray[np.uint8], Frames], None]

SMALLEST: Final = 1600
"""Bytes of a file taken for a packet when guessing from its size whether it is worth compiling for: few are longer."""


MANY: Final = 2048
"""Connections told of together, where nobody waits for each."""

NOTHING: Final = Changes(np.zeros(0, CHANGE), 0)
"""No rows."""


class Read(NamedTuple):
    """What is known of a block of the capture when it was read."""

    wire: Array
    """Bytes of each packet on the wire, where packets are written."""
    latest: int
    """ns: the last moment seen so far."""
    done: int
    total: int | None
    packets: int


class Step(NamedTuple):
    """What a block of the capture gave."""

    rows: Rows
    done: int
    """Bytes of the file read so far."""
    total: int | None
    """Bytes of the file; None for a pipe."""
    packets: int
    """Packets of the file read so far."""


class Analysis:
    """One capture being analysed for one table."""

    def __init__(
        self, capture: Capture, table: TableName, *, infer: bool, collect: bool, size: int, sieve: Sieve | None = None
    ) -> None:
        """``infer``: work out the states of connections.

        ``collect``: note flags and findings of whole connections, for filters that ask. ``size``: bytes of the file,
        0 where that is not known.
        """
        self.replay = Replay(expected=size // SMALLEST)
        self._capture, self._table, self._sieve = capture, table, sieve
        wanted = table == "states" or (infer and table == "connections")
        self._inference = _inference(size // SMALLEST) if wanted else None
        self._collected = Collected() if collect else None
        self._sides = Sides()
        self._info = Info()
        self._live = size == 0
        self._pairs: dict[int, Pair] = {}
        self._count = 0
        self._start: int | None = None
        self._latest = 0
        self._wire: tuple[int, Array] = (1, np.zeros(0, np.int64))
        self._last = 0
        self._read: deque[Read] = deque()
        """What is known of blocks that were read and wait for their analysis."""
        if table == "packets" or sieve is not None:
            capture.watch = self._look

    def steps(self) -> Generator[Step, None, None]:
        """Read and analyse to the end. Raises CaptureError only where the operating system cannot read."""
        blocks = self._blocks()
        # A pipe may be live: what has come is to be shown now, not when more has come.
        one = ((rows, self.replay.feed(rows), self.replay.finished()) for rows in blocks)
        both = one if self._live else analysed(self.replay, blocks, MANY)
        done, total, packets = 0, None, 0
        for segments, analysis, gone in both:
            wire, self._latest, done, total, packets = self._read.popleft()
            if self._inference is not None and total and done:
                self._inference.expect(packets * total // done)
            yield Step(self._rows(segments, analysis, gone, wire) if len(segments) else NOTHING, done, total, packets)
        yield Step(self.rest(), done, total, packets)

    def rest(self) -> Rows:
        """What is told at the end, or when reading is broken off: the connections that were not told of yet."""
        if self._table == "connections":
            return self._connections(np.concatenate((self.replay.finished(), self.replay.connections())))
        return NOTHING

    def _blocks(self) -> Iterator[Array]:
        for block in self._capture.blocks():
            first, wire = self._wire
            segments = block.segments
            wire = wire[segments["frame"] - first] if self._table == "packets" else wire[:0]
            if self._inference is not None and len(segments):
                self._last = max(self._last, int(segments["time"].max()))
            if block.total and block.done:
                self.replay.expect(block.packets * block.total // block.done)
            self._read.append(Read(wire, self._last, block.done, block.total, block.packets))
            yield segments

    def _look(self, octets: NDArray[np.uint8], frames: Frames) -> None:
        self._wire = (self._capture.packets + 1, np.maximum(frames.wire, frames.caplen))
        if self._sieve is not None:
            self._sieve(octets, frames)

    def _rows(self, segments: Array, analysis: Array, gone: Array, wire: Array) -> Rows:
        if self._start is None:
            self._start = int(segments["time"][0])
        first, self._count = self._count, self._count + len(segments)
        found = self._judge(segments, analysis, first)
        if self._collected is not None:
            self._collected.add(segments, analysis)
        rows: Rows
        if self._table == "packets":
            side = self._sides.of(segments, analysis)
            rows = Packets(segments, analysis, wire, side, self._start, info=self._info.lines)
            _ = rows["text"] if self._info.wanted else None  # sequence numbers count from what was seen: all must be
            self._info.forget(gone["stream"].tolist())
        elif self._table == "states":
            rows = Changes(changes(found, segments["frame"], first), self._start)
            self._forget(gone)
        else:
            rows = self._connections(gone)
        return rows

    @property
    def info(self) -> Info:
        """The writer of Info columns; set ``wanted`` before the first step."""
        return self._info

    def _judge(self, segments: Array, analysis: Array, first: int) -> list[Found]:
        if self._inference is None:
            return []
        if self._table == "connections":
            self._inference.follow(segments, analysis["stream"], first)
            return []
        found = self._inference.feed(segments, analysis["stream"], first)
        places: dict[int, int] = {}
        for one in found:
            pair = one.pair
            if one.place < 0 or pair.stream in self._pairs:
                continue
            if not places:
                streams, firsts = np.unique(analysis["stream"], return_index=True)
                places = dict(zip(streams.tolist(), firsts.tolist(), strict=True))
            begin = segments[places[pair.stream]] if pair.stream in places else None
            if begin is not None:  # both parts of the analysis are to agree on who the client is
                source = (int(begin["src_hi"]), int(begin["src_lo"]), int(begin["sport"]))
                sender = 0 if pair.points[0] == source else 1
                flipped = likely_responder(source[2], int(begin["dport"]), int(begin["flags"]))
                pair.client = 1 - sender if flipped else sender
            self._pairs[pair.stream] = pair
        return found

    def _forget(self, gone: Array) -> None:
        for stream in gone["stream"].tolist():
            self._pairs.pop(stream, None)

    def _connections(self, rows: Array) -> Connections:
        if self._inference is not None:
            lived = self._inference.lived(rows["stream"], rows["last_time"], self._latest)
            lived = sided(lived, _client_is_second(rows))
        else:
            lived = np.zeros(len(rows), LIVED)
        none = np.zeros(len(rows), np.int64)
        findings, flags = self._collected.of(rows["stream"]) if self._collected is not None else (none, none)
        return Connections(rows, findings, flags, lived, self._start or 0)


def _inference(expected: int) -> FastInference:
    from tracer.replay.infer_engine import FastInference  # a tenth of a start-up, which --no-states does without

    return FastInference(expected=expected)


def _client_is_second(rows: Array) -> NDArray[np.bool_]:
    """Whether the client is the end whose address and port sort second."""
    second, same = np.zeros(len(rows), np.bool_), np.ones(len(rows), np.bool_)
    for source, target in (("sport", "dport"), ("src_lo", "dst_lo"), ("src_hi", "dst_hi")):  # the last decides
        equal = rows[source] == rows[target]
        second = np.where(equal, second, rows[source] > rows[target])
        same &= equal
    found: NDArray[np.bool_] = (second ^ (rows["flipped"] > 0)) & ~same
    return found


class Sides:
    """Which side sends: the client is who sent the first captured segment, unless that looks like an answer."""

    def __init__(self) -> None:
        self._flipped = np.zeros(1024, np.uint8)
        """By stream."""
        self._known = 0

    def of(self, segments: Array, analysis: Array) -> Array:
        """tracer.kinds.Side of the sender of each segment."""
        streams = analysis["stream"]
        if int(streams.max()) >= self._known:
            new, firsts = np.unique(streams, return_index=True)
            self._flipped = _room(self._flipped, int(new[-1]) + 1)
            for stream, place in zip(new.tolist(), firsts.tolist(), strict=True):
                if stream >= self._known:
                    one = segments[place]
                    self._flipped[stream] = likely_responder(int(one["sport"]), int(one["dport"]), int(one["flags"]))
            self._known = int(new[-1]) + 1
        return np.where(analysis["direction"] ^ self._flipped[streams], Side.SERVER, Side.CLIENT)


class Collected:
    """Flags and findings of all packets of a connection together, by stream."""

    def __init__(self) -> None:
        self._findings = np.zeros(1024, np.uint32)
        self._flags = np.zeros(1024, np.uint16)

    def add(self, segments: Array, analysis: Array) -> None:
        """Note some packets."""
        streams = analysis["stream"]
        room = int(streams.max()) + 1
        self._findings, self._flags = _room(self._findings, room), _room(self._flags, room)
        np.bitwise_or.at(self._findings, streams, analysis["findings"])
        np.bitwise_or.at(self._flags, streams, segments["flags"])

    def of(self, streams: Array) -> tuple[Array, Array]:
        """Findings and flags of connections."""
        return self._findings[streams], self._flags[streams]


def _room(column: Array, count: int) -> Array:
    """The column, long enough for ``count`` items."""
    if count <= len(column):
        return column
    grown = np.zeros(max(count, 2 * len(column)), column.dtype)
    grown[: len(column)] = column
    return grown
