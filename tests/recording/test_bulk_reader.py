"""The bulk reader gives the very events that the general reader gives, whatever is in the file, and says the same."""

from __future__ import annotations

import functools
import io
from pathlib import Path

import numpy as np
import pytest

from tests.recording.test_bulk import events
from tracer.batch import Batch
from tracer.events import HEAD
from tracer.recording import reader
from tracer.recording.bulk_reader import BulkReader
from tracer.recording.parse import CODE
from tracer.recording.reader import RecordingReader
from tracer.recording.writer import Recorder
from tracer.timeline import Timeline

pytest.importorskip("numba", reason="bulk reading is compiled")


@functools.cache
def bulk() -> BulkReader:
    functions = CODE.compile()
    assert functions is not None
    return BulkReader(functions)


def as_bytes(path: Path, batches: list[Batch]) -> bytes:
    recorder = Recorder(str(path), {"version": "x"})
    for batch in batches:
        recorder.write_batch(batch)
    recorder.close(1, 2)
    return path.read_bytes()


def read(data: bytes, how: BulkReader | None, monkeypatch: pytest.MonkeyPatch) -> tuple[list[object], list[str]]:
    monkeypatch.setattr(reader, "BULK", 1)
    monkeypatch.setattr(RecordingReader, "_compiled", lambda self: how)
    one = RecordingReader(io.BytesIO(data))
    timeline = Timeline()
    for batch in one.batches():
        timeline.append(batch)
    assert one.position <= len(data)
    names = [name for name in HEAD.names or () if name not in ("row", "kind")]
    return [(e.name, *(getattr(e, name) for name in names), e.fields()) for e in timeline.events()], one.notes


def agree(data: bytes, monkeypatch: pytest.MonkeyPatch) -> int:
    plain, notes = read(data, None, monkeypatch)
    assert read(data, bulk(), monkeypatch) == (plain, notes)
    return len(plain)


def test_both_readers_read_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = as_bytes(tmp_path / "run.pcapng", [events(seed, 500) for seed in range(3)])
    assert agree(data, monkeypatch) == 1500


def test_cut_off_damaged_and_changed_files_are_read_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = as_bytes(tmp_path / "run.pcapng", [events(7, 30)])
    random = np.random.default_rng(1)
    for end in random.integers(0, len(data), 6).tolist():
        agree(data[:end], monkeypatch)
    for _ in range(30):
        damaged = bytearray(data)
        for place in random.integers(200, len(data), 3).tolist():
            damaged[place] = int(random.integers(0, 256))
        agree(bytes(damaged), monkeypatch)
    for old, new in ((b"SYNFIN_PID=", b"SYNFIN_TID="), (b"SYNFIN_TIME", b"SYNFIN_TIMX"), (b"=kernel", b"=kernal"),
                     (b"SYNFIN_FD=7", b"SYNFIN_FD=x"), (b"SYNFIN_CPU=", b"SYNFIN_CPX="), (b"=0x", b"=0y"),
                     (b"MESSAGE=", b"MESSAGE\n"), (b"ESTABLISHED", b"ESTABLISHEX")):  # fmt: skip
        assert old in data, old
        agree(data.replace(old, new), monkeypatch)
    agree(data + data, monkeypatch)  # two sections
