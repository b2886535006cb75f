"""One source of inference, two ways to run it: the same changes, the same connections remembered, flat memory."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.replay.test_engine import TEMPLATES, short_connections, traffic
from tests.replay.transcript import segments
from tracer.replay import Replay, infer_book, infer_compiled, infer_engine
from tracer.replay.infer import Found, Inference
from tracer.replay.infer_compiled import CODE, ENTRY
from tracer.replay.infer_engine import FastInference
from tracer.replay.infer_lives import Life
from tracer.replay.infer_rows import End
from tracer.replay.infer_tables import FORGOTTEN
from tracer.replay.life_rows import Lives, summary
from tracer.replay.lived import LIVED
from tracer.replay.rows import layout
from tracer.states import State, Trigger

SECOND = 1_000_000_000


def streams(rows: NDArray[Any]) -> NDArray[Any]:
    found: NDArray[Any] = Replay(compiled=False).feed(rows)["stream"]
    return found


def crowd(count: int, seed: int) -> NDArray[Any]:
    """Nonsense (``traffic``), half of it over IPv6 with addresses on both sides of the sign, over some minutes."""
    rows = traffic(count, seed)
    six = (rows["sport"] + rows["dport"]) % 2 == 0
    for end in ("src", "dst"):
        rows[f"{end}_hi"][six] = np.where(rows[f"{end}_lo"][six] % 2, 0xFE80 << 48, 0x2001 << 48)
    rows["time"] += np.arange(count) * (400 * SECOND // count)
    return rows


def told(found: list[Found]) -> list[tuple[Any, ...]]:
    return [(one.place, one.pair.stream, one.pair.points, one.pair.client, one.change) for one in found]


def ends(found: list[Found]) -> list[tuple[Any, ...]]:
    return [(one.pair.ends, [(life.states, life.times) for life in one.pair.lives]) for one in found]


def fed(inference: FastInference, rows: NDArray[Any], batch: int, then: int = 0) -> list[Found]:
    numbers = streams(rows)
    found: list[Found] = []
    for i in range(0, len(rows), batch):
        found += inference.feed(rows[i : i + batch], numbers[i : i + batch], i)
    return found + inference.advance(then)


@pytest.mark.parametrize("seed", range(2))
def test_compiled_says_what_plain_says(seed: int) -> None:
    pytest.importorskip("numba", reason="numba is not installed")
    rows = crowd(12_000, seed)
    late = int(rows["time"].max()) + 70 * SECOND
    plain, fast = FastInference(compiled=False), FastInference(compiled=True)
    one, other = fed(plain, rows, 5000, late), fed(fast, rows, 700, late)
    assert told(one) == told(other)
    assert ends(one) == ends(other)
    assert len(plain) == len(fast) > 0
    triggers = {Trigger(found.change.trigger) for found in one if found.change.trigger}
    assert {Trigger.TIMEOUT, Trigger.TIMEWAIT_TIMEOUT, Trigger.RCV_RST, Trigger.RCV_FIN} <= triggers
    assert {found.change.certainty for found in one} == {1, 2, 3}


def lived(inference: FastInference, rows: NDArray[Any], batch: int) -> NDArray[Any]:
    """What is told of each stream at last; every seventh is told of in the middle, before it may be over."""
    numbers, until = streams(rows), int(rows["time"].max())
    told = np.zeros(int(numbers.max()) + 1, LIVED)
    last = np.array([rows["time"][numbers == stream].max() for stream in range(len(told))])
    some = np.arange(0, len(told), 7)
    for i in range(0, len(rows), batch):
        inference.follow(rows[i:][:batch], numbers[i:][:batch], i)
        if i // batch == len(rows) // batch // 2:
            some = some[some < numbers[i]]
            told[some] = inference.lived(some, last[some], until)
            assert not inference.lived(some, last[some], until)["state"].any(), "once"
    rest = np.setdiff1d(np.arange(len(told)), some)
    told[rest] = inference.lived(rest, last[rest], until)
    return told


def test_lives_in_rows_are_the_lives_of_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = crowd(8000, 5)
    plain = lived(FastInference(compiled=False), rows, 1000)
    found = FastInference(compiled=False).feed(rows, streams(rows))
    pairs = {one.pair.stream: one.pair for one in found if one.pair.number}
    assert set(np.flatnonzero(plain["state"].any(axis=1)).tolist()) <= pairs.keys()
    left = [pair for stream, pair in pairs.items() if stream % 7 and pair.left is None]
    assert len(left) > 10
    for pair in left:
        assert plain["state"][pair.stream].tolist() == [end.state for end in pair.ends]
    pytest.importorskip("numba", reason="numba is not installed")
    assert (lived(FastInference(compiled=True), rows, 1000) == plain).all()
    monkeypatch.setattr(infer_engine, "WORTH", 3500)
    assert (lived(FastInference(), rows, 1000) == plain).all(), "handed over in the middle"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("change", "change", "change", "correct", "forget", "tell")),
            st.integers(0, 2), st.integers(0, 1), st.integers(0, 12), st.integers(0, 12), st.integers(0, 9),
        ),
        max_size=60,
    )
)  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_whatever_the_log_says_rows_and_objects_agree(steps: list[tuple[Any, ...]]) -> None:
    pytest.importorskip("numba", reason="numba is not installed")
    code = CODE.compile()
    assert code is not None
    lives, ends = Lives(), np.zeros(200, layout(End))
    objects: dict[int, tuple[Life, Life]] = {}
    over: set[int] = set()
    told: set[int] = set()
    now = 0
    for number, (what, stream, row, old, new, later) in enumerate(steps):
        now += later
        if what == "tell":
            found = lives.tell(code, ends, np.array([stream]), np.array([now]), now + 5)[0]
            both = () if stream in told else objects.get(stream, ())
            counts, which, spent = summary(both, now, now + 5)
            assert (found["count"].tolist(), found["which"].tolist(), found["spent"].tolist()) == (counts, which, spent)
            told.add(stream) if stream in objects else None
            if stream in over:
                over.discard(stream)
                told.discard(stream)
                del objects[stream]
            continue
        trigger, certainty = FORGOTTEN if what == "forget" else 1, 3 if what == "correct" else 2
        log = np.zeros(1, ENTRY)
        for name, value in zip(ENTRY.names or (), (number, 1 + stream, stream, now, row, old, new, trigger, certainty),
                               strict=False):  # fmt: skip
            log[name] = value
        lives.record(code, log)
        if what == "forget":
            if stream in told:
                told.discard(stream)
                del objects[stream]
            elif stream in objects:
                over.add(stream)
        elif stream not in told:
            if stream in over:
                over.discard(stream)
                del objects[stream]
            objects.setdefault(stream, (Life(), Life()))[row].change(now, old, new, corrected=what == "correct")
    assert len(lives) == len(objects)


def test_the_compiled_loop_takes_over_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba", reason="numba is not installed")
    rows = crowd(8000, 6)
    FastInference(compiled=True).feed(rows[:1], streams(rows[:1]))  # so that it is there
    monkeypatch.setattr(infer_engine, "WORTH", 5000)
    assert told(fed(FastInference(), rows, 1000)) == told(fed(FastInference(compiled=False), rows, 1000))


def test_small_captures_never_import_numba() -> None:
    program = (
        "import sys, numpy as np; from tracer.replay.infer_engine import FastInference\n"
        "from tracer.segments import SEGMENT\n"
        "FastInference().feed(np.zeros(1000, SEGMENT), np.zeros(1000, 'u4')); assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_without_numba_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infer_compiled.CODE, "load", lambda: None)
    monkeypatch.setattr(infer_compiled.CODE, "aside", lambda: None)
    monkeypatch.setattr(infer_engine, "WORTH", 100)
    rows = crowd(300, 1)
    assert told(FastInference().feed(rows, streams(rows))) == told(Inference().feed(rows, streams(rows)))


@pytest.mark.parametrize("compiled", [False, True])
def test_what_is_over_is_given_up_and_its_time_wait_ends_all_the_same(
    compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if compiled:
        pytest.importorskip("numba", reason="numba is not installed")
    kept = infer_book.KEPT if compiled else 100
    monkeypatch.setattr(infer_book, "KEPT", kept)
    count, length = kept + 500, len(segments(TEMPLATES[0]))
    rows = short_connections(count, 0)
    rows["time"] = rows["time"][0] + np.arange(len(rows)) * 1000  # all within a second: every one is in TIME_WAIT yet
    numbers = np.repeat(np.arange(count, dtype=np.uint32), length)
    inference = FastInference(compiled=compiled)
    for i in range(0, len(rows), 20_000):
        inference.feed(rows[i : i + 20_000], numbers[i : i + 20_000], i)
    assert len(inference) <= kept
    assert inference.pair(0) is None
    assert inference.pair(count - 1) is not None
    over = inference.advance(int(rows["time"][-1]) + 61 * SECOND)
    assert [one.pair.stream for one in over] == list(range(count)), "oldest first"
    assert {one.change.trigger for one in over} == {Trigger.TIMEWAIT_TIMEOUT}
    assert {(one.change.old, one.change.new) for one in over} == {(State.TIME_WAIT, State.CLOSE)}
    assert {one.pair.points[one.change.row][2] for one in over} == {1111}, "whose FIN was first"
    inference.advance(int(rows["time"][-1]) + 300 * SECOND)
    assert len(inference) == 0


def test_a_connection_that_speaks_after_it_was_given_up_is_not_closed_by_its_old_timer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(infer_book, "KEPT", 1)
    begun = segments("> S 0", port=1)
    other = segments("> S 0", port=2)
    answer = segments("> S 0\n< SA 0:1\n> A 1:1\n> A 1:1 10\n< A 1:11", port=1)[1:]
    inference = Inference()
    for rows, stream in ((begun, 0), (other, 1), (answer, 0)):
        inference.feed(rows, np.full(len(rows), stream))
    late = inference.advance(int(answer["time"][-1]) + 200 * SECOND)
    assert [one.pair.stream for one in late] == [1]
    pair = inference.pair(0)
    assert pair is not None
    assert [end.state for end in pair.ends] == [State.ESTABLISHED] * 2


@pytest.mark.slow
def test_memory_stays_flat_over_a_million_connections() -> None:
    pytest.importorskip("numba", reason="numba is not installed")
    inference = FastInference(compiled=True)
    length = len(segments(TEMPLATES[0]))

    def resident() -> int:
        with open("/proc/self/statm") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * 4096

    sizes = []
    for first in range(0, 1_000_000, 5000):
        numbers = np.arange(first, first + 5000)
        inference.follow(short_connections(5000, first), np.repeat(numbers, length), first)
        inference.lived(numbers, np.zeros(5000), 0)
        sizes.append(resident())
    assert len(inference) <= infer_book.KEPT
    assert max(sizes[100:]) - min(sizes[40:100]) < 40 << 20, "bytes; the first 200,000 connections fill the tables"
