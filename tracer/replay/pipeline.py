"""Reading and analysing at the same time: while one batch is analysed, another is read, or what it gave is written.

The compiled loop needs no interpreter, so it runs in a thread of its own. The engine belongs to that thread until the
last result was taken or the generator was closed: connections that end come with the results.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from numpy.typing import NDArray

from tracer.replay.engine import Replay

Result = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


def analysed(replay: Replay, batches: Iterable[NDArray[Any]], least: int = 1) -> Iterator[Result]:
    """(rows of ``SEGMENT``, their rows of ``ANALYSIS``, ``replay.finished(least)``) of each batch, in order.

    The batches must stay as they are until their result is taken. What reading raises is raised here, after the results
    of all batches before it.
    """

    _keep_memory()

    def analyse(segments: NDArray[Any]) -> Result:
        return segments, replay.feed(segments), replay.finished(least)

    with ThreadPoolExecutor(1, "analysis") as worker:
        source = iter(batches)
        waiting: Future[Result] | None = None
        try:
            while True:
                failure: Exception | None = None
                try:
                    segments = next(source, None)
                except Exception as problem:
                    segments, failure = None, problem
                before = waiting.result() if waiting is not None else None
                waiting = worker.submit(analyse, segments) if segments is not None else None
                if before is not None:
                    yield before
                if failure is not None:
                    raise failure
                if waiting is None:
                    return
        finally:
            if waiting is not None:  # broken off: what nobody took is still to be told
                replay.tell_again(waiting.result()[2])


def _keep_memory() -> None:
    """Batches come and go by the megabyte: the C library is to keep their memory, not to ask the kernel each time."""
    with contextlib.suppress(AttributeError, OSError):  # mallopt is glibc's
        library = ctypes.CDLL(None)
        library.mallopt(-3, 32 << 20)  # M_MMAP_THRESHOLD: the largest allowed
        library.mallopt(-1, 64 << 20)  # M_TRIM_THRESHOLD
