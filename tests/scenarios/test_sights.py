"""The story of half-close is seen, by whatever means: packets and samples, or the socket table alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest

from scenarios import registry
from scenarios.namespaces import Kind
from scenarios.play import Play
from scenarios.reports import ActorReports
from scenarios.sights import CannotTell, Seen, evaluate, failed
from scenarios.stage import Stage, StageError
from tracer.batch import BatchBuilder
from tracer.kernel.clock import measure
from tracer.kinds import Evidence, Side, Source
from tracer.segments import V4_MAPPED
from tracer.session import EventSource, Session
from tracer.states import State
from tracer.tables.source import TableSource
from tracer.timeline import Timeline
from tracer.wire.ring import RingSeat
from tracer.wire.source import WireSource


def watched(kind: Kind, hold: float = 0.0, derive: Sequence[Any] = ()) -> Timeline:
    """Play half-close, watched as a plain user can."""
    stage = Stage.of("half-close", (kind,))
    try:
        ground = stage.open()
    except StageError as failure:
        pytest.skip(str(failure))
    with stage:
        sources: list[EventSource] = []
        netns = ground.networks["client"]
        if ground.isolated:
            sources.append(WireSource(RingSeat(stage.socket("packet"), stage.interface), netns))
        table = TableSource(stage.socket("diag"), netns, [ground.port], list(ground.pids.values()))
        reports = ActorReports(measure().ns, calls=True, before_step=table.look)
        session = Session([*sources, table, reports], derive=derive)
        session.start()
        play = Play(stage, pace=hold, listener=reports.hear)
        play.start()
        assert play.wait(20)
        assert play.failure == ""
        time.sleep(0.05)
        session.stop()
        return session.timeline


@pytest.mark.parametrize("kind", ["namespace", "user-namespace"])
def test_all_of_it_is_seen_by_packets_samples_and_reports(kind: Kind) -> None:
    outcomes = evaluate(registry.find("half-close"), watched(kind, hold=0.01))
    assert failed(outcomes) == []
    # Which of two moments came first is for probes; a reading every 1.5 ms may come too late for the last check.
    assert [outcome.verdict for outcome in outcomes[:-1]] == ["seen"] * 5


def test_on_the_hosts_loopback_states_are_seen_and_packets_not() -> None:
    outcomes = evaluate(registry.find("half-close"), watched("host", hold=0.01))
    assert failed(outcomes) == []
    verdicts = {outcome.text.split()[0] + " " + outcome.text.split()[1]: outcome.verdict for outcome in outcomes}
    assert verdicts["data flow"] == "cannot tell"
    # The host's table may hold thousands of sockets of others, and then takes longer to read than a state lasts.
    states = {(outcome.verdict, "between two readings" in outcome.reason) for outcome in outcomes[1:3]}
    assert states <= {("seen", False), ("cannot tell", True)}


def test_the_timeline_is_in_order_and_names_the_sides() -> None:
    timeline = watched("user-namespace")
    steps = [event["step"] for event in timeline.events() if event.name == "actor:step"]
    assert steps == list(range(1, 16))
    enters = [(e.pid, e.call, e.time) for e in timeline.events() if e.name == "syscall:enter"]
    sleeping = next(time for _, call, time in enters if call == "epoll_wait")
    connecting = next(time for _, call, time in enters if call == "connect")
    assert sleeping < connecting
    ready = [e for e in timeline.events() if e.name == "epoll:wait"]
    assert [(e["n"], e["data"][0], e["events"][0]) for e in ready] == [(1, 3, 1), (1, 5, 1), (1, 5, 0x2001)]
    watched_fds = [(e.fd, e["epfd"], e["events"]) for e in timeline.events() if e.name == "epoll:ctl"]
    assert watched_fds == [(3, 4, 1), (5, 4, 0x2001)]
    exits = [(e.call, e["ret"], e.fd) for e in timeline.events() if e.name == "syscall:exit"]
    assert ("socket", 3, 3) in exits
    assert ("recvfrom", 0, 5) in exits


def test_reported_calls_belong_to_sockets_and_the_connection() -> None:
    timeline = watched("user-namespace", hold=0.01)
    ends = {event.sock: event.side for event in timeline.events() if event.name == "socket:state" and event.conn}
    sent = [event for event in timeline.events() if event.name == "syscall:enter" and event.call == "sendto"]
    assert [(event.conn, event.side.name, ends[event.sock].name) for event in sent] == [
        (1, "CLIENT", "CLIENT"),
        (1, "SERVER", "SERVER"),
        (1, "SERVER", "SERVER"),
    ]
    listening = next(event for event in timeline.events() if "new" in event and event["new"] == State.LISTEN)
    assert {event.sock for event in timeline.events() if event.call in ("listen", "accept4")} == {listening.sock}


def test_without_calls_only_steps_and_what_came_of_them_are_told() -> None:
    with Stage.of("half-close") as stage:
        reports = ActorReports(measure().ns, calls=False)
        play = Play(stage, listener=reports.hear)
        play.start()
        assert play.wait(20)
    timeline = Timeline()
    timeline.append(reports.drain())
    assert {event.name for event in timeline.events()} == {"actor:step", "actor:report"}
    told = [event["text"] for event in timeline.events() if event.name == "actor:report" and event["step"] == 7]
    assert told == ["shutdown(3, SHUT_WR) = 0"]
    assert reports.losses().written == len(timeline) == 30


def made_up(*path: State, evidence: Evidence = Evidence.SAMPLED) -> Seen:
    """A timeline on which the client's side goes through certain states."""
    builder = BatchBuilder(Source.TABLE if evidence is Evidence.SAMPLED else Source.WIRE, evidence)
    for moment, state in enumerate(path):
        fields = {"new": state, "saddr": (0, V4_MAPPED | 1), "daddr": (0, V4_MAPPED | 1), "sport": 5, "dport": 80}
        builder.add("socket:state", moment, fields, conn=1, side=Side.CLIENT)
    timeline = Timeline()
    timeline.append(builder.take())
    return Seen(timeline)


