"""Inference for captures of any size: plain Python at first, compiled once it is worth it.

As in ``engine``: a capture begins plain, and the compiled loop takes the rows over once enough segments have been seen
or announced. Where it must be compiled first, a child process does that meanwhile.
"""

from __future__ import annotations

import subprocess
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.replay.engine import CHUNK, WORTH
from tracer.replay.infer import Ending, Found, Inference, Pair
from tracer.replay.infer_compiled import CODE, CompiledRows
from tracer.replay.infer_rows import UNSEEN
from tracer.replay.infer_rules import CERTAIN
from tracer.replay.infer_tables import FORGOTTEN
from tracer.replay.life_rows import Lives, summary
from tracer.replay.lived import LIVED
from tracer.segments import SEGMENT

_NONE: Final = (np.zeros(0, SEGMENT), np.zeros(0, np.uint32))


class FastInference(Inference):
    """Infers states of segments that come in batches; the same changes as ``Inference`` finds.

    ``expected`` and ``compiled`` are as in ``engine.Replay``, which also tells the user where numba is missing.
    """

    def __init__(self, expected: int = 0, *, compiled: bool | None = None) -> None:
        super().__init__()
        self._fast: CompiledRows | None = None
        self._expected, self._wanted = expected, compiled
        self._seen = 0
        self._compiler: subprocess.Popen[bytes] | None = None
        self._lives = Lives()
        self._followed: dict[int, Pair] = {}
        """Plain: by stream, those that are not told of yet."""

    def expect(self, segments: int) -> None:
        """So many segments are going to come in all, as far as can be told by now."""
        self._expected = max(self._expected, segments)

    def __len__(self) -> int:
        """Connections remembered."""
        return self._fast.kept if self._fast else super().__len__()

    def ends(self, number: int) -> tuple[Ending, Ending]:
        """Both ends of the connection with these rows."""
        if self._fast is None:
            return super().ends(number)
        one, other = self._fast.ends(number)
        return Ending(*one), Ending(*other)

    def feed(self, rows: NDArray[Any], streams: NDArray[Any], first: int = 0) -> list[Found]:
        """Judge rows of SEGMENT that belong to the connections ``streams``; ``first`` is the index of the first row."""
        start, found = self._plainly(rows, streams, first)
        if self._fast is not None and start < len(rows):
            found += self._told(self._fast.feed(rows[start:], streams[start:], first + start, 0).tolist())
        return found

    def follow(self, rows: NDArray[Any], streams: NDArray[Any], first: int = 0) -> None:
        """As ``feed``, for who wants to know no more than what ``lived`` tells. Either this or ``feed`` is used."""
        start, found = self._plainly(rows, streams, first)
        for one in found:
            pair, change = one.pair, one.change
            if pair.number:
                if not pair.told:
                    self._followed[pair.stream] = pair
                continue
            before = self._followed.get(pair.stream)  # given up, and this was its last timer
            if before is not None and before.left is not None:
                before.lives[change.row].change(change.time, change.old, change.new)
                ends = list(before.left)
                ends[change.row] = Ending(change.new, change.certainty)
                before.leave((ends[0], ends[1]))
        if self._fast is not None:
            if self._followed or self._pairs:
                self._hand_over(self._fast)
            self._fast.follow(self._lives, rows[start:], streams[start:], first + start)

    def lived(self, streams: NDArray[Any], lasts: NDArray[Any], until: int) -> NDArray[Any]:
        """Rows of life_rows.LIVED for connections that were followed, each of which is told of once.

        ``lasts``: when each was heard of last (ns), up to which its last state lasted; TIME_WAIT lasts up to ``until``.
        """
        if self._fast is not None:
            return self._fast.tell(self._lives, streams, lasts, until)
        rows = np.zeros(len(streams), LIVED)
        for number, (stream, last) in enumerate(zip(streams.tolist(), lasts.tolist(), strict=True)):
            pair = self._followed.pop(stream, None)
            if pair is not None:
                pair.told = True
                row = rows[number]
                row["state"], row["certainty"] = zip(*pair.ends, strict=True)
                row["count"], row["which"], row["spent"] = summary(pair.lives, last, until)
        return rows

    def _plainly(self, rows: NDArray[Any], streams: NDArray[Any], first: int) -> tuple[int, list[Found]]:
        """Judge rows as plain Python for as long as it is not worth more: how many, and what was found."""
        found: list[Found] = []
        start = 0
        while self._fast is None and start < len(rows):
            self._consider(len(rows) - start)
            if self._fast is None:
                part = slice(start, start + CHUNK)
                found += super().feed(rows[part], streams[part], first + start)
                self._seen += len(rows[part])
                start += CHUNK
        return start, found

    def _hand_over(self, fast: CompiledRows) -> None:
        """Put the lives of pairs where the compiled functions keep theirs, as a log that brings them about."""
        pairs = {id(pair): pair for pair in (*self._followed.values(), *self._pairs.values())}.values()
        log: list[tuple[int, ...]] = []
        for pair in pairs:
            head, nowhere = (-1, pair.number, pair.stream), (0,) * 7
            for row, life in enumerate(pair.lives):
                steps = zip(life.times[1:], life.states, life.states[1:], strict=False)
                log += [(*head, time, row, old, new, UNSEEN, CERTAIN, *nowhere) for time, old, new in steps]
            if pair.left is not None:
                one, other = pair.left
                both = one.certainty | other.certainty << 2
                log.append((*head, 0, 0, one.state, other.state, FORGOTTEN, both, *nowhere))
        fast.take_over(self._lives, log)
        told = np.array([pair.stream for pair in pairs if pair.told], np.uint32)
        fast.tell(self._lives, told, np.zeros(len(told), np.int64), 0)
        self._followed.clear()
        self._pairs.clear()

    def advance(self, now: int) -> list[Found]:
        """Let time pass: the changes of timers that run out up to ``now`` (ns), oldest first."""
        if self._fast is None:
            return super().advance(now)
        return self._told(self._fast.feed(*_NONE, 0, now).tolist())

    def _consider(self, coming: int) -> None:
        """Go on with the compiled loop if that is worth it and it is there."""
        if self._wanted is False or (self._wanted is None and max(self._seen + coming, self._expected) < WORTH):
            return
        if self._compiler is not None:
            ended = self._compiler.poll()
            if ended is None:
                return
            self._compiler = None
            if ended != 0 or CODE.load() is None:
                self._wanted = False
                return
        if CODE.load() is None and not self._wanted:
            self._compiler = CODE.aside()
        elif CODE.compile() is not None:
            self._fast = CompiledRows(self._tables)
        if self._compiler is None and self._fast is None:
            self._wanted = False
