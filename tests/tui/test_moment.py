"""What the inspector tells of a row, and what it keeps to itself."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from textual.content import Content

from tests.tui.stories import Story, half_close, three
from tracer.segments import FIN
from tui.moment import Moment, question
from tui.queue_lines import queue_lines
from tui.telling import queues, sections, sentence, where
from tui.watch import Watch
from tui.widgets.inspector import Section, sections_lines


@pytest.fixture
def watch() -> Watch:
    made = Watch(three(), riding=False)
    made.refresh(0.0, more=False)
    return made


def text_of(shown: Sequence[Section]) -> str:
    return Content("\n").join(sections_lines(shown, 60)).plain


def told(watch: Watch) -> str:
    facts = Moment(watch.timeline).look(question(watch))
    return text_of(sections(facts, watch.timeline))


def at_the_fin(watch: Watch) -> None:
    fin = next(e for e in watch.timeline.events() if e.name == "packet:sent" and e["flags"] & FIN)
    watch.point(fin.order)


def test_the_row_of_a_fin_moves_both_ends_and_says_why(watch: Watch) -> None:
    at_the_fin(watch)
    text = told(watch)
    assert "client   ESTABLISHED → FIN_WAIT1" in text
    assert "server   ESTABLISHED → CLOSE_WAIT" in text
    assert "RFC 9293 §3.6, §3.10.4" in text, "our close"
    assert "RFC 9293 §3.6, §3.10.7.4" in text, "the peer's FIN"
    assert "time     +302 µs (+1.00 µs)" in text
    assert "22:13:20.000302000 UTC" in text
    assert "0000  00 01 02 03 04 05 06 07" in text


def test_the_sentence_is_about_the_side_that_acts(watch: Watch) -> None:
    at_the_fin(watch)
    facts = Moment(watch.timeline).look(question(watch))
    assert sentence(facts).plain.startswith("client ESTABLISHED → FIN_WAIT1: close() or shutdown(SHUT_WR)")
    assert where(facts) == f"#1 · event {watch.place}/{len(watch.track)} · observed by kernel"


def test_what_moves_no_state_is_told_with_its_meaning(watch: Watch) -> None:
    watch.to_tail()
    looking, told = Moment(watch.timeline), set()
    for order in watch.track.relevant.orders().tolist():
        assert watch.go(order)
        told.add(sentence(looking.look(question(watch))).plain)
    assert "client: send(5, 0) (a program calls the kernel)" in told
    assert any(text.endswith("(a segment reaches a stack (netif_receive_skb))") for text in told)


def test_what_lies_ahead_of_the_playhead_is_not_told(watch: Watch) -> None:
    at_the_fin(watch)
    order = watch.cursor
    assert "e led to" in told(watch)
    watch.seek(watch.track.place_of(order) + 1)
    watch.cursor = order
    text = told(watch)
    assert "e led to" not in text
    assert "CLOSE_WAIT" not in text


def test_a_glance_tells_of_the_event_alone(watch: Watch) -> None:
    facts = Moment(watch.timeline).glance(question(watch))
    assert not facts.deep and facts.cause is None
    assert "pause to see both ends" in text_of(sections(facts, watch.timeline))


def test_in_the_background_it_is_told_in_portions_and_not_at_all_once_it_is_not_wanted(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.moment.PORTION", 2)
    at_the_fin(watch)
    asked, moment, busy = question(watch), Moment(watch.timeline), list[bool]()

    def wanted() -> bool:
        busy.append(moment.busy)
        return len(busy) != 4

    assert not moment.look(asked, wanted).deep
    assert busy == [True] * 4 and not moment.busy
    alone = Moment(watch.timeline).look(asked)
    assert moment.look(asked, wanted) == alone and alone.deep
    assert len(busy) > 5


def test_before_the_first_event_there_is_nothing_to_tell() -> None:
    watch = Watch(Story().onto(), riding=True)
    facts = Moment(watch.timeline).look(question(watch))
    assert where(facts) == "nothing yet"
    assert "Nothing has happened yet" in text_of(sections(facts, watch.timeline))


def test_queues_at_the_cursor_are_those_of_that_moment(watch: Watch) -> None:
    at_the_fin(watch)
    facts = Moment(watch.timeline).look(question(watch))
    title, lines = queues(facts)
    assert title == "Queues at the cursor (t = +302 µs)"
    text = "\n".join(line.plain for line in lines)
    assert "#1 client       FIN_WAIT1    send 0 B    receive 40 B    in flight 0    cwnd 10    ssthresh ∞" in text
    assert "#1 server       CLOSE_WAIT" in text
    assert queue_lines(facts.before, 1) != lines


def test_rows_end_where_the_ladder_ends_them_and_steps_rest_there() -> None:
    story = Story()
    half_close(story, 1)
    watch = Watch(story.onto(), riding=False)
    watch.refresh(0.0, more=False)
    track, shown, ends = watch.track, 0, []
    while shown < len(track):
        after = track.rest(shown, 1)
        assert after > shown
        ends.append(after)
        shown = after
    assert track.rest(shown, 1) == len(track)
    back = [shown := track.rest(shown, -1) for _ in ends]
    assert back == [*ends[-2::-1], 0]
    for first, last in zip([0, *ends], ends, strict=False):
        assert track.row_of(track[first]) == (track[first], track[last - 1])
        assert track[first] <= track.main_of(track[last - 1]) <= track[last - 1]


def test_the_fold_goes_on_where_it_was_when_events_come() -> None:
    story = Story()
    half_close(story, 1)
    whole = story.onto()
    slow = Watch(type(whole)(), riding=False)
    for start in range(0, len(whole), 3):
        slow.timeline.append(whole.batch(start, start + 3))
        slow.refresh(0.0, more=True)
        slow.track.rest(0, 1)
    quick = Watch(whole, riding=False)
    quick.refresh(0.0, more=False)
    assert [slow.track.rest(n, 1) for n in range(len(whole))] == [quick.track.rest(n, 1) for n in range(len(whole))]
