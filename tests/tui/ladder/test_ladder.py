"""The ladder: what a row shows is what its events say.

Whole pictures are compared with text files beside this one, drawn from the recording that came along (its times are
fixed). A picture that should change is written anew by
``python -m tests.tui.ladder.test_ladder``, and the difference is then read like any other.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from tests.recorded import read
from tests.tui.stories import C, Story
from tracer.batch import BatchBuilder
from tracer.events import NUMBER
from tracer.kinds import Evidence, Side, Source
from tracer.relevant import Relevant
from tracer.replay.analysis import RETRANSMISSION
from tracer.replay.findings import PacketFindings
from tracer.segments import ACK, FIN, RST, SYN, V4_MAPPED
from tracer.states import STATES, State
from tracer.timeline import Timeline
from tui.ladder import draw
from tui.ladder.model import Model
from tui.ladder.parts import Row
from tui.ladder.rows import Rows
from tui.track import Track

HERE = Path(__file__).parent
WIDTHS = (80, 124, 160)


@cache
def recorded(name: str) -> Timeline:
    """A recording that came along, with what its packets are found to be."""
    return read(name, [PacketFindings().extend])


def half_close() -> Timeline:
    """From connect() to the end of TIME_WAIT."""
    return recorded("half-close")


def picture(timeline: Timeline, width: int, limit: int | None = None) -> list[str]:
    """The ladder of connection 1 as lines of text."""
    model = Model(timeline, 1)
    model.reveal(len(timeline) if limit is None else limit)
    return [draw.header(width).rstrip(), *(draw.plain(model[i], width, model.start) for i in range(len(model)))]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_half_close_as_it_is_drawn(width: int) -> None:
    expected = (HERE / f"half-close-{width}.txt").read_text(encoding="utf-8").splitlines()
    assert picture(half_close(), width) == expected


@pytest.mark.parametrize("width", [40, 60, 72, 80, 100, 110, 124, 160, 200])
def test_every_row_is_exactly_as_wide_as_asked(width: int) -> None:
    model = Model(half_close(), 1)
    model.reveal(len(half_close()))
    assert cell_len(draw.header(width)) == width
    for i in range(len(model)):
        assert cell_len("".join(text for text, _ in draw.row(model[i], width, model.start))) == width


def test_every_event_is_in_exactly_one_row() -> None:
    model = Model(half_close(), 1)
    model.reveal(len(half_close()))
    inside = [order for i in range(len(model)) for order in model[i].orders]
    assert inside == Relevant(half_close(), 1).orders().tolist()


def test_rows_follow_each_other_in_the_order_of_events() -> None:
    model = Model(half_close(), 1)
    model.reveal(len(half_close()))
    mains = [model.main(i) for i in range(len(model)) if model.main(i) >= 0]
    assert mains == sorted(mains)
    for i in range(len(model)):
        if model[i].orders:
            assert model.row_of(model.main(i)) == i


def test_stepping_back_and_forth_shows_what_a_fresh_fold_shows() -> None:
    timeline = half_close()
    walked = Model(timeline, 1)
    for limit in [*range(0, len(timeline), 7), *range(len(timeline), 0, -11), 60, 61, 59, 0, len(timeline)]:
        walked.reveal(limit)
        fresh = Model(timeline, 1)
        fresh.reveal(limit)
        assert [walked[i] for i in range(len(walked))] == [fresh[i] for i in range(len(fresh))], limit


def test_nothing_beyond_the_playhead_is_given_away() -> None:
    timeline = half_close()
    fin = next(e.order for e in timeline.events() if e.name == "socket:state" and e["new"] == State.FIN_WAIT1)
    shown = "\n".join(picture(timeline, 124, limit=fin))
    assert "FIN,ACK" not in shown and "FIN_WAIT" not in shown and "CLOSE_WAIT" not in shown


# Arrows and lanes, from handmade events

HOME = (0, V4_MAPPED | 0x7F000001)


class Told:
    """A few events of connection 1, ready for the fold."""

    def __init__(self) -> None:
        self.builder = BatchBuilder(Source.KERNEL, Evidence.OBSERVED)
        self.time = 1_000_000_000

    def add(self, kind: str, side: Side = Side.NONE, after: int = 1000, evidence: Evidence = Evidence.OBSERVED,
            head: dict[str, Any] | None = None, **own: Any) -> Told:  # fmt: skip
        self.time += after
        more = {"conn": 1, "sock": int(side), "pid": 0, "evidence": evidence, **(head or {})}
        self.builder.add(kind, self.time, own, side=side, **more)
        return self

    def packet(self, kind: str, side: Side, flags: int, seq: int, after: int = 1000, **own: Any) -> Told:
        return self.add(f"packet:{kind}", side, after, flags=flags, seq=seq, **own)

    def rows(self, pids: dict[int, Side] | None = None) -> list[Row]:
        timeline, rows = Timeline(), Rows(pids or {})
        timeline.append(self.builder.take())
        for event in timeline.events():
            rows.add(event)
        return rows.rows

    def drawn(self, width: int = 80, pids: dict[int, Side] | None = None) -> list[str]:
        return [draw.plain(row, width, 1_000_000_000) for row in self.rows(pids)]


def wire(line: str) -> str:
    """What is on the wire in a row of 80 columns."""
    lane = draw.lanes(80)
    at = 1 + lane.time + 1 + lane.app + 1 + lane.socket
    return line[at : at + lane.wire].strip()


@pytest.mark.parametrize(
    ("flags", "own", "side", "shape"),
    [
        (SYN, {}, Side.CLIENT, "───── SYN seq=0 ──────▶"),
        (SYN | ACK, {"ack": 1}, Side.SERVER, "◀───── SYN,ACK 0 ──────"),
        (ACK, {"ack": 9}, Side.CLIENT, "╌╌ ACK ack=1 win=0 ╌╌╌▶"),
        (FIN | ACK, {"ack": 9}, Side.SERVER, "◀───── FIN,ACK 1 ──────"),
        (RST, {}, Side.CLIENT, "───── RST seq=1 ──────✗"),
        (ACK, {"length": 5, "analysis": RETRANSMISSION}, Side.CLIENT, "════ ACK 1:6 rtx ═════▶"),
    ],
)  # fmt: skip
def test_arrows_say_what_kind_of_segment_it_is(flags: int, own: dict[str, int], side: Side, shape: str) -> None:
    told = Told().packet("sent", side, flags, 100, skb=1, **own).packet("received", side, flags, 100, skb=1, **own)
    assert [wire(line) for line in told.drawn()] == [shape]


def test_a_segment_that_never_arrived_is_half_an_arrow() -> None:
    (line,) = Told().packet("sent", Side.CLIENT, SYN, 100).drawn()
    assert "…" in wire(line) and "▶" not in wire(line)


def test_a_segment_overtaken_by_others_arrives_in_a_row_of_its_own() -> None:
    told = Told().packet("sent", Side.CLIENT, SYN, 100).packet("sent", Side.SERVER, SYN, 500)
    told.packet("received", Side.CLIENT, SYN, 100).packet("received", Side.SERVER, SYN, 500)
    lines = [wire(line) for line in told.drawn()]
    assert len(lines) == 4
    assert "…" in lines[0] and "…" in lines[1]
    assert lines[2].endswith("▶") and lines[3].startswith("◀")


def test_equal_timestamps_lose_nothing() -> None:
    told = Told()
    for seq in range(5):
        told.packet("captured", Side.CLIENT, ACK, 100 + seq * 10, after=0, length=10)
    assert len(told.rows()) == 5


def test_idle_time_is_one_row_that_names_it() -> None:
    told = Told().packet("captured", Side.CLIENT, SYN, 1).packet("captured", Side.SERVER, SYN, 1, after=2_300_000_000)
    lines = told.drawn()
    assert len(lines) == 3
    assert "2.30 s, nothing happened" in lines[1]


@pytest.mark.parametrize(
    ("evidence", "mark"), [(Evidence.OBSERVED, "ES "), (Evidence.SAMPLED, "ES~"), (Evidence.INFERRED, "ES?")]
)
def test_a_guess_never_looks_like_a_sighting(evidence: Evidence, mark: str) -> None:
    told = Told().add("socket:state", Side.CLIENT, evidence=evidence, old=State.SYN_SENT, new=State.ESTABLISHED)
    assert mark in told.drawn()[0]


def test_an_unseen_side_is_left_blank() -> None:
    (line,) = Told().add("socket:state", Side.CLIENT, old=State.CLOSE, new=State.SYN_SENT).drawn()
    assert "SS" in line and "--" not in line and "??" not in line


def test_the_queues_of_the_listener_stand_at_the_server() -> None:
    told = Told().packet("sent", Side.CLIENT, ACK, 1).packet("received", Side.CLIENT, ACK, 1)
    told.add("accept:queued", head={"conn": 0}, ack_backlog=1, max_ack_backlog=5)
    (line,) = told.drawn()
    assert "accq 1/5" in line


def test_timewait_outlives_the_socket_it_took_over_from() -> None:
    told = Told().add("timewait:born", Side.CLIENT, substate=State.TIME_WAIT, left=60_000_000_000)
    told.add("socket:state", Side.CLIENT, old=State.FIN_WAIT2, new=State.CLOSE)
    told.add("syscall:enter", head={"pid": 7, "tid": 7, "conn": 0, "sock": 0}, call=12)
    lines = told.drawn(pids={7: Side.CLIENT})
    assert all("TW" in line for line in lines)


def test_the_present_counts_timewait_down() -> None:
    told = Told().add("timewait:born", Side.CLIENT, substate=State.TIME_WAIT, left=60_000_000_000)
    timeline, rows = Timeline(), Rows({})
    timeline.append(told.builder.take())
    rows.add(timeline[0])
    later = rows.present(timeline[0].time + 41_000_000_000)
    assert later is not None and "19 s left" in draw.plain(later, 80, 0) and "live" in draw.plain(later, 80, 0)
    assert rows.present(timeline[0].time + 61_000_000_000) is None


def test_names_from_outside_are_text_and_stay_in_their_lane() -> None:
    hostile = "[bold]\x1b[31m\u202e" + "x" * 300
    told = Told().add("trace:note", text=hostile).add("actor:step", actor=hostile, text=hostile, step=1)
    for line in told.drawn():
        assert "\x1b" not in line and "\u202e" not in line and "[bold]" in line
        assert cell_len(line) <= 80


def test_losses_are_a_row_across_all_lanes() -> None:
    assert "12 events were lost here" in Told().add("trace:lost", lost=12, total=12).drawn()[0]


def test_an_empty_timeline_is_an_empty_ladder() -> None:
    model = Model(Timeline(), 0)
    model.reveal(0)
    assert len(model) == 0 and model.row_of(5) == -1


def test_very_many_events_are_a_row_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.ladder.model.MERGED", 50)
    model = Model(half_close(), 1)
    model.reveal(len(half_close()))
    orders = Relevant(half_close(), 1).orders()
    assert len(model) == len(orders)
    assert [model.main(i) for i in range(len(model))] == orders.tolist()
    packet = next(i for i in range(len(model)) if half_close()[model.main(i)].number == NUMBER["packet:sent"])
    assert model[packet].arrow is not None


def test_rows_that_are_merged_a_few_events_at_a_time_are_those_merged_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Model(half_close(), 1)
    whole.reveal(len(half_close()))
    monkeypatch.setattr("tui.ladder.model.AT_ONCE", 7)
    monkeypatch.setattr("tui.track.AT_ONCE", 7)
    model, track = Model(half_close(), 1), Track(half_close(), 1)
    orders = track.relevant.orders().tolist()
    model.reveal(len(half_close()))
    track.refresh()
    assert model.behind and track.behind
    assert [model.main(at) for at in range(len(model))] == orders, "until then a row an event"
    assert track.row_of(orders[3]) == (orders[3], orders[3])
    while model.behind or track.behind:
        model.reveal(len(half_close()))
        track.refresh()
    assert [model[at] for at in range(len(model))] == [whole[at] for at in range(len(whole))]
    for at in range(len(whole)):
        if row := whole.orders(at):
            assert track.row_of(whole.main(at)) == (row[0], row[-1])


def test_where_each_event_is_a_row_the_lanes_go_on_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Model(half_close(), 1)
    whole.reveal(len(half_close()))
    monkeypatch.setattr("tui.ladder.model.MERGED", 50)
    model = Model(half_close(), 1)
    model.reveal(len(half_close()))
    for at in range(len(model)):
        merged = whole[whole.row_of(model.main(at))]
        for one, end in ((model[at].client, merged.client), (model[at].server, merged.server)):
            assert one.state == end.state or merged.orders[-1] > model.main(at) or end.moved
    last, kept = draw.plain(model[len(model) - 1], 124, model.start), whole[len(whole) - 1]
    assert STATES[kept.client.state].code in last and STATES[kept.server.state].code in last
    arrows = [model[i].arrow for i in range(len(model))]
    numbers = [arrow.label[-1] for arrow in arrows if arrow is not None]
    merged_numbers = {whole[i].arrow.label[-1] for i in range(len(whole)) if whole[i].arrow is not None}  # type: ignore[union-attr]
    assert set(numbers) == merged_numbers, "sequence numbers count from the SYN"


if __name__ == "__main__":
    for size in WIDTHS:
        (HERE / f"half-close-{size}.txt").write_text("\n".join(picture(half_close(), size)) + "\n", encoding="utf-8")


def test_a_long_errno_is_not_cut_off_and_a_plain_success_is_not_told() -> None:
    story = Story()
    story.state(0, 1, C, State.CLOSE, State.SYN_SENT)
    story.call(1, 1, C, "connect", 7)
    story.call(2, 1, C, "connect", 7, ret=-115)
    story.call(3, 1, C, "setsockopt", 7)
    story.call(4, 1, C, "setsockopt", 7, ret=0)
    timeline = story.onto()
    narrow, wide = (" ".join(picture(timeline, width)) for width in (80, 160))
    assert " = EINPROGRESS " in narrow and "connect(7) = EINPROGRESS" in wide
    assert "setsockopt" in narrow and "…" not in narrow


def test_a_thread_leaves_socket_also_where_it_made_one_for_another_connection() -> None:
    drawn = " ".join(picture(recorded("accept-queue"), 124))
    assert "socket() = 3" in drawn and "socket() = 4" in drawn
    assert "socket(), asleep" not in drawn


def test_no_lane_is_called_missing_before_anybody_has_connected() -> None:
    """A listener alone: its client is not hidden, there is none."""
    model = Model(recorded("listen"), 0)
    model.reveal(len(recorded("listen")))
    assert len(model) and not model.missing
