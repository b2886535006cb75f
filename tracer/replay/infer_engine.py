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
from tracer.replay.infer_rules import CORRECTED
from tracer.replay.infer_tables import FORGOTTEN
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
        found: list[Found] = []
        start = 0
        while self._fast is None and start < len(rows):
            self._consider(len(rows) - start)
            if self._fast is None:
                part = slice(start, start + CHUNK)
                found += super().feed(rows[part], streams[part], first + start)
                self._seen += len(rows[part])
                start += CHUNK
        if self._fast is not None and start < len(rows):
            found += self._told(self._fast.feed(rows[start:], streams[start:], first + start, 0).tolist())
        return found

    def follow(self, rows: NDArray[Any], streams: NDArray[Any], first: int = 0) -> list[Pair]:
        """As ``feed``, for who wants to know the lives only: the connections of which something is inferred at last."""
        found: list[Found] = []
        if self._fast is None:
            found = self.feed(rows, streams, first)
            return list({id(one.pair): one.pair for one in found if one.pair.number}.values())
        return self._followed(self._fast.feed(rows, streams, first, 0))

    def _followed(self, entries: NDArray[Any]) -> list[Pair]:
        """The changes of the log in the lives of pairs, and pairs that are new."""
        new: list[Pair] = []
        pairs = self._pairs
        columns = [entries[name].tolist() for name in ("stream", "time", "row", "old", "new", "trigger", "certainty")]
        for place, (stream, time, row, old, state, trigger, certainty) in enumerate(zip(*columns, strict=True)):
            pair = pairs.get(stream)
            if pair is None or trigger == FORGOTTEN:
                new += [one.pair for one in self._told(entries[place : place + 1].tolist()) if one.pair.number]
                continue
            life = pair.lives[row]
            states = life.states
            if certainty != CORRECTED and states and states[-1] == old:  # what ``Life.change`` does nearly always
                states.append(state)
                life.times.append(time)
            else:
                life.change(time, old, state, corrected=certainty == CORRECTED)
        return new

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