def seen_by_probes(*kinds: str) -> Timeline:
    """One segment, as often as kinds are given: left, arrived, or lost by the wire."""
    builder = BatchBuilder(Source.KERNEL, Evidence.OBSERVED)
    fields = {"saddr": (0, V4_MAPPED | 1), "daddr": (0, V4_MAPPED | 2), "sport": 5, "dport": 80, "seq": 7, "flags": 16}
    for moment, kind in enumerate(kinds):
        builder.add(kind, moment, fields, conn=1)
    timeline = Timeline()
    timeline.append(builder.take())
    return timeline


@pytest.mark.parametrize(
    ("kinds", "missing"),
    [
        (("packet:sent", "packet:received"), 0),
        (("packet:sent", "packet:sent", "network:dropped", "packet:received"), 0),
        (("packet:sent", "network:duplicated", "packet:received", "packet:received"), 0),
        (("packet:sent", "network:dropped", "packet:received"), 1),
        (("packet:received",), 1),
        (("packet:sent",), 1),
        (("packet:sent", "network:held"), 0),
        (("packet:sent", "network:held", "network:released", "packet:received"), 0),
    ],
)
def test_a_segment_seen_at_one_end_only_leaves_checks_undecided(kinds: Sequence[str], missing: int) -> None:
    timeline = seen_by_probes(*kinds)
    assert Seen(timeline).basis.unseen == missing
    verdicts = {one.verdict for one in evaluate(registry.find("refused"), timeline)}
    assert ("not seen" in verdicts) == (not missing)


def test_a_state_that_was_left_but_never_reached_was_not_seen() -> None:
    def after(old: State) -> int:
        builder = BatchBuilder(Source.KERNEL, Evidence.OBSERVED)
        for moment, (left, reached) in enumerate([(State.ESTABLISHED, State.FIN_WAIT1), (old, State.CLOSE)]):
            builder.add("socket:state", moment, {"old": left, "new": reached}, sock=1)
        timeline = Timeline()
        timeline.append(builder.take())
        return Seen(timeline).basis.unseen

    assert (after(State.FIN_WAIT1), after(State.FIN_WAIT2)) == (0, 1)


def test_a_missing_state_is_named() -> None:
    seen = made_up(State.ESTABLISHED, State.TIME_WAIT)
    assert seen.went_through("client", "ESTABLISHED", "TIME_WAIT") is None
    with pytest.raises(CannotTell, match="may have passed between two readings"):
        seen.went_through("client", "ESTABLISHED", "FIN_WAIT1", "TIME_WAIT")
    told = made_up(State.ESTABLISHED, State.TIME_WAIT, evidence=Evidence.INFERRED).went_through("client", "FIN_WAIT1")
    assert told == "FIN_WAIT1 is missing on the client's way: ESTABLISHED, TIME_WAIT"


def test_a_play_that_went_otherwise_is_not_seen_as_told() -> None:
    scenario = registry.find("half-close")
    outcomes = evaluate(scenario, made_up(State.SYN_SENT, State.CLOSE, evidence=Evidence.INFERRED).timeline)
    assert [outcome.text for outcome in failed(outcomes)] == [scenario.sights[1].text]
    assert {outcome.verdict for outcome in outcomes} == {"not seen", "cannot tell"}


def test_what_was_inferred_first_and_sampled_later_is_one_connection() -> None:
    """Packets come before the table's next reading: the sockets in it are the ends that were inferred from them."""
    infer = pytest.importorskip("tracer.replay.infer_events")
    timeline = watched("user-namespace", derive=[infer.StateEvents().extend])
    assert {event.conn for event in timeline.events()} == {0, 1}
    inferred = {event.evidence for event in timeline.events() if event.name == "socket:state" and event.conn}
    assert inferred == {Evidence.SAMPLED, Evidence.INFERRED}


def test_what_an_actor_reports_late_stands_by_its_own_time() -> None:
    timeline = Timeline()
    for source, evidence, moment in (
        (Source.WIRE, Evidence.OBSERVED, 20),
        (Source.STAGE, Evidence.REPORTED, 10),
        (Source.WIRE, Evidence.OBSERVED, 5),
    ):
        builder = BatchBuilder(source, evidence)
        builder.add("syscall:enter" if evidence is Evidence.REPORTED else "packet:sent", moment, {}, conn=1)
        timeline.append(builder.take())
    packet, call, other = timeline.events()
    assert Seen.in_order(("close()", call), ("RST", packet)) is None
    assert Seen.in_order(("RST", packet), ("close()", call)) == "close() came before RST"
    assert Seen.in_order(("RST", other), ("ACK", packet)) == "ACK came before RST", "of others the timeline's order"


def test_a_state_worked_out_from_packets_does_not_tell_what_came_before_its_packet() -> None:
    (last_ack,) = made_up(State.LAST_ACK, evidence=Evidence.INFERRED).basis.events
    (fin,) = seen_by_probes("packet:sent").events()
    assert last_ack.order == fin.order
    with pytest.raises(CannotTell, match="packets alone do not show whether LAST_ACK or FIN came first"):
        Seen.in_order(("LAST_ACK", last_ack), ("FIN", fin))
