"""The ladder where the far end matters: segments that never got there, that crossed, that nobody could see arrive."""

from __future__ import annotations

import pytest

from tests.playbook import Book
from tests.tui.stories import HERE, START, C, Story
from tracer.batch import BatchBuilder
from tracer.kinds import Evidence, Source
from tracer.segments import SYN
from tracer.states import State
from tracer.timeline import Timeline
from tui.ladder import draw
from tui.ladder.model import Model

OPENING = """
c CLOSE > SYN_SENT
c sends SYN
s receives SYN
    s sends SYN,ACK
c receives SYN,ACK
    c SYN_SENT > ESTABLISHED
    c sends ACK
s receives ACK
    s LISTEN > SYN_RECV
    s SYN_RECV > ESTABLISHED
"""
LOST = f"""{OPENING}
c sends FIN,ACK
wait 100ms
c sends FIN,ACK seq=1001 analysis=1
s receives FIN,ACK seq=1001
    s ESTABLISHED > CLOSE_WAIT
"""
"""A FIN that is dropped on its way and sent again by the timer; analysis=1 is the engine's finding of that."""


def ladder(book: Book, limit: int | None = None) -> Model:
    """Connection 1 of a story, up to the event of order ``limit``."""
    model = Model(book.timeline, 1)
    model.reveal(len(book.timeline) if limit is None else limit)
    return model


def lines(model: Model, width: int = 80) -> list[str]:
    """Its rows as text."""
    return [draw.plain(model[i], width, model.start) for i in range(len(model))]


def test_a_segment_that_had_to_be_sent_again_ends_in_a_cross() -> None:
    first, again = lines(ladder(Book(LOST)))[-2:]
    assert "✗" in first and "▶" not in first and "CW" not in first
    assert "═" in again and "rtx" in again and "▶" in again and "CW" in again


def test_a_segment_that_the_wire_says_it_lost_ends_in_a_cross_at_once() -> None:
    story = Story()
    story.state(0.0, 1, C, State.CLOSE, State.SYN_SENT)
    timeline = story.onto()
    fields = {"saddr": HERE, "daddr": HERE, "sport": 40001, "dport": 8080, "seq": 1000, "flags": SYN}
    wire = BatchBuilder(Source.KERNEL, Evidence.OBSERVED)
    for late, kind in ((1, "packet:sent"), (2, "network:dropped")):
        wire.add(kind, START + late, fields, conn=1, side=C)
    timeline.append(wire.take())
    before, after = ladder_of(timeline, 2), ladder_of(timeline, 3)
    assert "✗" not in before[-1]
    assert len(after) == len(before) and "✗" in after[-1] and "▶" not in after[-1]


def ladder_of(timeline: Timeline, limit: int) -> list[str]:
    model = Model(timeline, 1)
    model.reveal(limit)
    return lines(model)


def test_a_loss_is_not_given_away_before_it_is_known() -> None:
    book = Book(LOST)
    walked, again = ladder(book), book.order("c sends FIN,ACK seq=1001 analysis=1")
    walked.reveal(again)
    assert "…" in lines(walked)[-1] and not any("✗" in line for line in lines(walked))
    assert lines(walked) == lines(ladder(book, again))
    walked.reveal(len(book.timeline))
    assert lines(walked) == lines(ladder(book))


def test_segments_that_cross_arrive_in_rows_of_their_own_and_take_their_states_along() -> None:
    story = """
    c ESTABLISHED > FIN_WAIT1
    c sends FIN,ACK
    s ESTABLISHED > FIN_WAIT1
    s sends FIN,ACK
    s receives FIN,ACK
        s FIN_WAIT1 > CLOSING
    c receives FIN,ACK
        c FIN_WAIT1 > CLOSING
    """
    drawn = lines(ladder(Book(story)))
    assert len(drawn) == 4
    assert "F1" in drawn[0] and drawn[0].endswith("…"), "the server's own FIN_WAIT1 is not the client's FIN's doing"
    assert drawn[1].endswith("F1") and "…" in drawn[1]
    assert "▶" in drawn[2] and drawn[2].endswith("CG")
    assert "◀" in drawn[3] and "CG" in drawn[3][:30]


def test_an_arrow_is_whole_where_nobody_watches_the_far_end() -> None:
    book = Book("c CLOSE > SYN_SENT\nc sends SYN\nc receives SYN,ACK\n    c SYN_SENT > ESTABLISHED\n    c sends ACK")
    drawn = lines(ladder(book))
    assert "─▶" in drawn[0] and "╌▶" in drawn[2]
    assert not any("…" in line or "✗" in line for line in drawn)


@pytest.mark.parametrize("width", [80, 124, 160])
def test_a_lane_without_a_source_says_so(width: int) -> None:
    model = ladder(Book("c CLOSE > SYN_SENT\nc sends SYN\nc receives SYN,ACK\n    c SYN_SENT > ESTABLISHED"))
    header = draw.header(width, model.missing)
    assert "not captured" in header[:40], "the client's program"
    assert "no source" in header or header.count("not captured") == 3, "the server's kernel"
    assert header.rstrip().endswith("not captured"), "the server's program"


def test_lanes_with_a_source_keep_their_names() -> None:
    model = ladder(Book(f"client enters connect(5) of c\n{OPENING}\nserver enters read(7) of s"))
    assert model.missing == frozenset()
    assert "captured" not in draw.header(80, model.missing)


def test_of_an_empty_timeline_nothing_is_said_to_be_missing() -> None:
    assert ladder(Book("")).missing == frozenset()


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0.0, "   0.000"), (2342.1, "2342.100"), (61912.645, "61912.64"), (99999999.0, "99999999"), (1e9, "1000000s")],
)
def test_a_time_keeps_as_many_decimals_as_there_is_room_for(ms: float, text: str) -> None:
    assert draw.moment(ms, 8) == text
