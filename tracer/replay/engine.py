"""The engine: batches of segments in, one row of analysis for each and one row for each connection out.

All that is remembered between batches is in its tables, so a file read block by block and packets that arrive live go
the same way, and the division into batches changes nothing.

Plain Python analyses some hundred thousand segments a second; compiled by numba the same rules are twenty times as fast,
but importing numba takes a quarter of a second and the first compilation on a machine some seconds. So a capture begins
plain, and the compiled loop takes the tables over once ``WORTH`` segments have been seen or announced.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from tracer.replay import plain
from tracer.replay.connections import connection_rows
from tracer.replay.lifetimes import retire


class Replay:
    """Incremental analysis of TCP segments.

    ``feed`` takes rows of ``tracer.segments.SEGMENT`` in capture order and gives as many rows of ``ANALYSIS``;
    ``finished`` gives rows of ``CONNECTION`` for connections whose state was given up since the last call;
    ``connections`` those of all others, as they are now; ``close`` ends them all.
    """

    def __init__(self) -> None:
        self._tables = plain.tables()

    def feed(self, segments: NDArray[Any]) -> NDArray[Any]:
        """Analyse the next segments."""
        return plain.run(self._tables, segments)

    @property
    def streams(self) -> int:
        """Connections seen so far."""
        return self._tables.book[0].streams

    def finished(self) -> NDArray[Any]:
        """Rows of ``CONNECTION`` for connections that gave up their state since the last call, in that order."""
        tables = self._tables
        rows = connection_rows(tables.ended_flows, tables.ended_directions)
        tables.ended_flows.clear()
        tables.ended_directions.clear()
        return rows

    def connections(self) -> NDArray[Any]:
        """Rows of ``CONNECTION`` for all connections whose state is kept, as they are now, by stream number."""
        tables = self._tables
        numbers = sorted({place >> 1 for place in tables.places.values()}, key=lambda n: tables.flows[n].stream)
        return connection_rows(
            [tables.flows[n] for n in numbers], [tables.directions[2 * n + d] for n in numbers for d in (0, 1)]
        )

    def close(self) -> NDArray[Any]:
        """End: the rows ``finished`` has not yet given, then those of all other connections; nothing is kept."""
        for number in sorted({place >> 1 for place in self._tables.places.values()}):
            retire(self._tables, number)
        return self.finished()
