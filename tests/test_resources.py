"""The lifecycle table: what a connection takes up, from the recorded half-close and from events made up for it."""

from __future__ import annotations

import json
import re

import pytest

from tests.recorded import recorded
from tests.tui.stories import START, C, Story, V, half_close
from tracer.resources import KINDS, POLL, Ledger, Resource, record, resources, table
from tracer.states import State
from tracer.timeline import Timeline


def of(kind: str, side: str, rows: list[Resource]) -> Resource:
    (row,) = [row for row in rows if row.kind == kind and row.side.name.lower() == side]
    return row


@pytest.mark.parametrize(
    ("side", "kind", "born", "freed"),
    [
        ("client", "descriptor", "socket() = 3", "close(3) = 0"),
        ("client", "socket", "socket() = 3", "is freed"),
        ("client", "TIME_WAIT object", "TIME_WAIT object takes over", "object's time is over"),
        ("server", "descriptor", "accept() took fd 5", "close(5) = 0"),
        ("server", "epoll item", "EPOLL_CTL_ADD fd 5 in epoll 4", "close(5) = 0"),
        ("server", "request sock", "request sock enters the SYN queue", "request sock leaves the SYN queue"),
        ("server", "socket", "LISTEN → SYN_RECV", "is freed"),
        ("server", "receive buffer", "LISTEN → SYN_RECV", "is freed"),
    ],
)
def test_each_resource_of_the_half_close_is_born_and_freed_by_its_own_event(
    side: str, kind: str, born: str, freed: str
) -> None:
    timeline = recorded()
    told = record(timeline, 1, of(kind, side, resources(timeline, 1)))
    assert born in told["born"]["words"]
    assert freed in told["freed"]["words"]


def test_the_socket_outlives_the_time_wait_hand_over_and_the_descriptor_not_the_socket() -> None:
    rows = resources(recorded(), 1)
    client, waits = of("socket", "client", rows), of("TIME_WAIT object", "client", rows)
    assert waits.born < client.freed < of("descriptor", "client", rows).freed < waits.freed
    assert not [row for row in rows if row.kind == "TIME_WAIT object" and row.side.name == "SERVER"]


def test_buffers_tell_the_most_memory_they_took() -> None:
    rows = resources(recorded(), 1)
    received = of("receive buffer", "server", rows)
    assert received.bytes is not None and 0 < received.bytes < received.limit
    assert of("descriptor", "server", rows).bytes is None


def test_a_netpoller_s_poll_descriptor_lives_within_its_descriptor() -> None:
    timeline = recorded("netpoller-echo")
    rows = resources(timeline, 1)
    told, fd = of("poll descriptor", "server", rows), of("descriptor", "server", rows)
    assert fd.born < told.born < told.freed < fd.freed
    assert {kind for kind in KINDS if not any(row.kind == kind for row in rows)} == set()
    evidence = {record(timeline, 1, row)["born"]["evidence"] for row in rows if row.kind == "poll descriptor"}
    assert evidence == {"reported"}, "the kernel knows nothing of it"


def test_nothing_ahead_of_the_moment_is_told() -> None:
    timeline = recorded()
    ledger = Ledger(timeline, 1)
    ledger.refresh()
    whole = ledger.at(len(timeline))
    for limit in range(0, len(timeline), 7):
        for row in ledger.at(limit):
            assert row.born < limit and row.freed < limit
            assert all(order < limit for order, _ in row.most)
    assert ledger.at(0) == []
    assert {row.kind for row in whole} == set(KINDS) - {POLL}, "no runtime tells of poll descriptors there"


def test_growing_and_folding_at_once_give_the_same_table() -> None:
    whole = recorded()
    timeline = Timeline()
    ledger = Ledger(timeline, 1)
    for start in range(0, len(whole), 10):
        timeline.append(whole.batch(start, start + 10))
        ledger.refresh()
    assert ledger.at(len(timeline)) == resources(whole, 1)


def test_what_was_there_before_the_trace_has_no_birth() -> None:
    story = Story()
    story.call(0, 1, C, "sendto", 9)
    story.state(1, 1, C, State.ESTABLISHED, State.FIN_WAIT1)
    timeline = story.onto()
    rows = resources(timeline, 1)
    assert [(row.kind, row.born) for row in rows if row.kind in ("descriptor", "socket")] == [
        ("descriptor", -1), ("socket", -1),
    ]  # fmt: skip
    assert "before the trace" in "\n".join(table(timeline, 1))


