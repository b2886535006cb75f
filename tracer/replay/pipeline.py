"""Reading and analysing at the same time: while one batch is analysed, the next is read and decoded.

The compiled loop needs no interpreter, so it runs in a thread of its own beside the decoding. Whoever takes a result
finds the engine at rest at that moment: the next batch is handed over when the following result is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from numpy.typing import NDArray

from tracer.replay.engine import Replay


def analysed(replay: Replay, batches: Iterable[NDArray[Any]]) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """(rows of ``SEGMENT``, their rows of ``ANALYSIS``) of each batch, in order.

    The batches must stay as they are until their result is taken. What reading raises is raised here, after the results
    of all batches before it.
    """
    with ThreadPoolExecutor(1, "analysis") as worker:
        waiting: tuple[NDArray[Any], Future[NDArray[Any]]] | None = None
        source = iter(batches)
        while True:
            failure: Exception | None = None
            try:
                segments = next(source, None)
            except Exception as problem:
                segments, failure = None, problem
            if waiting is not None:
                yield waiting[0], waiting[1].result()
            if failure is not None:
                raise failure
            if segments is None:
                return
            waiting = segments, worker.submit(replay.feed, segments)
