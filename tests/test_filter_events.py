"""Events under a display filter, and the reference page."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracer.batch import BatchBuilder
from tracer.filter_events import EventRow, event_predicate
from tracer.filter_keys import keys_of
from tracer.filter_reference import filters
from tracer.kinds import Evidence, Side, Source
from tracer.segments import ACK, SYN, V4_MAPPED
from tracer.states import State
from tracer.timeline import Event, Timeline

START = 1_000_000_000
LOCAL = {"saddr": (0, V4_MAPPED | 0x7F000001), "daddr": (0, V4_MAPPED | 0x7F000002), "sport": 40000, "dport": 80}


@pytest.fixture
def story() -> Timeline:
    """One of each: packet, state, call, lost events, anomaly, thread, actor."""
    builder = BatchBuilder(Source.KERNEL, Evidence.OBSERVED)
    builder.add("packet:sent", START, {**LOCAL, "flags": SYN, "length": 0, "seq": 7, "analysis": 1, "ttl": 64},
                side=Side.CLIENT, conn=1)  # fmt: skip
    builder.add("socket:state", START + 5_000_000, {**LOCAL, "old": State.SYN_SENT, "new": State.ESTABLISHED,
                "state": State.SYN_SENT, "srtt": 20_000}, side=Side.CLIENT, conn=1, sock=2)  # fmt: skip
    builder.add("syscall:enter", START + 6_000_000, {"call": 5}, pid=42, tid=43, fd=3)
    builder.add("trace:lost", START + 7_000_000, {"lost": 3, "total": 3})
    builder.add("trace:anomaly", START + 8_000_000, {"text": "CLOSED cannot become FIN_WAIT2"})
    builder.add("thread:running", START + 9_000_000, {"comm": b"nginx"}, pid=42, tid=43)
    builder.add("actor:step", START + 10_000_000, {"step": 1, "actor": "client", "text": "connect"}, pid=44)
    timeline = Timeline()
    timeline.append(builder.take())
    return timeline


PACKET, STATE, CALL, LOST, ANOMALY, THREAD, STEP = range(7)


@pytest.mark.parametrize(
    ("text", "passing"),
    [
        ("", {0, 1, 2, 3, 4, 5, 6}),
        ("event:socket:state", {STATE}),
        ("event:socket,packet", {PACKET, STATE}),
        ("event:trace:*", {LOST, ANOMALY}),
        ("lane:wire", {PACKET}),
        ("state:established", {STATE}),
        ("old:syn-sent", {STATE}),
        ("state:syn-sent", set()),
        ("port:80", {PACKET, STATE}),
        ("src:127.0.0.1 dst:127.0.0.2", {PACKET, STATE}),
        ("flag:syn", {PACKET}),
        ("flag!=syn", {1, 2, 3, 4, 5, 6}),
        ("analysis:retransmission", {PACKET}),
        ("severity>=warn", {LOST, ANOMALY}),
        ("severity:note", {PACKET}),
        ("rtt>10ms", {STATE}),
        ("time<6ms", {PACKET, STATE}),
        ("conn:1", {PACKET, STATE}),
        ("pid:42", {CALL, THREAD}),
        ("fd:3", {CALL}),
        ("fd>=0", {CALL}),
        ("call:accept", {CALL}),
        ("process:NGINX", {THREAD}),
        ("process:client", {STEP}),
        ("text:fin_wait2", {ANOMALY}),
        ("evidence:observed side:client", {PACKET, STATE}),
        ("len:0", {PACKET}),
        ("ack>0", set()),
    ],
)  # fmt: skip
def test_conditions_on_events(story: Timeline, text: str, passing: set[int]) -> None:
    wanted = event_predicate(text, START)
    assert {event.order for event in story.events() if wanted(event)} == passing


def test_who_a_process_is_may_be_told(story: Timeline) -> None:
    def names(event: Event) -> str:
        return {42: "nginx"}.get(event.pid, "")

    wanted = event_predicate("process:nginx", START, names)
    assert [event.order for event in story.events() if wanted(event)] == [CALL, THREAD]


def test_every_key_for_events_can_be_asked_of_every_event(story: Timeline) -> None:
    answered = set()
    for event in story.events():
        row = EventRow(event, START)
        for key in keys_of("events"):
            for name in key.columns("events"):
                if row[name] is not None:
                    answered.add(key.name)
    missing = {key.name for key in keys_of("events")} - answered
    assert missing == {"ack"}, "the packet has no ACK; all other keys have an answer somewhere"
    assert not ACK & story[PACKET]["flags"]


def test_the_reference_page_says_what_the_tables_say() -> None:
    page = Path(__file__).parent.parent / "docs" / "filters.md"
    assert page.read_text(encoding="utf-8") == filters(), "run `make docs`"
