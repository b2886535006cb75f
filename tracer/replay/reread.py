"""One connection's packets, read again: segments of a file in, events of that connection out.

A reader of blocks does not know connections, so those of one are picked out by addresses and ports. The same addresses
may have had other connections afterwards; an engine of its own, begun at the connection's first packet, tells which
segments are its own. What comes out is what a session would have put on the timeline: packets with their findings, and
the changes of state that follow from them, each with its connection, side and (inferred) end.

The changes are those that the catalogue has noted. They do not follow from the connection's own packets alone: a SYN
finds an end that still waits after the connection before, and the SYN of the next one ends a TIME_WAIT (RFC 9293
section 3.6.1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracer.batch import Batch
from tracer.identity import inferred_end
from tracer.kinds import Side
from tracer.replay.analysis import REUSED_PORTS
from tracer.replay.catalogue import Catalogue
from tracer.replay.engine import Replay
from tracer.replay.infer import Found, Pair
from tracer.replay.infer_events import STATE, StateEvents
from tracer.replay.infer_rows import UNSEEN, Change
from tracer.segments import SEGMENT

Array = NDArray[Any]


class Reread:
    """One connection of a catalogue. Feed it the blocks that hold packets of it, in order, each once."""

    def __init__(self, catalogue: Catalogue, number: int, to_batch: Callable[[Array], Batch]) -> None:
        """``number`` as on the timeline, from 1; ``to_batch`` makes events of segments."""
        self.number = number
        self.packets = 0
        """Packets of the connection so far."""
        self._to_batch = to_batch
        self._catalogue = catalogue
        self._row = catalogue.rows[number - 1].copy()
        self._ends = client, server = catalogue.ends(number - 1)
        self._replay, self._states = Replay(), StateEvents()
        turned = int(self._row["client_row"])
        points = (server, client) if turned else (client, server)
        self._pair = Pair(self._states.inference, 0, number, points, turned)
        self._changes: list[tuple[int, Change]] = []
        """Frame (0 for a timer) and change, of those that are still to come."""
        self._read = 0
        """How many of the catalogue's changes have been looked at."""

    def feed(self, segments: Array) -> Batch:
        """The events of the connection in a block; the segments may be of anybody."""
        mine = segments[self._between_us(segments)]
        found = self._replay.feed(mine)
        mine, found = mine[found["stream"] == 0], found[found["stream"] == 0]
        batch = self._to_batch(mine)
        if not len(mine):
            return batch
        table = next(iter(batch.tables.values()))
        table["analysis"] = found["findings"]
        if not self.packets and self._row["reused"]:
            table["analysis"][0] |= REUSED_PORTS
        self.packets += len(mine)
        return self._whose(self._states.insert(batch, self._found(mine["frame"], int(mine["time"].astype("u8").max()))))

    def finish(self) -> Batch:
        """What came after the connection's last packet: a TIME_WAIT that was over then, or ended by a SYN."""
        self._look()
        rest = [Found(-1, self._pair, change) for _, change in self._changes]
        self._changes = []
        return self._whose(self._states.insert(self._to_batch(np.zeros(0, SEGMENT)), rest))

    def _look(self) -> None:
        """Take over what the catalogue has noted since."""
        log, self._read = self._catalogue.changes(self.number - 1, self._read)
        log = log._replace(time=log.time.astype("u8"))  # as on the timeline: a damaged stamp may be beyond 2262
        for _, frame, time, row, old, new, certainty in zip(*(column.tolist() for column in log), strict=True):
            self._changes.append((frame, Change(time, row, old, new, UNSEEN, certainty)))

    def _found(self, frames: Array, now: int) -> list[Found]:
        """The changes up to the last of these frames of ours, at ``now`` (ns), by the frame that each goes behind."""
        self._look()
        last, count = int(frames[-1]), 0
        for frame, change in self._changes:
            if frame > last or (not frame and change.time > now):
                break
            count += 1
        due, self._changes = self._changes[:count], self._changes[count:]
        behind = np.searchsorted(frames, [frame for frame, _ in due], side="right") - 1
        return [Found(place, self._pair, change) for place, (_, change) in zip(behind.tolist(), due, strict=True)]

    def _between_us(self, segments: Array) -> NDArray[np.bool_]:
        ends = []
        for (hi, lo, port), way in zip((self._ends[0], self._ends[1]) * 2, ("src", "dst", "dst", "src"), strict=True):
            mine = segments["sport" if way == "src" else "dport"] == port
            ends.append(mine & (segments[f"{way}_lo"] == lo) & (segments[f"{way}_hi"] == hi))
        there, back = ends[0] & ends[1], ends[2] & ends[3]
        same: NDArray[np.bool_] = (there | back) & (segments["frame"] >= self._row["first_frame"])
        return same

    def _whose(self, batch: Batch) -> Batch:
        """Connection and side of each event, a packet's its sender's; states are of ends, as tracer.identity has it."""
        heads = batch.heads
        (hi, lo, port), _ = self._ends
        states = heads["kind"] == STATE
        for number, table in batch.tables.items():
            if number != STATE:
                mine = heads["kind"] == number
                rows = table[heads["row"][mine]]
                client = (rows["sport"] == port) & (rows["saddr"][:, 0] == hi) & (rows["saddr"][:, 1] == lo)
                heads["side"][mine] = np.where(client, Side.CLIENT, Side.SERVER)
        heads["conn"] = self.number
        for side in (Side.CLIENT, Side.SERVER):
            heads["sock"][states & (heads["side"] == side)] = inferred_end(self.number, side)
        return batch
