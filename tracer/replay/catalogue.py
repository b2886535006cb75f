"""The connections of a capture too large to be held: a row for each, and where in the file its packets are.

A packet on the timeline takes some hundred bytes, so ten million of them are gigabytes, and nobody looks at more than a
few connections. The catalogue keeps what an overview shows: who, when, how much, every change of state that the packets
tell, resets and losses. For each block of the file it keeps which connections have packets in it; reading those blocks
again gives a connection's packets (``tracer.replay.reread``). All goes through the compiled engine in columns.

Numbers are those of the timeline: streams count from 0, connections from 1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.flow import Column, Flow
from tracer.kinds import Certainty, Side
from tracer.replay.analysis import FAST_RETRANSMISSION, LOST_SEGMENT, RETRANSMISSION, REUSED_PORTS
from tracer.replay.engine import Replay
from tracer.replay.infer_engine import FastInference
from tracer.replay.infer_lives import Life
from tracer.replay.infer_tables import FORGOTTEN, Entry
from tracer.segments import ACK, RST, SYN

Array = NDArray[Any]

ROW: Final = np.dtype(
    [
        ("first_time", "i8"),  # ns since the Unix epoch
        ("last_time", "i8"),
        ("client_hi", "u8"),
        ("client_lo", "u8"),
        ("server_hi", "u8"),
        ("server_lo", "u8"),
        ("cport", "u2"),
        ("sport", "u2"),
        ("first_frame", "u4"),
        ("packets", "u4"),
        ("findings", "u4"),  # of all its packets together (tracer.replay.analysis)
        ("reused", "u1"),  # it began on the addresses and ports of an earlier connection
        ("client_row", "u1"),  # 0 where the client's address and port sort first, 1 where the server's do
        ("payload", "u8"),  # bytes of both directions, retransmissions included
    ],
    align=True,
)
"""numpy dtype of one connection. The client is who sent the first captured segment, unless that was a SYN-ACK."""

_ENDS: Final = (
    ("client_hi", "src_hi", "dst_hi"), ("client_lo", "src_lo", "dst_lo"), ("cport", "sport", "dport"),
    ("server_hi", "dst_hi", "src_hi"), ("server_lo", "dst_lo", "src_lo"), ("sport", "dport", "sport"),
)  # fmt: skip
"""Columns of a row, and those of the first segment: if the client sent it, if the server did."""
_LOSS: Final = RETRANSMISSION | FAST_RETRANSMISSION | LOST_SEGMENT


class Log(NamedTuple):
    """Columns of inferred changes of state."""

    stream: Array
    frame: Array
    """That of the segment which led to it, whosever it was; 0 for a timer."""
    time: Array
    row: Array
    old: Array
    new: Array
    certainty: Array


_LOGGED: Final = {"stream": "u4", "frame": "u4", "time": "i8", "row": "u1", "old": "u1", "new": "u1", "certainty": "u1"}
"""How they are kept."""


class _Changes(FastInference):
    """Inference that hands over its log as columns."""

    def __init__(self, expected: int) -> None:
        super().__init__(expected)
        self._entries: list[tuple[int, ...]] = []

    def log(self, rows: Array, streams: Array) -> Log:
        """What the next segments tell."""
        names = ("place", "stream", "time", "row", "old", "new", "trigger", "certainty")
        if self._fast is not None:
            found = self._fast.feed(rows, streams, 0, 0)
            return self._log({name: found[name] for name in names}, rows["frame"])
        self._entries = []
        self.feed(rows, streams)
        columns = np.array(self._entries, "i8").reshape(-1, len(names)).T
        return self._log(dict(zip(names, columns, strict=True)), rows["frame"])

    @staticmethod
    def _log(columns: dict[str, Array], frames: Array) -> Log:
        keep = columns["trigger"] != FORGOTTEN
        place = columns.pop("place")
        columns["frame"] = np.where(place < 0, 0, frames[place])
        return Log(*(columns[name][keep] for name in Log._fields))

    def _told(self, entries: Iterable[Entry]) -> list[Any]:
        """Plain or compiled, what is found comes by here: as entries of the log, of which no objects are made."""
        self._entries += [(entry[0], *entry[2:9]) for entry in entries]
        return []


_SIDES: Final[tuple[Literal["left"], Literal["right"]]] = ("left", "right")


class Catalogue:
    """Feed it all segments of a capture in order, block by block."""

    def __init__(self, expected: int = 0) -> None:
        """``expected``: how many segments are going to come, as far as can be told."""
        self.replay = Replay(expected)
        self._inference = _Changes(expected)
        self.flow = Flow()
        """Changes of all ends, resets and losses."""
        self.last_time = 0
        """ns, the latest moment seen."""
        self.blocks = 0
        """How many blocks have been fed."""
        self._rows: Array = np.zeros(1024, ROW)
        self._known = 0
        self._in_block, self._ends_of_block = Column("u4"), Column("i8")
        self._log = {name: Column(_LOGGED[name]) for name in Log._fields}
        self._by_stream: NDArray[np.intp] = np.zeros(0, np.intp)
        """Places in the log, by stream, where they have been put in order."""
        self._asked = -1
        """How long the log was when it was searched last."""
        self._troubles = {name: (Column("u4"), Column("i8")) for name in ("reset", "loss")}

    def __len__(self) -> int:
        """Connections so far."""
        return self._known

    @property
    def rows(self) -> Array:
        """Rows of ROW, by stream: a view."""
        return self._rows[: self._known]

    def expect(self, segments: int) -> None:
        """So many segments are going to come in all, as far as can be told by now."""
        self.replay.expect(segments)
        self._inference.expect(segments)

    def feed(self, segments: Array) -> Array:
        """The next block; the stream of each of its segments."""
        if len(segments):
            analysis = self.replay.feed(segments)
            streams = analysis["stream"]
            self._count(segments, streams, analysis["findings"])
            log = self._inference.log(segments, streams)
            for name, values in zip(Log._fields, log, strict=True):
                self._log[name].extend(values)
            self.flow.change(log.time, log.old, log.new)
        else:
            streams = np.zeros(0, "u4")
        self._ends_of_block.extend([len(self._in_block)])
        self.blocks += 1
        return streams

    def _count(self, segments: Array, streams: Array, findings: Array) -> None:
        there, firsts, counts = np.unique(streams, return_index=True, return_counts=True)
        self._in_block.extend(there)
        new = there >= self._known
        self._begin(segments[firsts[new]], there[new], findings[firsts[new]])
        rows = self._rows
        rows["packets"][there] += counts.astype("u4")
        rows["last_time"][streams] = segments["time"]  # of several the last one counts
        np.add.at(rows["payload"], streams, segments["length"])
        np.bitwise_or.at(rows["findings"], streams, findings)
        self.last_time = max(self.last_time, int(segments["time"].max()))
        wrong = {"reset": segments["flags"] & RST != 0, "loss": findings & np.uint32(_LOSS) != 0}
        for name, (whose, when) in self._troubles.items():
            whose.extend(streams[wrong[name]])
            when.extend(segments["time"][wrong[name]])
            self.flow.trouble(name, segments["time"][wrong[name]])

    def _begin(self, firsts: Array, streams: Array, findings: Array) -> None:
        if not len(streams):
            return
        need = int(streams[-1]) + 1
        if need > len(self._rows):
            grown = np.zeros(max(need, 2 * len(self._rows)), ROW)
            grown[: self._known] = self._rows[: self._known]
            self._rows = grown
        rows = np.zeros(len(streams), ROW)
        answers = firsts["flags"] & (SYN | ACK) == SYN | ACK
        for ours, asking, answering in _ENDS:
            rows[ours] = np.where(answers, firsts[answering], firsts[asking])
        rows["first_time"], rows["first_frame"] = firsts["time"], firsts["frame"]
        rows["reused"] = findings & np.uint32(REUSED_PORTS) != 0
        rows["client_row"] = [client > server for client, server in (self._both(row) for row in rows)]
        self._rows[streams] = rows
        self._known = need  # last: another thread may read

    @staticmethod
    def _both(row: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
        _, _, c_hi, c_lo, s_hi, s_lo, cport, sport, *_ = row.item()
        return (c_hi, c_lo, cport), (s_hi, s_lo, sport)

    # What is known of one connection

    def ends(self, stream: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Client and server of a connection: address (two halves) and port."""
        client, server = self._both(self._rows[stream])
        return (client[0], client[1], client[2]), (server[0], server[1], server[2])

    def changes(self, stream: int, begin: int = 0) -> tuple[Log, int]:
        """The connection's changes of state among those inferred from the ``begin``-th on, and how many those are."""
        count = len(self._log["certainty"])
        streams = self._log["stream"].values[:count]
        order = self._by_stream
        if count == self._asked and len(order) != count:  # nothing more seems to come: worth its time
            order = self._by_stream = np.argsort(streams, kind="stable")
        self._asked = count
        if len(order) == count:
            wanted = streams.dtype.type(stream)  # of another type, all of them would be copied
            low, high = (int(np.searchsorted(streams, wanted, side, sorter=order)) for side in _SIDES)
            mine = order[low:high][np.searchsorted(order[low:high], begin) :]
        else:
            mine = np.flatnonzero(streams[begin:] == stream) + begin
        return Log(*(self._log[name].values[mine] for name in Log._fields)), count

    def lives(self, stream: int) -> dict[Side, Life]:
        """The states of both ends, as far as anything was inferred."""
        lives: dict[Side, Life] = {}
        client = int(self._rows["client_row"][stream])
        log, _ = self.changes(stream)
        for _, _, time, row, old, new, certainty in zip(*(column.tolist() for column in log), strict=True):
            life = lives.setdefault(Side.CLIENT if row == client else Side.SERVER, Life())
            life.change(time, old, new, corrected=certainty == Certainty.CORRECTED)
        return lives

    def troubles(self, stream: int, name: str) -> list[int]:
        """Moments (ns) of the connection's resets ("reset") or losses ("loss")."""
        whose, when = self._troubles[name]
        count = len(when)
        found: list[int] = when.values[:count][whose.values[:count] == stream].tolist()
        return found

    def troubled(self, name: str) -> NDArray[Any]:
        """Streams with a reset ("reset") or a loss ("loss"), some of them more than once."""
        return self._troubles[name][0].values[: len(self._troubles[name][1])]

    def entered(self, states: Collection[int]) -> NDArray[Any]:
        """Streams of which an end came into one of these states, some of them more than once."""
        count = len(self._log["certainty"])
        return self._log["stream"].values[:count][np.isin(self._log["new"].values[:count], list(states))]

    def blocks_of(self, stream: int, begin: int = 0) -> NDArray[np.int64]:
        """Numbers of the blocks, from ``begin`` on, that hold packets of the connection, ascending."""
        ends = self._ends_of_block.values
        start = int(ends[begin - 1]) if begin else 0
        places = np.flatnonzero(self._in_block.values[start : int(ends[-1]) if len(ends) else 0] == stream) + start
        return np.searchsorted(ends, places, side="right")
