"""Lints on timelines made by hand: each finds its pattern, names its event, and keeps still where there is none."""

from __future__ import annotations

from typing import Any

import pytest

from tracer.batch import BatchBuilder
from tracer.kinds import KNOWN_SEQUENCE, KNOWN_WINDOW, Evidence, Side, Source
from tracer.lints import LINTS, check, summary
from tracer.lints.basis import Limits
from tracer.states import State
from tracer.timeline import Timeline

SECOND = 1_000_000_000
TIMEWAIT_PILE = Limits().timewait_pile
HOME = (0, 0xFFFF_7F00_0001)
ENDS = {"saddr": HOME, "sport": 8080, "daddr": HOME, "dport": 40000, "family": 4}
ALL = KNOWN_SEQUENCE | KNOWN_WINDOW


class Story:
    """Events of one socket, at seconds from the beginning."""

    def __init__(self) -> None:
        self._builder = BatchBuilder(Source.KERNEL, Evidence.OBSERVED)

    def add(self, seconds: float, kind: str, sock: int = 1, **fields: Any) -> Story:
        """One event more."""
        own = {**(ENDS if kind[:6] != "trace:" else {}), **fields}
        self._builder.add(kind, int(seconds * SECOND), own, sock=sock, conn=sock, side=Side.SERVER)
        return self

    def step(self, seconds: float, old: State, new: State, **fields: Any) -> Story:
        """A change of state."""
        return self.add(seconds, "socket:state", old=old, new=new, state=new, known=ALL, **fields)

    def found(self) -> list[tuple[str, int]]:
        """What the lints say of it: name and event."""
        timeline = Timeline()
        timeline.append(self._builder.take())
        return [(finding.lint, finding.order) for finding in check(timeline)]


def end(story: Story, seconds: float) -> Story:
    """The trace goes on until then."""
    return story.add(seconds, "trace:note", text="end")


@pytest.mark.parametrize(("until", "found"), [(3.0, []), (7.0, [("close-wait", 0)])])
def test_close_wait_counts_from_its_beginning(until: float, found: list[tuple[str, int]]) -> None:
    begun = Story().step(1, State.ESTABLISHED, State.CLOSE_WAIT)
    assert end(begun, until).found() == found
    left = Story().step(1, State.ESTABLISHED, State.CLOSE_WAIT).step(until, State.CLOSE_WAIT, State.LAST_ACK)
    assert left.found() == found


def test_a_window_of_zero_with_data_waiting() -> None:
    shut = {"state": State.ESTABLISHED, "known": ALL, "snd_una": 1, "write_seq": 5001, "snd_wnd": 0}
    story = Story().add(1, "socket:queues", **shut).add(2.5, "socket:queues", **{**shut, "snd_wnd": 4096})
    assert story.found() == [("zero-window", 0)]
    nothing_to_say = {**shut, "write_seq": 1}
    assert end(Story().add(1, "socket:queues", **nothing_to_say), 5).found() == []
    assert end(Story().add(1, "socket:queues", **shut), 1.5).found() == []


@pytest.mark.parametrize(("old", "extra", "found"), [
    (State.ESTABLISHED, 5, True), (State.ESTABLISHED, 0, False),
    (State.CLOSE_WAIT, 1, False),  # the FIN only
    (State.CLOSE_WAIT, 6, True), (State.LAST_ACK, 5, False),
])  # fmt: skip
def test_a_close_with_unread_data(old: State, extra: int, found: bool) -> None:
    story = Story().step(1, old, State.CLOSE, rcv_nxt=(100 + extra) & 0xFFFF_FFFF, copied_seq=100)
    story.add(1.0001, "reset:sent", state=State.CLOSE)
    assert story.found() == ([("reset-unread", 1)] if found else [])


def test_a_listener_that_nobody_serves() -> None:
    story = Story().add(1, "accept:queued", ack_backlog=1, max_ack_backlog=8)
    assert end(story, 4).found() == [("no-accept", 0)]
    story = Story().add(1, "accept:queued", ack_backlog=1, max_ack_backlog=8).add(1.1, "accept:taken", child_fd=5)
    assert end(story, 4).found() == []


def test_a_full_queue_a_lost_syn_and_dropped_segments() -> None:
    story = Story().add(1, "accept:overflow", ack_backlog=2, max_ack_backlog=1, peer=HOME, peer_port=40000)
    story.add(2, "socket:retransmit", state=State.SYN_SENT, rto=1_000_000).add(
        4, "socket:retransmit", state=State.SYN_SENT
    )
    story.add(5, "segment:dropped", why=b"NETFILTER_DROP").add(6, "segment:dropped", why=b"TCP_OLD_SEQUENCE")
    story.add(7, "segment:dropped", why=b"TCP_LISTEN_OVERFLOW").add(8, "reset:sent", why=b"TCP_KEEPALIVE_TIMEOUT")
    story.add(9, "socket:timer", timer=1, state=State.ESTABLISHED, rto=200_000).add(10, "socket:timer", timer=4)
    story.add(11, "request:overflow", qlen=2, max_ack_backlog=2, peer=HOME, peer_port=40000)
    assert story.found() == [
        ("accept-overflow", 0), ("syn-retransmitted", 1), ("dropped", 3), ("accept-overflow", 5), ("dead-peer", 6),
        ("retransmission-timeout", 7), ("accept-overflow", 9),
    ]  # fmt: skip


def test_time_wait_piles_up_only_when_all_are_there_at_once() -> None:
    story = Story()
    for number in range(TIMEWAIT_PILE + 500):
        story.add(1, "timewait:born", sock=number + 1, dport=1024 + number)
        if number >= 400:
            story.add(1, "timewait:expired", sock=number - 399, dport=1024 + number - 400)
    assert story.found() == []
    story = Story()
    for number in range(TIMEWAIT_PILE):
        story.add(1, "timewait:born", sock=number + 1, dport=10000 + number)
    assert story.found() == [("timewait-pile", TIMEWAIT_PILE - 1)]


def test_the_summary_says_what_to_do() -> None:
    timeline = Timeline()
    builder = BatchBuilder(Source.KERNEL, Evidence.OBSERVED)
    for port in range(5):
        builder.add("accept:overflow", port, {**ENDS, "peer": HOME, "peer_port": 1 + port, "dport": 0}, sock=1)
    timeline.append(builder.take())
    lines = list(summary(check(timeline)))
    assert lines[0].startswith("error: accept-overflow (5): ") and lines[4] == "  and 2 more"
    assert lines[5].startswith("  what to do: ") and len(lines) == 6
    assert list(summary([])) == ["no lint found anything"]


def test_every_lint_can_speak() -> None:
    assert len({lint.name for lint in LINTS}) == len(LINTS)
    severities = ("chat", "note", "warn", "error")
    assert all(lint.shows and lint.meaning and lint.advice and lint.severity in severities for lint in LINTS)
