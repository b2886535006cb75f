"""A capture too large to be held, as the screen sees it: all connections at a glance, the packets of those looked at.

One thread reads. It goes through the file once and makes the catalogue of connections (tracer.replay.catalogue); the
connection that the screen asks for comes first, its packets read again from where the catalogue says that they are, or
kept as the first reading comes by them. So the overview grows while the file is read, one may look at any connection
that has been met, and memory is what the connections need, not what the packets would.
"""

from __future__ import annotations

import contextlib
import ipaddress
import threading
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.batch import BatchBuilder
from tracer.capture.events import CaptureSource, to_batch
from tracer.capture.reader import Capture, Place
from tracer.filter import compile_filter
from tracer.kinds import Evidence, Side, Source
from tracer.replay.catalogue import Catalogue
from tracer.replay.likely import likely
from tracer.replay.reread import Reread
from tracer.segments import V4_MAPPED
from tracer.states import as_state
from tracer.timeline import Timeline, address
from tui.connections import Connection, Life
from tui.doors import Door
from tui.feed import Probe

MOST: Final = 1_000_000
"""Packets of one connection that are read: 330 MB on the timeline."""
PATIENCE: Final = 2.0
"""Seconds for which reading waits, with something to show, for the screen to be there."""
KEPT: Final = 64
"""Connections whose rows in the overview are kept as they are."""


class Catalogued:
    """The catalogue as the overview reads it (tui.connections.Listing)."""

    behind = whole = alive = False

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._seen = 0
        self._made: dict[int, tuple[int, Connection]] = {}
        self.flow = catalogue.flow
        self.doors: Mapping[int, Door] = {}

    def __len__(self) -> int:
        return len(self._catalogue)

    def __getitem__(self, number: int) -> Connection:
        if not 1 <= number <= len(self):
            raise KeyError(number)
        packets = int(self._catalogue.rows["packets"][number - 1])
        known = self._made.get(number)
        if known is None or known[0] != packets:
            if len(self._made) >= KEPT:
                self._made.clear()
            known = self._made[number] = (packets, self._make(number))
        return known[1]

    def get(self, number: int) -> Connection | None:
        """The connection of that number, if it has been met."""
        return self[number] if 1 <= number <= len(self) else None

    @property
    def numbers(self) -> Sequence[int]:
        """Ascending."""
        return range(1, len(self) + 1)

    @property
    def known(self) -> Set[int]:
        """Numbers of all of them."""
        return _Numbers(len(self))

    @property
    def start(self) -> int:
        """ns of the first packet; 0 while there is none."""
        return int(self._catalogue.rows["first_time"][0]) if len(self) else 0

    @property
    def last_time(self) -> int:
        """ns, the latest moment read."""
        return self._catalogue.last_time

    def search(self, words: Sequence[str], most: int) -> list[int]:
        """Numbers of connections, at most so many, of which every word is the number, a port or a whole address."""
        rows = self._catalogue.rows
        meets = np.ones(len(rows), np.bool_)
        for word in words:
            with contextlib.suppress(ValueError):
                if word.lstrip("#").isdecimal():
                    number = int(word.lstrip("#"))
                    port = (not word.startswith("#")) & ((rows["cport"] == number) | (rows["sport"] == number))
                    meets &= (np.arange(1, len(rows) + 1) == number) | port
                    continue
                hi, lo = _halves(word)
                ends = [(rows[f"{end}_hi"] == hi) & (rows[f"{end}_lo"] == lo) for end in ("client", "server")]
                meets &= ends[0] | ends[1]
                continue
            return []
        found: list[int] = (np.flatnonzero(meets)[:most] + 1).tolist()
        return found

    def refresh(self) -> bool:
        """True when more has been read."""
        before, self._seen = self._seen, self._catalogue.blocks
        return self._seen != before

    def _make(self, number: int) -> Connection:
        stream = number - 1
        client, server = ((address(hi, lo), port) for hi, lo, port in self._catalogue.ends(stream))
        lives = {}
        for side, life in self._catalogue.lives(stream).items():
            inferred = [Evidence.INFERRED] * len(life.times)
            lives[side] = Life(life.times, [as_state(state) for state in life.states], inferred)
        first = int(self._catalogue.rows["first_time"][stream])
        troubles = (self._catalogue.troubles(stream, name) for name in ("reset", "loss"))
        return Connection(number, first, client, server, lives, *troubles)


