"""What checks may ask, asked of recordings that came along and of timelines made up."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from scenarios import recordings
from scenarios.script import Scenario
from scenarios.sights import CannotTell, NotYet, Outcome, Seen, evaluate
from tracer.batch import BatchBuilder
from tracer.kinds import KNOWN_SEQUENCE, KNOWN_WINDOW, Evidence, Side, Source
from tracer.recording.source import RecordingSource
from tracer.replay.analysis import FAST_RETRANSMISSION
from tracer.segments import ACK, RST, SYN, URG, V4_MAPPED
from tracer.session import Session
from tracer.states import State
from tracer.timeline import Timeline

HERE = {"saddr": (0, V4_MAPPED | 1), "daddr": (0, V4_MAPPED | 2), "sport": 5, "dport": 80}
Given = tuple[str, dict[str, Any], dict[str, Any]]


@functools.cache
def recorded(name: str) -> Seen:
    """A recording of a scenario, as its checks see it."""
    place = recordings.folder()
    assert place is not None
    with (place / f"{name}.pcapng").open("rb") as file:
        session = Session([RecordingSource(file)])
        while session.pump(final=True):
            pass
    return Seen(session.timeline)


def made(*events: Given, evidence: Evidence = Evidence.OBSERVED, source: Source = Source.KERNEL) -> Seen:
    """A timeline of events (kind, fields, head) of connection 1, a millisecond apart."""
    builder = BatchBuilder(source, evidence)
    for place, (kind, fields, head) in enumerate(events):
        builder.add(kind, place * 1_000_000, fields, **({"conn": 1, "side": Side.CLIENT} | head))
    timeline = Timeline()
    timeline.append(builder.take())
    return Seen(timeline)


def test_a_listener_and_its_two_queues() -> None:
    listener = recorded("handshake").listener()
    assert (listener.port, listener.limit()) == (8080, 8)
    assert (listener.syn_queue(), listener.accept_queue()) == ([0, 1, 0], [0, 1, 0])
    assert (len(listener.queued()), len(listener.taken()), listener.overflows()) == (1, 1, [])
    assert listener.closed is not None
    assert recorded("listen").listener().limits() == [8, 2]
    assert recorded("self-connect").listeners() == []
    with pytest.raises(CannotTell, match="0 listeners were seen, not 1"):
        recorded("self-connect").listener()


def test_an_actor_its_calls_and_what_they_gave() -> None:
    server = recorded("half-close").actor("server")
    assert server.results("recv") == [5, 0]
    assert [mask for _, _, mask in server.registrations()] == ["EPOLLIN", "EPOLLIN|EPOLLRDHUP"]
    assert [[mask for _, mask in ready] for _, ready in server.notices()][-1] == ["EPOLLIN|EPOLLRDHUP"]
    assert server.woken()
    assert server.exited() is not None
    refused = recorded("refused").actor("client").failed("connect", "ECONNREFUSED")
    assert refused is not None and refused.result == -1 and refused.seconds >= 0
    with pytest.raises(CannotTell, match="no step of the butler"):
        recorded("refused").actor("butler")


def test_descriptors_used_again() -> None:
    seen = recorded("fd-reuse")
    client = seen.actor("client")
    assert [fd for fd, _ in client.opened()] == [3, 3]
    ((fd, closed, opened),) = client.reused()
    assert fd == 3 and closed.order < opened.order
    assert [connection.number for connection in seen.connections()] == [1, 2]
    with pytest.raises(CannotTell, match="2 connections were seen, not 3"):
        seen.connection(3)


def test_time_wait_from_birth_to_end() -> None:
    seen = recorded("active-close")
    wait = seen.timewait("client")
    assert wait is not None and seen.timewait("server") is None
    assert (wait.state, wait.end) == ("FIN_WAIT2", "expired")
    assert len(wait.rearmed) <= 1  # the FIN begins its timer anew, unless that is the same tick of the wheel
    assert 59 < wait.armed < 61 and 60 < wait.lasted < 66
    assert [state.name for state, _ in seen.path("client")][-2:] == ["CLOSE", "TIME_WAIT"]
    born = ("timewait:born", {"left": 60_000_000_000, "substate": State.TIME_WAIT} | HERE, {})
    young = made(born).timewait("client")
    assert young is not None
    with pytest.raises(NotYet, match="not over"):
        _ = young.lasted


def test_resets_and_why() -> None:
    assert recorded("refused").reset_reasons("server") == ["NO_SOCKET"]
    assert len(recorded("linger-zero").resets_sent("client")) == 1
    assert len(recorded("linger-zero").resets_received("server")) == 1
    assert recorded("write-after-close").resets_received("client")
    with pytest.raises(CannotTell, match="does not say why"):
        made(("reset:sent", HERE, {})).reset_reasons("client")
    captured = made(
        ("packet:captured", {"flags": RST} | HERE, {}), evidence=Evidence.CAPTURED, source=Source.WIRE
    )  # fmt: skip
    assert len(captured.resets_sent("client")) == 1
    with pytest.raises(CannotTell, match="only kernel probes"):
        captured.reset_reasons("client")


def test_segments_by_side_flags_and_data() -> None:
    seen = recorded("close-with-unread")
    assert [packet["length"] for packet in seen.packets("client", data=True)] == [1000]
    assert seen.first("server", "FIN") is None
    assert seen.last("server", "RST") is not None
    assert [packet["length"] for packet in seen.arrived("server", data=True)] == [2]
    syn, reply, last = seen.handshake()
    assert syn.order < reply.order < last.order
    assert seen.most("server", "unread") == 1000
    (closing, *_) = seen.calls("server", "close")
    assert seen.value_before("server", "unread", closing.enter) == 900
    with pytest.raises(KeyError, match="no quantity 'colour'"):
        seen.values("server", "colour")


def test_what_a_syn_offers() -> None:
    offers = recorded("handshake").syn_options("client")
    assert (offers.mss, offers.sack, offers.timestamps, offers.cookie) == (65495, True, True, None)
    header = bytes([0x45]) + bytes(19) + bytes(20) + bytes([1, 1, 34, 6, 1, 2, 3, 4])
    raw = header + bytes(104 - len(header))
    asked = {"flags": SYN, "raw": list(raw), "caplen": len(header), "header": 28, "wscale": -1}
    assert made(("packet:sent", asked | HERE, {})).syn_options("client").cookie == bytes([1, 2, 3, 4])
    with pytest.raises(CannotTell, match="cut the options off"):
        made(("packet:sent", {"flags": SYN, "partial": 1} | HERE, {})).syn_options("client")


def test_trouble_as_probes_tell_it() -> None:
    seen = made(
        ("packet:sent", {"flags": ACK | URG, "urgent": 1, "window": 1} | HERE, {}),
        ("packet:sent", {"flags": ACK, "analysis": FAST_RETRANSMISSION} | HERE, {}),
        ("socket:retransmit", HERE, {}),
        ("socket:timer", {"timer": 1, "backoff": 1} | HERE, {}),
        ("socket:timer", {"timer": 3} | HERE, {}),
        ("socket:congestion", {"ca_next": 4} | HERE, {}),
        ("segment:dropped", {"why": b"NETFILTER_DROP"} | HERE, {}),
        ("socket:queues", {"known": KNOWN_SEQUENCE | KNOWN_WINDOW, "snd_una": 2**32 - 2, "snd_nxt": 3} | HERE, {}),
    )
    assert [packet["urgent"] for packet in seen.urgent("client")] == [1]
    assert len(seen.analysed("fast_retransmission", "client")) == len(seen.zero_windows("client")) == 1
    assert len(seen.retransmissions("client")) == 1 and seen.retransmissions("server") == []
    assert [event["backoff"] for event in seen.timers("client", "retransmission")] == [1]
    assert (len(seen.timers("client", "keepalive")), seen.timers("client", "delayed-ack")) == (1, [])
    assert seen.congestion("client") == ["loss"]
    assert len(seen.drops("client", "NETFILTER_DROP")) == 1 and seen.drops("client", "NO_SOCKET") == []
    assert seen.most("client", "unacked") == 5
    with pytest.raises(CannotTell, match="nothing tells rmem"):
        seen.most("client", "rmem")


def test_without_probes_what_only_they_see_cannot_be_told() -> None:
    seen = made(("packet:captured", HERE, {}), evidence=Evidence.CAPTURED, source=Source.WIRE)
    asks: list[Callable[[], object]] = [
        lambda: seen.timers("client", "retransmission"), lambda: seen.drops("client"), lambda: seen.timewait("client"),
        lambda: seen.requests(), lambda: seen.resets_received("client"), lambda: seen.listener(),
    ]  # fmt: skip
    for ask in asks:
        with pytest.raises(CannotTell):
            ask()


def test_order_and_time_between() -> None:
    seen = made(*(("socket:state", {"new": state} | HERE, {}) for state in (State.SYN_SENT, State.ESTABLISHED)))
    (_, one), (_, two) = seen.path("client")
    assert seen.in_order(("a", one), ("b", two)) is None
    assert seen.in_order(("b", two), ("a", one)) == "a came before b"
    assert seen.in_order(("a", one), ("c", None)) == "not seen: c"
    assert seen.within(one, two, 0, 1) is None
    assert seen.within(one, two, 1, 2) == "0.001 s lie between socket:state and socket:state, not 1 to 2"


def test_a_table_does_not_order_what_it_shows() -> None:
    seen = made(
        ("socket:state", {"new": State.SYN_SENT} | HERE, {"sock": 1}),
        ("socket:state", {"new": State.ESTABLISHED} | HERE, {"sock": 2, "side": Side.SERVER}),
        evidence=Evidence.SAMPLED, source=Source.TABLE,
    )  # fmt: skip
    one, two = seen.path("client")[0][1], seen.path("server")[0][1]
    with pytest.raises(CannotTell, match="which came first, a or b"):
        seen.in_order(("a", one), ("b", two))
    with pytest.raises(CannotTell, match="time between"):
        seen.within(one, two, 1, 2)
    with pytest.raises(CannotTell, match="may have passed"):
        seen.reached("client", "FIN_WAIT1")
    with pytest.raises(CannotTell, match="may have passed"):
        seen.never_in("client", "FIN_WAIT1")


def judged(check: Callable[[Seen], str | None], lost: int = 0) -> Outcome:
    """What becomes of one check."""
    scenario = Scenario(name="s", title="", topic="", story="", actors=("client",))
    scenario.must_see("it")(check)
    events: list[Given] = [("socket:state", {"new": State.CLOSE} | HERE, {})]
    events += [("trace:lost", {"lost": lost, "total": lost}, {"conn": 0})] if lost else []
    (outcome,) = evaluate(scenario, made(*events).timeline)
    return outcome


def test_a_check_ends_in_one_of_three_ways() -> None:
    assert judged(lambda seen: None) == Outcome("it", "seen", "")
    assert judged(lambda seen: "no") == Outcome("it", "not seen", "no")
    assert judged(lambda seen: seen.cannot_tell("why")) == Outcome("it", "cannot tell", "why")


def test_what_is_missing_may_be_among_what_was_lost() -> None:
    assert judged(lambda seen: "no", lost=7) == Outcome(
        "it", "cannot tell", "no; but 7 events were lost, and it may be among them"
    )


def test_a_mistake_in_a_check_is_told_and_takes_no_other_along() -> None:
    outcome = judged(lambda seen: str(seen.path("butler")))
    assert (outcome.verdict, outcome.reason) == ("not seen", "the check itself failed: KeyError: 'BUTLER'")
