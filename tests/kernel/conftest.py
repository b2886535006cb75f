"""What the live tests share: a source that follows the children of the test, and plays in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tracer.batch import Batch, merge
from tracer.events import NUMBER
from tracer.kernel.attach import Mode
from tracer.kernel.source import Filter, KernelSource
from tracer.kinds import KINDS

NAMES = {number: name for name, number in NUMBER.items()}


class Seen:
    """Events of one play, as rows of plain values."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.rows: list[dict[str, Any]] = []
        for head in batch.heads:
            fields = batch.tables[int(head["kind"])][int(head["row"])]
            row = {name: head[name].item() for name in head.dtype.names}
            row |= {name: fields[name].tolist() for name in fields.dtype.names}
            self.rows.append(row | {"name": NAMES[row["kind"]], "own_addr": row["addr"]})

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        """Rows of these kinds, in order."""
        assert set(kinds) <= {kind.name for kind in KINDS}
        return [row for row in self.rows if row["name"] in kinds]

    def place(self, kind: str, **fields: Any) -> int:
        """Position of the first row of that kind with those values."""
        for i, row in enumerate(self.rows):
            if row["name"] == kind and all(row[name] == value for name, value in fields.items()):
                return i
        raise AssertionError(f"no {kind} with {fields}")


Play = Callable[..., Seen]


@pytest.fixture(params=list(Mode), ids=lambda mode: mode.value)
def source(request: pytest.FixtureRequest) -> Iterator[KernelSource]:
    """A running source in each mode, that follows what this process forks."""
    kernel = KernelSource(mode=request.param)
    kernel.start(Filter(parents=frozenset({os.getpid()})))
    yield kernel
    kernel.stop()


@pytest.fixture
def run() -> Play:
    """Runs a Python text in a process of its own and gives all that `source` saw of it."""

    def play(source: KernelSource, text: str, settle: float = 0.05, within: float = 60) -> Seen:
        parts = [source.drain()]
        subprocess.run([sys.executable, "-c", text], check=True, timeout=within)
        time.sleep(settle)
        parts.append(source.drain())
        source.stop()
        parts.append(source.drain())
        batch = merge(parts)
        assert np.all(np.diff(np.maximum.accumulate(batch.heads["time"]).astype(np.int64)) >= 0)
        assert source.losses().lost == 0
        return Seen(batch)

    return play
