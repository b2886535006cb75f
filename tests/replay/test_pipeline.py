"""Reading and analysing at the same time: what comes is what comes one after the other, and the end never waits."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.replay.transcript import HANDSHAKE, segments
from tracer.replay import Replay, analysed

ROWS = np.concatenate([segments(f"{HANDSHAKE}> FA 1:1\n< FA 1:2\n> A 2:2", port=port) for port in range(1000, 1100)])
BATCHES = np.split(ROWS, 10)


def test_results_are_those_of_one_after_the_other() -> None:
    plain, both = Replay(), Replay()
    for batch, (rows, analysis, gone) in zip(BATCHES, analysed(both, iter(BATCHES)), strict=True):
        assert rows is batch
        assert np.array_equal(analysis, plain.feed(batch))
        assert np.array_equal(gone, plain.finished())
    assert both.streams == plain.streams == 100


def test_what_reading_raises_comes_after_what_was_read() -> None:
    def broken() -> Iterator[NDArray[Any]]:
        yield from BATCHES[:2]
        raise OSError("gone")

    results = analysed(Replay(), broken())
    assert [len(rows) for rows, _, _ in (next(results), next(results))] == [len(BATCHES[0]), len(BATCHES[1])]
    with pytest.raises(OSError, match="gone"):
        next(results)


def test_what_the_analysis_raises_comes_out() -> None:
    with pytest.raises((TypeError, IndexError, ValueError)):
        list(analysed(Replay(), iter([BATCHES[0], np.zeros(3, np.int64)])))


def test_a_thread_ends_with_its_generator() -> None:
    results = analysed(Replay(), iter(BATCHES))
    next(results)
    workers = [thread for thread in threading.enumerate() if thread.name == "synfin-analysis"]
    assert workers
    del results
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()


COLLECTED = """
import gc, threading
import numpy as np
from tests.replay.test_pipeline import BATCHES
from tracer.replay import Replay, analysed

gc.disable()
for soon in range(60):  # containers to be made before the collector runs
    results = analysed(Replay(), iter(BATCHES))
    next(results)
    circle = [results]
    circle.append(circle)
    del results, circle
    gc.set_threshold(gc.get_count()[0] + soon)
    gc.enable()
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    gc.disable()
print("ended")
"""


def test_collected_while_a_thread_starts_it_waits_for_nothing_that_waits_for_it() -> None:
    """threading holds a lock there, and would take it again to join: both wait for ever, as any later thread does."""
    root = Path(__file__).parents[2]
    ran = subprocess.run([sys.executable, "-c", COLLECTED], cwd=root, capture_output=True, text=True, timeout=60)
    assert ran.stdout == "ended\n", ran.stderr
