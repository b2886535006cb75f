"""Looking for something: part by part, and what was found is what a filter would find event by event."""

from __future__ import annotations

import pytest

from tests.tui.stories import Story, half_close, three
from tracer.filter import FilterError
from tracer.filter_events import event_predicate
from tracer.timeline import Timeline
from tui.finder import Finder, meaning, shortlist
from tui.ladder.model import Model
from tui.ladder.sight import Sight


def whole(timeline: Timeline, text: str, judged: int = 7) -> Finder:
    finder = Finder(timeline, text)
    while not finder.complete:
        finder.scan(judged)
    return finder


@pytest.mark.parametrize(
    ("text", "filter_text"),
    [
        ("shutdown", 'text:"shutdown"'),
        ("two words", 'text:"two" text:"words"'),
        ('"two words"', 'text:"two words"'),
        ("it's", 'text:"it\'s"'),
        ("port:80", "port:80"),
        ("(flag:fin or flag:rst)", "(flag:fin or flag:rst)"),
        ("  ", "  "),
    ],
)
def test_plain_words_are_looked_for_in_the_text(text: str, filter_text: str) -> None:
    assert meaning(text) == filter_text


@pytest.mark.parametrize(
    "text",
    [
        "shutdown", "port:40002", "flag:fin", "conn:2 side:server", "not pid:201", "pid:201 or event:packet:sent",
        "event:socket:state state:fin-wait-2", "fd:5 call:connect", "conn:2 and not flag:ack", "conn:99",
    ],
)  # fmt: skip
def test_parts_find_what_one_look_at_every_event_finds(text: str) -> None:
    timeline = three()
    passes = event_predicate(meaning(text), timeline[0].time)
    expected = [event.order for event in timeline.events() if passes(event)]
    finder = whole(timeline, text)
    assert finder.orders.tolist() == expected
    assert finder.conns == {timeline[order].conn for order in expected} - {0}


def test_heads_rule_out_only_what_cannot_match() -> None:
    timeline = three()
    for text in ("conn:2", "conn:2 flag:fin", "conn:2 or pid:201", "not conn:2", "conn:2 or flag:fin"):
        finder = whole(timeline, text)
        (heads,) = timeline.heads()
        likely = shortlist(finder._node, heads)
        if likely is not None:
            assert all(likely[order] for order in finder.orders.tolist())
    assert shortlist(Finder(timeline, "conn:2 or flag:fin")._node, heads) is None


def test_what_comes_later_is_found_later() -> None:
    story = Story()
    half_close(story, 1)
    timeline = story.onto()
    finder = whole(timeline, "flag:fin")
    before = len(finder)
    half_close(story, 2, 3000)
    story.onto(timeline)
    assert not finder.complete
    while not finder.complete:
        finder.scan()
    assert len(finder) == 2 * before
    assert finder.conns == {1, 2}


def test_the_next_and_the_last_match() -> None:
    finder = whole(three(), "flag:fin")
    first, second = finder.orders[:2].tolist()
    assert finder.near(-1, 1) == first
    assert finder.near(first, 1) == second
    assert finder.near(second, -1) == first
    assert finder.near(first, -1) is None
    assert finder.near(int(finder.orders[-1]), 1) is None


def test_a_process_is_known_by_what_its_threads_say_of_themselves() -> None:
    story = Story()
    half_close(story, 1)
    at = 1_700_000_000_000_000_000
    story.builder.add("thread:running", at, {"comm": b"cli\x1bent"}, pid=201, tid=201)
    half_close(story, 2, 3000)
    timeline = story.onto()
    found = whole(timeline, 'process:"cli·ent" event:syscall:enter')
    assert found.conns == {1, 2}
    assert {timeline[order].pid for order in found.orders.tolist()} == {201}


@pytest.mark.parametrize("text", ["prot:80", "port:", "port:x", "(port:80", "flag:fin )"])
def test_what_is_no_filter_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(FilterError, match="at character"):
        Finder(three(), text)


def test_hidden_rows_leave_lines_for_the_others_alone() -> None:
    timeline = three()
    model, sight = Model(timeline, 1), Sight()
    model.reveal(len(timeline))
    sight.look(model)
    assert sight.count(model) == len(model) and sight.line(3) == sight.row(3) == 3
    sight.found, sight.hide = whole(timeline, "flag:fin"), True
    sight.look(model)
    rows = [sight.row(line) for line in range(sight.count(model))]
    assert rows == [at for at in range(len(model)) if sight.meets(model, at)]
    assert 0 < len(rows) < len(model)
    assert [sight.line(row) for row in rows] == list(range(len(rows)))
    assert sight.line(rows[1] - 1) == 0, "a row out of sight stands behind the one before it"
    sight.hide = False
    sight.look(model)
    assert sight.count(model) == len(model)