def test_a_copy_of_a_descriptor_is_one_more_resource_and_the_process_end_frees_what_is_left() -> None:
    story = Story()
    story.call(0, 1, C, "socket", -1, ret=5)
    story.state(1, 1, C, State.CLOSE, State.SYN_SENT)
    story.call(2, 1, C, "dup", 5, ret=6)
    story.call(3, 1, C, "close", 5, ret=0)
    head = story._head(1, C) | {"conn": 0, "sock": 0, "side": 0, "addr": 0}
    story.builder.add("process:exit", 1_700_000_000_000_000_000 + 4_000_000, {"comm": b"client"}, **head)
    rows = [row for row in resources(story.onto(), 1) if row.kind == "descriptor"]
    assert [(row.name, row.born, row.freed) for row in rows] == [
        ("fd 5 of process 201", 0, 3), ("fd 6 of process 201", 2, 4),
    ]  # fmt: skip


def test_the_socket_of_a_refused_connection_goes_on_into_the_next_one_and_ends_there() -> None:
    timeline = recorded("refused")
    first, second = resources(timeline, 1), resources(timeline, 2)
    for kind in ("descriptor", "socket", "receive buffer", "send buffer"):
        assert of(kind, "client", first).freed == of(kind, "client", second).freed > 0, kind
    assert of("receive buffer", "client", first).bytes == 0 and of("receive buffer", "client", second).bytes


def test_packets_alone_tell_of_no_resource() -> None:
    story = Story()
    story.packet(0, 1, V, 2, 100)
    assert resources(story.onto(), 1) == []


def test_rows_are_plain_data() -> None:
    timeline = recorded()
    for row in resources(timeline, 1):
        told = json.loads(json.dumps(record(timeline, 1, row)))
        assert set(told) == {"conn", "resource", "side", "name", "born", "freed", "bytes", "limit"}


def test_each_line_of_the_table_is_one_resource() -> None:
    story = Story()
    half_close(story, 1)
    timeline = story.onto()
    rows = resources(timeline, 1)
    assert len(list(table(timeline, 1))) == 1 + len({row.side for row in rows}) + len(rows)


def test_in_a_narrow_terminal_the_bytes_stand_below_and_nothing_is_wider() -> None:
    lines = list(table(recorded(), 1, 80))
    assert [line for line in lines if len(line) > 80] == []
    assert [line for line in lines if re.fullmatch(r" +at most \d+ B of 128 KiB", line)]
    assert re.fullmatch(r"connection 1, 127\.0\.0\.1:\d+ → 127\.0\.0\.1:8080: 11 resources seen", lines[0])


def test_a_poll_descriptor_is_the_runtime_s_and_of_this_connection_only() -> None:
    story = Story()
    story.call(0, 1, C, "socket", -1, ret=5)
    story.state(1, 1, C, State.CLOSE, State.SYN_SENT)
    poll_changes(story, (2, 5, "open"), (3, 5, "park"), (4, 9, "open"), (5, 5, "close"), (6, 5, "open"))
    story.call(7, 1, C, "close", 5, ret=0)
    rows = [row for row in resources(story.onto(), 1) if row.kind == POLL]
    assert [(row.name, row.born, row.freed) for row in rows] == [("fd 5, go", 2, 5), ("fd 5, go", 6, -1)]


def test_a_poll_descriptor_that_was_there_before_has_no_birth() -> None:
    story = Story()
    story.call(0, 1, C, "sendto", 9)
    story.state(1, 1, C, State.ESTABLISHED, State.FIN_WAIT1)
    poll_changes(story, (2, 9, "readable"), (3, 9, "close"))
    assert [(row.born, row.freed) for row in resources(story.onto(), 1) if row.kind == POLL] == [(-1, 3)]


def poll_changes(story: Story, *changes: tuple[int, int, str]) -> None:
    """What Go's runtime does to poll descriptors: (ms, descriptor, why)."""
    for ms, fd, why in changes:
        head = story._head(1, C) | {"conn": 0, "sock": 0, "side": 0, "addr": 0, "fd": fd}
        own = {"desc": fd, "rg": b"nil", "wg": b"nil", "why": why.encode(), "runtime": b"go"}
        story.builder.add("polldesc:change", START + ms * 1_000_000, own, **head)
