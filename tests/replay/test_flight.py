"""The list of what is in flight: sorted by right edge, whatever comes late, and whatever is acknowledged meanwhile."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tracer.replay.flight import acknowledge, forget, remember
from tracer.replay.rows import Book, Direction, Unacked, Verdict

ROWS = 200
BASE = 0xFFFF_FF00
"""So near the end of sequence numbers that they wrap."""

SEGMENT = st.tuples(st.just("segment"), st.integers(1, 600))
STEPS = st.lists(st.one_of(SEGMENT, SEGMENT, SEGMENT, st.tuples(st.just("ack"), st.integers(0, 600))), max_size=60)


def listed(sender: Direction, pool: list[Unacked]) -> list[tuple[int, int]]:
    """(right edge, frame) of what is in the list, read from both ends."""
    ways: list[list[tuple[int, int]]] = []
    for number, onward in ((sender.unacked_first, "newer"), (sender.unacked_last, "older")):
        ways.append([])
        while number >= 0:
            ways[-1].append(((pool[number].end - BASE) & 0xFFFF_FFFF, pool[number].frame))
            number = getattr(pool[number], onward)
    assert ways[0] == ways[1][::-1]
    return ways[0]


@given(STEPS)
@settings(deadline=None)
def test_it_is_what_sorting_would_make_of_it(steps: list[tuple[str, int]]) -> None:
    pool = [Unacked(newer=number + 1) for number in range(ROWS)]
    pool[-1].newer = -1
    sender, book = Direction(), Book(free_unacked=0, free_count=ROWS)
    expected: list[tuple[int, int]] = []
    for frame, (what, edge) in enumerate(steps, 1):
        number = (BASE + edge) & 0xFFFF_FFFF
        if what == "segment":
            remember(sender, pool, book, frame, frame, (number - 1) & 0xFFFF_FFFF, number)
            expected = sorted([*expected, (edge, frame)])
        else:
            acknowledge(sender, pool, book, Verdict(), frame, number)
            expected = [row for row in expected if row[0] > edge]
        assert listed(sender, pool) == expected
        assert sender.unacked_count == len(expected) == ROWS - book.free_count
        late = sender.late_row
        assert late < 0 or ((pool[late].end - BASE) & 0xFFFF_FFFF, pool[late].frame) in expected
    forget(sender, pool, book)
    assert (listed(sender, pool), book.free_count, sender.late_row) == ([], ROWS, -1)
