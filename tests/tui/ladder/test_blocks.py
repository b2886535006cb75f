"""Rows of a connection of very many events, made a block at a time, are those that one fold over all of them makes."""

from __future__ import annotations

import random

import pytest

from tests.recorded import read
from tests.tui.stories import START, C, Story, V
from tracer.kinds import Side
from tracer.replay.analysis import RETRANSMISSION
from tracer.segments import ACK, FIN, PSH, SYN
from tracer.states import State
from tracer.timeline import Timeline
from tui.ladder import draw
from tui.ladder.model import Model
from tui.track import Track

RECORDINGS = ("half-close", "keepalive", "last-ack-lost", "netpoller-echo", "syn-queue", "time-wait-reuse", "blackhole")


class Long(Story):
    """A connection on a lossy line that never ends."""

    def segment(self, kind: str, us: float, side: Side, seq: int, length: int = 100, *, again: bool = False) -> None:
        """A segment is sent, received or dropped."""
        fields = self._ends(1, side) | {
            "flags": PSH | ACK, "seq": seq, "ack": 5001, "length": length,
        }  # fmt: skip
        if kind != "network:dropped":
            fields |= {
                "window": 502,
                "wscale": -1,
                "family": 4,
                "ttl": 64,
                "header": 20,
                "analysis": RETRANSMISSION if again else 0,
            }
        self.builder.add(kind, START + round(us * 1000), fields, conn=1, side=side)

    def queue(self, us: float, side: Side, unread: int) -> None:
        """What a buffer holds."""
        fields = {"state": State.ESTABLISHED, "rcv_nxt": 1000 + unread, "copied_seq": 1000, "known": 31}
        self.builder.add("socket:queues", START + round(us * 1000), fields, **self._head(1, side))


def long_story(events: int, seed: int = 1) -> Timeline:
    """Calls, segments that arrive at once, late, after others, never, again; queues; now and then silence."""
    story, odd, us, seq, call = Long(), random.Random(seed), 100.0, 1001, 0
    story.call(0, 1, C, "connect", 5)
    story.state(0.001, 1, C, State.CLOSE, State.SYN_SENT)
    story.packet(0.002, 1, C, SYN, 1000)
    story.packet(0.02, 1, V, SYN | ACK, 5000, 1001)
    story.state(0.04, 1, C, State.SYN_SENT, State.ESTABLISHED)
    story.packet(0.042, 1, C, ACK, 1001, 5001)
    story.state(0.055, 1, V, State.LISTEN, State.SYN_RECV)
    story.state(0.056, 1, V, State.SYN_RECV, State.ESTABLISHED)
    story.call(0.06, 1, C, "connect", 5, ret=0)
    late: list[int] = []
    while len(story.builder) < events - 20:
        us += odd.choice((1, 5, 20, 300_000 if odd.random() < 0.02 else 30))
        what = odd.random()
        if what < 0.5:
            call += 1
            story.call(us / 1000, 1, C, "sendto", 5)
            story.segment("packet:sent", us + 1, C, seq)
            if what < 0.35:
                story.segment("packet:received", us + 2, C, seq)
                story.queue(us + 3, V, odd.choice((0, 100, 200)))
            else:
                late.append(seq)
            story.call((us + 4) / 1000, 1, C, "sendto", 5, ret=100)
            seq, us = seq + 100, us + 4
        elif what < 0.7:
            story.call(us / 1000, 1, V, "recvfrom", 7)
            story.queue(us + 1, V, odd.choice((0, 100)))
            story.call((us + 2) / 1000, 1, V, "recvfrom", 7, ret=100)
            us += 2
        elif late and what < 0.8:
            story.segment("packet:received", us, C, late.pop(odd.randrange(len(late))))
        elif late and what < 0.84:
            story.segment("network:dropped", us, C, late.pop(odd.randrange(len(late))))
        elif late and what < 0.88:
            lost = odd.choice(late)
            story.segment("packet:sent", us, C, lost, again=True)
            if what < 0.86:
                story.segment("packet:received", us + 1, C, lost, again=True)
                late.remove(lost)
                us += 1
        else:
            story.queue(us, odd.choice((C, V)), odd.choice((0, 100, 300)))
    ms = us / 1000
    story.state(ms + 1, 1, C, State.ESTABLISHED, State.FIN_WAIT1)
    story.packet(ms + 1.1, 1, C, FIN | ACK, seq, 5001)
    story.state(ms + 1.2, 1, V, State.ESTABLISHED, State.CLOSE_WAIT)
    story.packet(ms + 1.3, 1, V, ACK, 5001, seq + 1)
    story.state(ms + 1.4, 1, C, State.FIN_WAIT1, State.FIN_WAIT2)
    return story.onto()


def both(
    timeline: Timeline, conn: int, patch: pytest.MonkeyPatch, limit: int | None = None, size: int = 256
) -> tuple[Model, Model]:
    """The connection's rows from one fold, and from blocks."""
    limit = len(timeline) if limit is None else limit
    with patch.context() as small:
        small.setattr("tui.ladder.model.MERGED", 1 << 60)
        small.setattr("tui.ladder.model.AT_ONCE", 1 << 60)
        whole = Model(timeline, conn)
        whole.reveal(limit)
    patch.setattr("tui.ladder.model.MERGED", 1)
    patch.setattr("tui.track.MERGED", 1)
    patch.setattr("tui.ladder.blocks.SIZE", size)
    parts = Model(timeline, conn)
    parts.reveal(limit)
    return whole, parts


