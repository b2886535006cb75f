"""The engine: batches of segments in, one row of analysis for each and one row for each connection out.

All that is remembered between batches is in its tables, so a file read block by block and packets that arrive live go
the same way, and the division into batches changes nothing.

Plain Python analyses some hundred thousand segments a second; compiled by numba the same rules are twenty times as
fast, but the first compilation on a machine takes some seconds, and loading what was compiled some hundredths of one.
So a capture begins plain, and the compiled loop takes the tables over once ``WORTH`` segments were seen or announced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.replay import plain
from tracer.replay.analysis import ANALYSIS
from tracer.replay.compiled import CODE, CompiledTables
from tracer.replay.connections import CONNECTION, connection_rows

if TYPE_CHECKING:
    import subprocess

WORTH: Final = 100_000
"""Segments from which on the compiled loop is worth loading."""

CHUNK: Final = 16_384
"""Segments analysed as plain Python before it is asked again whether the compiled loop is there."""


class Replay:
    """Incremental analysis of TCP segments.

    ``feed`` takes rows of ``tracer.segments.SEGMENT`` in capture order and gives as many rows of ``ANALYSIS``;
    ``finished`` gives rows of ``CONNECTION`` for connections whose state was given up since the last call;
    ``connections`` those of all others, as they are now.

    ``expected`` is how many segments are going to come, where that is known: a large number has the compiled loop
    loaded at once. ``compiled`` True waits for it even if it must be compiled first, False does without it.
    """

    def __init__(self, expected: int = 0, *, compiled: bool | None = None) -> None:
        self._plain = plain.tables()
        self._fast: CompiledTables | None = None
        self._seen = 0
        self._expected = expected
        self._wanted = compiled
        self._compiler: subprocess.Popen[bytes] | None = None
        self._untold = np.zeros(0, CONNECTION)
        self.notice = ""
        """What the user may want to know about speed, once there is something to say."""

    def expect(self, segments: int) -> None:
        """So many segments are going to come in all, as far as can be told by now."""
        self._expected = max(self._expected, segments)

    def feed(self, segments: NDArray[Any]) -> NDArray[Any]:
        """Analyse the next segments; raises nothing whatever they are."""
        parts = []
        start = 0
        while self._fast is None and start < len(segments):
            self._consider(len(segments) - start)
            if self._fast is None:
                part = segments[start : start + CHUNK]
                parts.append(plain.run(self._plain, part))
                start += len(part)
                self._seen += len(part)
        if self._fast is not None:
            parts.append(self._fast.run(segments[start:]))
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.zeros(0, ANALYSIS)

    def _consider(self, coming: int) -> None:
        """Change to the compiled loop if that is worth it and it is there; else see that it will be."""
        if self._wanted is False or (self._wanted is None and max(self._seen + coming, self._expected) < WORTH):
            return
        if self._compiler is not None:
            ended = self._compiler.poll()
            if ended is None:
                return
            self._compiler = None
            if ended != 0 or CODE.load() is None:
                self._wanted = False
                self.notice = "compiling the analysis failed: it goes on as plain Python, about twenty times slower"
                return
        if CODE.load() is None and not self._wanted:
            self._compiler = CODE.aside()
        elif CODE.compile() is not None:
            self._fast = CompiledTables(self._plain)
            ended_before = self._plain
            self._plain = plain.tables()
            self._plain.ended_flows.extend(ended_before.ended_flows)
            self._plain.ended_directions.extend(ended_before.ended_directions)
        if self._compiler is None and self._fast is None:
            self._wanted = False
            self.notice = "numba is not installed: large captures take about twenty times as long (pip install numba)"

    @property
    def streams(self) -> int:
        """Connections seen so far."""
        return self._fast.streams if self._fast else self._plain.book[0].streams

    def finished(self, least: int = 1) -> NDArray[Any]:
        """Rows of ``CONNECTION`` for connections that gave up their state since the last call, in that order.

        None while there are fewer than ``least``: rows by the thousand are made faster than the same in dozens.
        """
        waiting = len(self._untold) + len(self._plain.ended_flows) + (self._fast.waiting if self._fast else 0)
        if waiting < least:
            return np.zeros(0, CONNECTION)
        rows = np.concatenate((self._untold, connection_rows(self._plain.ended_flows, self._plain.ended_directions)))
        self._untold = self._untold[:0]
        self._plain.ended_flows.clear()
        self._plain.ended_directions.clear()
        if self._fast:
            rows = np.concatenate((rows, connection_rows(*self._fast.ended())))
        return rows

    def tell_again(self, rows: NDArray[Any]) -> None:
        """Rows that ``finished`` gave and that nobody has looked at: it will give them once more."""
        self._untold = np.concatenate((self._untold, rows))

    def connections(self) -> NDArray[Any]:
        """Rows of ``CONNECTION`` for all connections whose state is kept, as they are now, by stream number."""
        return connection_rows(*(self._fast.kept() if self._fast else plain.kept(self._plain)))
