"""The timeline as aligned lines and as JSON lines."""

from __future__ import annotations

import json

import pytest

from tests.playbook import CLOSING, HANDSHAKE, play
from tracer.export import jsonl, text
from tracer.kinds import KINDS, TYPES

BOOK = play(HANDSHAKE + CLOSING)


def test_lines_are_aligned_and_begin_at_zero() -> None:
    first = BOOK.timeline[0].time
    lines = [text.line(event, first) for event in BOOK.timeline.events()]
    order = BOOK.order("c CLOSE > SYN_SENT")
    assert lines[order] == "      0.007  #1   client socket   CLOSED → SYN_SENT 10.0.0.1:40001 → 10.0.0.2:80"
    assert lines[0].startswith("      0.000 ")
    column = text.HEADER.index("what")
    assert all(line[column - 1] == " " and line[column] != " " for line in lines)


@pytest.mark.parametrize("width", [40, 80])
def test_lines_are_cut_to_the_width_never_wrapped(width: int) -> None:
    whole = [text.line(event, BOOK.timeline[0].time) for event in BOOK.timeline.events()]
    lines = [text.line(event, BOOK.timeline[0].time, width) for event in BOOK.timeline.events()]
    assert lines == [line if len(line) <= width else line[: width - 1] + "…" for line in whole]
    assert any(len(line) > width for line in whole)


def test_a_guess_never_looks_like_a_sighting() -> None:
    book = play(
        """
        c CLOSE > SYN_SENT ?
        c SYN_SENT > ESTABLISHED ~
        c ESTABLISHED > FIN_WAIT1
        """
    )
    marks = [text.line(event, book.timeline[0].time)[11] for event in book.timeline.events()]
    assert marks == ["?", "~", " "]


def test_json_goes_by_the_names_of_the_table() -> None:
    read = json.loads(jsonl.line(BOOK.event("c CLOSE > SYN_SENT")))
    assert read | {
        "event": "socket:state",
        "evidence": "observed",
        "source": "kernel",
        "side": "client",
        "conn": 1,
        "sock": 2,
        "saddr": "10.0.0.1",
        "dport": 80,
        "old": "CLOSE",
        "new": "SYN_SENT",
    } == read
    packet = json.loads(jsonl.line(BOOK.event("s sends SYN,ACK")))
    assert packet["flags"] == "SYN,ACK"
    got = json.loads(jsonl.line(BOOK.event("server epoll gets fd 3 EPOLLIN")))
    assert (got["n"], got["data"], got["events"]) == (1, [3], ["EPOLLIN"])
    call = json.loads(jsonl.line(BOOK.event("client enters shutdown(5, 1) of c")))
    assert (call["call"], call["args"]) == ("shutdown", [5, 1, 0, 0])


def test_json_has_every_field_of_every_event_and_hides_none_behind_another() -> None:
    heads = set(jsonl.record(BOOK.timeline[0])) - {field.name for field in BOOK.timeline[0].kind.fields}
    for kind in KINDS:
        own = {field.name for field in kind.fields}
        assert not own & heads, f"{kind.name}: a field is called like one of the head"
    for event in BOOK.timeline.events():
        assert set(jsonl.record(event)) == heads | {field.name for field in event.kind.fields}


def test_json_is_ascii_on_one_line_whatever_a_program_calls_itself() -> None:
    line = jsonl.line(play("server step 1: \x1b[2Jünï").timeline[0])
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["text"] == "\x1b[2Jünï"


def test_jsonl_knows_every_way_in_which_a_field_is_shown() -> None:
    shown = {kind.shown for kind in TYPES.values()}
    assert shown == {"int", "hex", "ip", "state", "flags", "epoll", "call", "text", "bytes"}