def settled(model: Model) -> Model:
    """All rows of it merged."""
    at = 0
    while at < len(model):
        at = model.settle(at, 40) + 40
    return model


def test_thirty_thousand_events_are_drawn_as_one_fold_draws_them(monkeypatch: pytest.MonkeyPatch) -> None:
    timeline, odd = long_story(30_000), random.Random(2)
    whole, parts = both(timeline, 1, monkeypatch)
    assert len(parts) == len(timeline) > len(whole) * 2, "nothing is merged before it is looked at"
    for _ in range(15):
        order = odd.randrange(len(timeline))
        at, there = parts.row_of(order), whole.row_of(order)
        at = parts.settle(at, 60)
        for one, other in zip(range(at, len(parts)), range(there, there + 60), strict=False):
            assert draw.plain(parts[one], 124, parts.start) == draw.plain(whole[other], 124, whole.start)
            assert parts.orders(one) == whole.orders(other)
    assert len(parts) > len(whole) * 1.5, "most of it was not looked at, and is not merged"
    settled(parts)
    assert [parts.orders(at) for at in range(len(parts))] == [whole.orders(at) for at in range(len(whole))]
    shown = [draw.plain(whole[at], 124, whole.start) for at in range(len(whole))]
    assert any("✗" in line for line in shown) and any("rtx" in line for line in shown)
    assert any("nothing happened" in line for line in shown) and any("…" in line[30:90] for line in shown)


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_in_the_smallest_blocks_has_the_rows_of_one_fold(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeline = read(name)
    for conn in (0, 1, 2):
        whole, parts = both(timeline, conn, monkeypatch, size=1)
        settled(parts)
        assert [parts[at] for at in range(len(parts))] == [whole[at] for at in range(len(whole))]
        for at in range(len(whole)):
            if (main := whole.main(at)) >= 0:
                assert parts.row_of(main) == at and parts.main(at) == main


def test_no_block_tells_of_what_lies_beyond_the_playhead(monkeypatch: pytest.MonkeyPatch) -> None:
    timeline = long_story(700, seed=3)
    for limit in range(0, len(timeline), 61):
        whole, parts = both(timeline, 1, monkeypatch, limit, size=8)
        settled(parts)
        assert [parts[at] for at in range(len(parts))] == [whole[at] for at in range(len(whole))], limit


def test_the_playhead_may_go_back_and_forth_over_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    timeline = long_story(1_200, seed=4)
    _, walked = both(timeline, 1, monkeypatch, size=16)
    for limit in (1_200, 900, 901, 950, 40, 41, 0):
        walked.reveal(limit)
        whole, _ = both(timeline, 1, monkeypatch, limit, size=16)
        settled(walked)
        assert [walked[at] for at in range(len(walked))] == [whole[at] for at in range(len(whole))], limit


def test_stepping_goes_by_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    timeline = long_story(1_500, seed=5)
    monkeypatch.setattr("tui.track.AT_ONCE", 1 << 60)
    whole = Track(timeline, 1)
    whole.refresh()
    monkeypatch.setattr("tui.track.MERGED", 1)
    monkeypatch.setattr("tui.ladder.blocks.SIZE", 16)
    parts = Track(timeline, 1)
    parts.refresh()
    odd = random.Random(6)
    for place in [0, 1, len(whole), *(odd.randrange(len(whole)) for _ in range(60))]:
        for by in (1, -1, 7, -7):
            assert parts.rest(place, by) == whole.rest(place, by), (place, by)
        if place < len(whole):
            assert parts.row_of(whole[place]) == whole.row_of(whole[place])
            assert parts.main_of(whole[place]) == whole.main_of(whole[place])


def test_rows_are_reached_one_by_one_and_the_end_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    timeline = long_story(3_000, seed=7)
    whole, parts = both(timeline, 1, monkeypatch, size=32)
    at = parts.reach(len(parts) - 1, 0)
    assert parts.main(at) == whole.main(len(whole) - 1) and at == len(parts) - 1
    at = parts.reach(at, -7)
    assert parts.main(at) == whole.main(len(whole) - 8)
    at = parts.reach(0, 100)
    assert parts.main(at) == whole.main(100) and at == 100
    assert parts.main(parts.reach(at, -1000)) == whole.main(0)
    assert parts.main(parts.reach(at, 1 << 60)) == whole.main(len(whole) - 1)


def test_what_grows_is_cut_as_what_was_there_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    timeline = long_story(3_000, seed=8)
    grown = Timeline()
    monkeypatch.setattr("tui.ladder.model.AT_ONCE", 1 << 60)
    whole, _ = both(timeline, 1, monkeypatch, size=32)
    model = Model(grown, 1)
    for start in range(0, len(timeline), 70):
        grown.append(timeline.batch(start, start + 70))
        model.reveal(len(grown))
        model.settle(model.row_of(len(grown) - 1), 10)
    settled(model)
    assert [model.orders(at) for at in range(len(model))] == [whole.orders(at) for at in range(len(whole))]
