"""Batches and the timeline: one order, nothing lost, text and rows follow their events."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.batch import Batch, BatchBuilder, merge, split
from tracer.kinds import Evidence, Source
from tracer.timeline import CHUNK, Timeline


def notes(*events: tuple[int, str]) -> Batch:
    builder = BatchBuilder(Source.TRACER, Evidence.REPORTED)
    for time, text in events:
        if text.startswith("!"):
            builder.add("trace:lost", time, {"lost": int(text[1:])})
        else:
            builder.add("trace:note", time, {"text": text})
    return builder.take()


def told(timeline: Timeline) -> list[tuple[int, str]]:
    return [(e.time, e["text"] if "text" in e else f"!{e['lost']}") for e in timeline.events()]


def line(*batches: Batch) -> Timeline:
    timeline = Timeline()
    for batch in batches:
        timeline.append(batch)
    return timeline


def test_merge_orders_by_time_and_keeps_the_order_of_equals() -> None:
    merged = merge([notes((1, "a"), (5, "b")), notes((1, "c"), (3, "!7"))])
    assert told(line(merged)) == [(1, "a"), (1, "c"), (3, "!7"), (5, "b")]


def test_a_batch_whose_times_step_back_keeps_its_order() -> None:
    assert told(line(merge([notes((5, "a"), (4, "b"), (6, "c")), notes((5, "x"))]))) == [
        (5, "a"), (4, "b"), (5, "x"), (6, "c"),
    ]  # fmt: skip


events = st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["a", "b", "!1", "!2", ""])), max_size=12)


@given(st.lists(events, max_size=4))
def test_merge_loses_nothing_and_invents_nothing(batches: list[list[tuple[int, str]]]) -> None:
    got = told(line(merge([notes(*batch) for batch in batches])))
    assert sorted(got) == sorted(event for batch in batches for event in batch)


@given(events, st.integers(0, 12))
def test_split_and_append_is_append(batch: list[tuple[int, str]], at: int) -> None:
    first, rest = split(notes(*batch), min(at, len(batch)))
    assert told(line(first, rest)) == batch


@given(st.lists(events, max_size=3), st.integers(0, 30), st.integers(0, 30))
def test_a_part_of_the_timeline_is_a_batch_again(batches: list[list[tuple[int, str]]], start: int, stop: int) -> None:
    whole = line(*(notes(*batch) for batch in batches))
    start, stop = sorted((min(start, len(whole)), min(stop, len(whole))))
    assert told(line(whole.batch(start, stop))) == told(whole)[start:stop]


def test_chunks_are_crossed_without_a_seam() -> None:
    timeline = Timeline()
    per_batch = CHUNK // 3 + 1
    batch = notes(*((i, "x") for i in range(per_batch)))
    for _ in range(7):
        timeline.append(batch)
    assert len(timeline) == 7 * per_batch
    assert timeline.column("time").tolist() == list(range(per_batch)) * 7
    assert timeline[2 * CHUNK + 5]["text"] == "x"


def test_the_index_grows_with_the_timeline() -> None:
    timeline = line(notes((1, "a"), (2, "!1")))
    kind = timeline[0].number
    assert timeline.indices("kind", kind).tolist() == [0]
    timeline.append(notes((3, "!1"), (4, "b")))
    assert timeline.indices("kind", kind).tolist() == [0, 3]
    assert timeline.indices("kind", 60000).tolist() == []


def test_what_is_asked_for_must_exist() -> None:
    timeline = line(notes((1, "a")))
    with pytest.raises(IndexError, match="no event 1 on a timeline of 1"):
        timeline[1]
    with pytest.raises(KeyError):
        timeline.column("nonsense")
    with pytest.raises(KeyError):
        timeline[0]["nonsense"]
    assert timeline[0].get("nonsense", 3) == 3


def test_readers_only_ever_see_whole_events() -> None:
    timeline, batch, wrong = Timeline(), notes(*((i, str(i)) for i in range(500))), []

    def read() -> None:
        while len(timeline) < 50_000:
            if count := len(timeline):
                event = timeline[count - 1]
                if event["text"] != str(event.time):
                    wrong.append(event.order)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(100):
        timeline.append(batch)
    reader.join()
    assert not wrong
    assert np.unique(timeline.column("kind")).size == 1
