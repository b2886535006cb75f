"""Finding a value in a column of the heads: the index says what a scan finds, at every length of the timeline."""

from __future__ import annotations

import numpy as np
import pytest

from tracer.batch import Batch
from tracer.events import HEAD, NUMBER, PAYLOAD
from tracer.timeline import CHUNK, Timeline

KIND = NUMBER["socket:destroy"]
VALUES = {
    "conn": np.arange(50),
    "fd": np.array([-1, 0, 7, -(1 << 31)]),
    # Two that differ in their topmost bits alone, as a kernel's and a made-up address may.
    "addr": np.array([0, 0xFFFF_8880_1234_5678, 0x0000_8880_1234_5678, (1 << 64) - 1], np.uint64),
}


def heads(count: int, seed: int) -> Batch:
    """Heads with these values at random places."""
    random = np.random.default_rng(seed)
    made = np.zeros(count, HEAD)
    made["kind"], made["row"] = KIND, np.arange(count)
    for column, values in VALUES.items():
        made[column] = random.choice(values.astype(HEAD[column]), count)
    return Batch(made, {KIND: np.zeros(count, PAYLOAD[KIND])})


@pytest.mark.parametrize("column", VALUES)
def test_a_value_is_found_wherever_it_is_while_the_timeline_grows_past_chunks(column: str) -> None:
    timeline = Timeline()
    early = int(VALUES[column][1])
    for seed, count in enumerate((3, CHUNK - 5, 2, CHUNK, 7 * CHUNK // 4, 11)):
        timeline.append(heads(count, seed))
        timeline.indices(column, early)  # asked at every length; the others are asked at the end for the first time
    whole = timeline.column(column)
    for value in VALUES[column].tolist():
        scanned = np.flatnonzero(whole == np.array(value).astype(HEAD[column]))
        assert len(scanned) and timeline.indices(column, value).tolist() == scanned.tolist()
        start = int(scanned[len(scanned) // 2])
        assert timeline.indices(column, value, start).tolist() == scanned[len(scanned) // 2 :].tolist()
        assert (timeline.at(column, scanned) == np.array(value).astype(HEAD[column])).all()
    assert not len(timeline.indices("conn", 51)) and not len(timeline.indices("addr", 0x1111_8880_1234_5678))


def test_a_column_is_read_at_the_orders_that_are_asked_for() -> None:
    timeline = Timeline()
    timeline.append(heads(2 * CHUNK + 9, 1))
    orders = np.array([0, 5, CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 8])
    assert timeline.at("conn", orders).tolist() == timeline.column("conn")[orders].tolist()
    assert not len(timeline.at("conn", orders[:0]))
