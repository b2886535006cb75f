"""Segments no capture should hold, captures no program should have written: analysed all the same, both ways alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.capture.craft import ether, ip4, pcap, read, tcp
from tracer.capture import CaptureError, open_capture
from tracer.replay import Replay
from tracer.replay.infer import Found
from tracer.replay.infer_engine import FastInference
from tracer.segments import MAX_SACK_BLOCKS, SEGMENT
from tracer.states import State

EDGES = np.array([0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF], np.uint32)


def noise(count: int, seed: int) -> NDArray[Any]:
    """Rows whose every bit is random, but that few endpoints talk and numbers often meet."""
    rng = np.random.default_rng(seed)
    rows = np.frombuffer(rng.bytes(count * SEGMENT.itemsize), SEGMENT).copy()
    rows["frame"] = np.arange(1, count + 1)
    rows["n_sack"] %= MAX_SACK_BLOCKS + 1
    rows["family"] = 4
    for name in ("src_hi", "dst_hi"):
        rows[name] = np.where(rows[name] % 2, 0xFE80 << 48, 0)
    for name in ("src_lo", "dst_lo", "sport", "dport"):
        rows[name] %= 3
    for name in ("seq", "ack"):
        near = rng.random(count) < 0.8
        rows[name][near] = (EDGES[rows[name] % 7] + rng.integers(0, 3, count, np.uint32))[near]
    rows["wscale"] = rng.integers(-1, 15, count)
    tame = rng.random(count) < 0.9
    rows["time"][tame] = np.sort(rng.integers(0, 1 << 40, int(tame.sum())))
    rows["time"][~tame] %= 1 << 62  # 146 years, to either side
    return rows


def alike(one: list[Found], other: list[Found]) -> bool:
    return [(f.place, f.pair.stream, f.pair.points, f.change) for f in one] == [
        (f.place, f.pair.stream, f.pair.points, f.change) for f in other
    ]


@pytest.mark.parametrize("seed", range(4))
def test_noise_is_judged_alike_and_only_in_states_there_are(seed: int) -> None:
    rows = noise(4000, seed)
    replay = Replay(compiled=False)
    analysis = replay.feed(rows)
    streams = analysis["stream"]
    assert len(replay.connections()) + len(replay.finished()) == replay.streams
    plain = FastInference(compiled=False)
    found = plain.feed(rows, streams)
    assert {one.change.new for one in found} <= set(State)
    pytest.importorskip("numba", reason="numba is not installed")
    assert (Replay(compiled=True).feed(rows) == analysis).all()
    fast = FastInference(compiled=True)
    again = fast.feed(rows[:1500], streams[:1500]) + fast.feed(rows[1500:], streams[1500:], 1500)
    assert alike(found, again)


TALK = ((999, 2, b""), (1000, 16, b""), (1000, 24, b"data"), (1004, 17, b""), (1005, 4, b""))
"""seq, flags, payload"""
WHOLE = pcap(*(ether(ip4(tcp(payload, seq=seq, flags=flags))) for seq, flags, payload in TALK))
CHANGES = st.lists(st.tuples(st.integers(24, len(WHOLE) - 1), st.integers(0, 255)), max_size=12)


@settings(max_examples=120, deadline=None)
@given(CHANGES, st.integers(24, len(WHOLE)))
def test_a_damaged_capture_goes_through_the_whole_analysis(changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(WHOLE)
    for place, value in changes:
        data[place] = value
    rows, _ = read(bytes(data[:cut]))
    analysis = Replay(compiled=False).feed(rows)
    found = FastInference(compiled=False).feed(rows, analysis["stream"])
    assert len(analysis) == len(rows)
    assert all(0 <= one.place < len(rows) or one.place == -1 for one in found)


def test_truncated_at_every_byte_what_is_whole_is_kept_and_the_place_is_told() -> None:
    whole, _ = read(WHOLE)
    begin = [24]  # of each record
    for _, _, payload in TALK:
        begin.append(begin[-1] + 16 + 14 + 20 + 20 + len(payload))
    assert begin[-1] == len(WHOLE)
    for cut in range(24, len(WHOLE)):
        rows, capture = read(WHOLE[:cut])
        count = sum(end <= cut for end in begin[1:])
        assert (rows == whole[:count]).all() and len(rows) == count
        told = [(note.kind, note.offset, bool(note.reason)) for note in capture.notes]
        assert told == ([] if cut == begin[count] else [("ended", begin[count], True)])


@pytest.mark.corpora
def test_malformed_captures_go_through_the_whole_analysis(corpora: Path) -> None:
    files = sorted((corpora / "captures/fuzz").iterdir())
    assert len(files) > 50
    for path in files:
        replay, inference, first = Replay(compiled=False), FastInference(compiled=False), 0
        try:
            with open_capture(path) as capture:
                for block in capture.blocks():
                    analysis = replay.feed(block.segments)
                    inference.feed(block.segments, analysis["stream"], first)
                    first += len(analysis)
        except CaptureError as problem:
            assert str(problem), path.name