def _halves(text: str) -> tuple[int, int]:
    """An address as two halves. Raises ValueError."""
    one = ipaddress.ip_address(text.strip("[]"))
    value = int(one) if one.version == 6 else V4_MAPPED | int(one)
    return value >> 64, value & (1 << 64) - 1


class _Numbers(Set[int]):
    """1 to a number, as a set."""

    def __init__(self, last: int) -> None:
        self._range = range(1, last + 1)

    def __contains__(self, number: object) -> bool:
        return number in self._range

    def __iter__(self) -> Iterator[int]:
        return iter(self._range)

    def __len__(self) -> int:
        return len(self._range)

    @classmethod
    def _from_iterable(cls, it: Any) -> Any:
        return set(it)


class _Open:
    """A connection being brought onto the timeline."""

    def __init__(self, catalogue: Catalogue, number: int) -> None:
        self.reread = Reread(catalogue, number, to_batch)
        self.done = 0
        """Blocks that have been looked at for it."""
        self.full = self.told = False


class LargeFeed:
    """A large capture being read (tui.feed.Feed)."""

    recording = None
    filter = ""
    play = None
    lost = 0

    def __init__(self, source: CaptureSource, expected: int = 0) -> None:
        self.timeline = Timeline()
        self.catalogue = Catalogue(expected)
        self.listing = Catalogued(self.catalogue)
        self.probes = [
            Probe("capture", True), Probe("kernel", False, "a capture holds packets; states are inferred"),
        ]  # fmt: skip
        self._progress: float | None = 0.0
        self._capture: Capture = source.capture
        self._blocks = source.capture.blocks()
        self._places: list[Place] = [source.capture.place]
        self._read = False
        self._opened: dict[int, _Open] = {}
        self._wanted = 0
        self._waken, self._shown = threading.Event(), threading.Event()
        self._stopping = False
        self._looks = 0
        self._reader: threading.Thread | None = None
        self.failure = ""
        """What kept a connection from being read again, in a sentence."""

    @property
    def written(self) -> int:
        """Packets read so far."""
        return self._capture.packets

    @property
    def finished(self) -> bool:
        """The file has been read, and the connection that is wanted is there."""
        return self._read and not self._missing()

    @property
    def progress(self) -> float | None:
        """Part of the file that has been read; None where that is not known or no longer of interest."""
        if len(self.timeline):
            self._looks += 1
            if self._looks > 1:
                self._shown.set()
        return self._progress

    def want(self, number: int) -> None:
        """The screen looks at this connection: it is to be on the timeline."""
        self._wanted = number
        self._waken.set()

    def likely(self, text: str) -> NDArray[np.int64]:
        """Numbers, ascending, of all connections that may have events that meet a filter. Raises FilterError."""
        found = likely(compile_filter(text, "events").node, self.catalogue)
        return np.arange(1, len(self.catalogue) + 1) if found is None else np.flatnonzero(found) + 1

    @property
    def visited(self) -> Set[int]:
        """Numbers of the connections of which all events have come."""
        return {number for number, opened in list(self._opened.items()) if opened.told}

    def _missing(self) -> bool:
        number = self._wanted
        if not 1 <= number <= len(self.catalogue):
            return False
        opened = self._opened.get(number)
        return opened is None or not opened.told

    # The thread that reads

    def read_behind(self) -> None:
        """Read in a thread of its own, while somebody looks at what is there already."""
        self._reader = threading.Thread(target=self.run, name="synfin-replay", daemon=True)
        self._reader.start()

    def close(self) -> None:
        """Stop reading."""
        self._stopping = True
        self._waken.set()
        self._shown.set()
        if self._reader is not None:
            self._reader.join()
        self._capture.close()

    def notes(self) -> Iterator[str]:
        """What could not be read, one sentence each."""
        yield from (str(note) for note in self._capture.notes)
        if self.failure:
            yield self.failure

    def run(self) -> None:
        """Read until ``close``."""
        while not self._stopping:
            if not self.advance():
                self._waken.wait()
                self._waken.clear()
            elif not self._shown.is_set() and len(self.timeline):
                self._shown.wait(PATIENCE)  # the first screen comes first: both would only hold each other up
                self._shown.set()

    def advance(self) -> bool:
        """Read a little more; False where there is nothing more to be read for now."""
        if self._bring():
            return True
        if self._read:
            return False
        self._step()
        return True

    def _step(self) -> None:
        """One more block of the file."""
        block = next(self._blocks, None)
        if block is None:
            self._progress = None
            self._read = True
            return
        if block.total and block.done:
            self.catalogue.expect(block.packets * block.total // block.done)
            self._progress = block.done / block.total
        number = self.catalogue.blocks
        streams = self.catalogue.feed(block.segments)
        self._places.append(self._capture.place)
        if not self._wanted and len(self.catalogue):
            self._wanted = 1
        opened = self._opened.get(self._wanted)
        if opened is not None and opened.done == number:  # no need to read it again
            mine = block.segments[streams == self._wanted - 1]
            if len(mine) and not opened.full:
                self._take(opened, mine)
            opened.done = number + 1

    def _bring(self) -> bool:
        """Bring the next block of the connection that is wanted; False where there is nothing to be brought."""
        number, blocks = self._wanted, self.catalogue.blocks
        if not self._missing() or not number:
            return False
        opened = self._opened.get(number)
        if opened is None:
            opened = self._opened[number] = _Open(self.catalogue, number)
        if opened.done < blocks and not opened.full:
            for block in _runs(self.catalogue.blocks_of(number - 1, opened.done)):
                self._bring_blocks(opened, *block)
                opened.done = block[1]
                if self._stopping or self._wanted != number or opened.full:
                    return True
            opened.done = blocks
            return True
        if self._read:
            if not opened.full:
                self.timeline.append(opened.reread.finish())
            opened.told = True
            return True
        return False

    def _bring_blocks(self, opened: _Open, first: int, stop: int) -> None:
        try:
            for segments in self._capture.from_place(self._places[first], self._places[stop].offset):
                self._take(opened, segments)
                if self._stopping or opened.full:
                    return
        except Exception as problem:  # the file is gone or has changed: say so, and go on with what there is
            self.failure = str(problem)
            opened.full = True
            self._note(opened, f"not read: {problem}")

    def _take(self, opened: _Open, segments: NDArray[Any]) -> None:
        batch = opened.reread.feed(segments)
        if len(batch):
            self.timeline.append(batch)
        if opened.reread.packets >= MOST:
            opened.full = True
            total = int(self.catalogue.rows["packets"][opened.reread.number - 1])
            self._note(opened, f"only the first {opened.reread.packets:,} packets are shown, of {total:,} or more")

    def _note(self, opened: _Open, text: str) -> None:
        builder = BatchBuilder(Source.TRACER, Evidence.REPORTED)
        number = opened.reread.number
        builder.add("trace:note", self.catalogue.last_time, {"text": text}, conn=number, side=Side.NONE)
        self.timeline.append(builder.take())


def _runs(blocks: NDArray[np.int64], most: int = 8) -> Iterator[tuple[int, int]]:
    """Numbers of blocks as runs (first, the one behind the last) that are read in one go, of at most so many."""
    first = stop = -1
    for block in blocks.tolist():
        if block == stop and stop - first < most:
            stop += 1
            continue
        if stop > first:
            yield first, stop
        first, stop = block, block + 1
    if stop > first:
        yield first, stop
