"""Reading and analysing at the same time: while one batch is analysed, another is read, or what it gave is written.

The compiled loop needs no interpreter, so it runs in a thread of its own. The engine belongs to that thread until the
last result was taken or the generator was closed: connections that end come with the results.

A generator that nobody closes is closed by the garbage collector, in whatever thread and at whatever point that runs:
even inside ``threading``, with its locks held. So what happens at the end joins no thread and takes no lock that is
not reentrant, as ThreadPoolExecutor would (a thread that is just being started would wait for itself).
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
from collections.abc import Iterable, Iterator
from queue import SimpleQueue
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

    worker = _Worker(replay, least)
    source = iter(batches)
    try:
        while True:
            failure: Exception | None = None
            try:
                segments = next(source, None)
            except Exception as problem:
                segments, failure = None, problem
            before = worker.take()
            if segments is not None:
                worker.give(segments)
            if before is not None:
                yield before
            if failure is not None:
                raise failure
            if segments is None:
                return
    finally:
        worker.end()


class _Worker:
    """A thread that analyses one batch at a time."""

    def __init__(self, replay: Replay, least: int) -> None:
        self._replay, self._least = replay, least
        self._given: SimpleQueue[NDArray[Any] | None] = SimpleQueue()
        self._done: SimpleQueue[Result | BaseException | None] = SimpleQueue()
        """Last comes None: a Ctrl-C may have fallen between a result and the one who took it."""
        self._busy = False
        self._thread: threading.Thread | None = None

    def give(self, segments: NDArray[Any]) -> None:
        self._busy = True
        self._given.put(segments)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="synfin-analysis", daemon=True)
            self._thread.start()

    def take(self) -> Result | None:
        """The result of what was given last, when it is there; None where nothing was. Raises what the analysis did."""
        if not self._busy:
            return None
        done = self._done.get()
        self._busy = False
        if isinstance(done, BaseException):
            raise done
        return done

    def end(self) -> None:
        """Let the thread end. Where this was broken off, what nobody took is still to be told by the engine."""
        self._given.put(None)
        if self._thread is None or self._thread.ident == threading.get_ident() or sys.is_finalizing():
            return  # nobody will ever ask
        while (done := self._done.get()) is not None:
            if not isinstance(done, BaseException):
                self._replay.tell_again(done[2])

    def _run(self) -> None:
        while (segments := self._given.get()) is not None:
            try:
                self._done.put((segments, self._replay.feed(segments), self._replay.finished(self._least)))
            except BaseException as failure:
                self._done.put(failure)
        self._done.put(None)


def _keep_memory() -> None:
    """Batches come and go by the megabyte: the C library is to keep their memory, not to ask the kernel each time."""
    with contextlib.suppress(AttributeError, OSError):  # mallopt is glibc's
        library = ctypes.CDLL(None)
        library.mallopt(-3, 32 << 20)  # M_MMAP_THRESHOLD: the largest allowed
        library.mallopt(-1, 64 << 20)  # M_TRIM_THRESHOLD
