"""The wire that decides about packets: which ones a rule is about, and what becomes of them on real cables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scenarios.impairments import Rule, delay, drop, duplicate
from scenarios.play import Play
from scenarios.reports import ActorReports
from scenarios.script import Scenario
from tracer.kinds import Evidence
from tracer.timeline import Timeline

from .conftest import Perform

SYN, ACK, FIN = 0x02, 0x10, 0x01


def taken(rule: Rule, among: int = 8) -> list[int]:
    """Which of the first segments that fit a rule is about."""
    return [number for number in range(1, among + 1) if rule.takes(number)]


@pytest.mark.parametrize(
    ("rule", "which"),
    [
        (drop(), [1, 2, 3, 4, 5, 6, 7, 8]),
        (drop(nth=3), [3]),
        (drop(nth=3, count=2), [3, 4]),
        (drop(count=2), [1, 2]),
        (drop(every=3), [1, 4, 7]),
        (drop(every=3, count=2), [1, 4]),
        (drop(nth=2, every=2, count=3), [2, 4, 6]),
    ],
)
def test_counting(rule: Rule, which: list[int]) -> None:
    assert taken(rule) == which


def test_a_rule_is_about_sender_flags_and_payload() -> None:
    bare = drop("client", "ACK", without="SYN", payload=False)
    assert bare.fits("client", ACK, 0)
    assert not bare.fits("server", ACK, 0)
    assert not bare.fits("client", SYN | ACK, 0)
    assert not bare.fits("client", ACK, 5)
    assert not bare.fits("client", FIN, 0)
    assert drop().fits("anybody", 0, 0)


def test_what_makes_no_sense_is_refused_when_it_is_written() -> None:
    with pytest.raises(ValueError, match="no TCP flag 'FINN'"):
        drop(flags="FINN")
    with pytest.raises(ValueError, match="between 0 and 1"):
        drop(chance=1.5)
    with pytest.raises(ValueError, match="no actor 'nobody'"):
        Scenario(name="x", title="", topic="", story="", actors=("a", "b"), impairments=(drop("nobody"),))
    with pytest.raises(ValueError, match="is there of itself"):
        Scenario(name="x", title="", topic="", story="", actors=("a", "network"))


def test_a_rule_says_what_it_does() -> None:
    assert str(drop("client", "ACK", nth=3)) == "3. ACK of the client dropped"
    assert str(duplicate(payload=True)) == "packet with data duplicated"
    assert str(delay("server", "FIN ACK", 0.2)) == "FIN-ACK of the server delayed"


HEAD = """
from scenarios.calls import *
from scenarios.impairments import *
from scenarios.script import Scenario
"""
BY_HAND = (
    HEAD
    + """
play = Scenario(name="w", title="", topic="", story="", actors=("a", "b"), peers=("a", "b"),
                impairments=(drop("a", payload=True, nth=2),), families=("ipv4", "ipv6"))
LETTERS = {}

def round_of(name, rule):
    @play.step("network", name)
    def sets(me):
        me.mend()
        if rule:
            me.apply(rule)
    sends_and_reads(name)

def sends_and_reads(name, then=None):
    @play.step("a", "sends 1 to 4")
    def sends(me):
        talk = me.peer.talk("b", sport=40000, dport=8080, iss=1000)
        for letter in b"1234":
            talk.send("PSH ACK", bytes([letter]))
        talk.send("FIN ACK")
    if then:
        then()
    @play.step("b", "reads")
    def reads(me):
        talk = me.peer.talk("a", sport=8080, dport=40000)
        got = ""
        try:
            while True:
                last = talk.expect(timeout=0.25)
                got += bytes(last.payload).decode() or "F"
        except AssertionError:
            me.say(f"{name} {got}")

sends_and_reads("declared")
round_of("nothing", None)
round_of("delay", delay("a", payload=True, nth=2, seconds=0.05))
round_of("reorder", reorder("a", payload=True, nth=1, behind=2))
round_of("duplicate", duplicate("a", payload=True, nth=3))
round_of("late-copy", duplicate("a", payload=True, nth=3, seconds=0.05))
round_of("cut", drop("a"))
round_of("other-way", drop("b"))
round_of("every", drop("a", payload=True, every=2))

@play.step("network", "keeps the 2nd")
def keeps(me):
    me.mend()
    me.rule = me.hold("a", payload=True, nth=2)

def lets_go():
    @play.step("network", "lets it go")
    def goes(me):
        me.relay.carry(lambda: me.relay.held == 1, 5)  # it may not have come to the relay yet
        me.say(f"held {me.relay.held} taken {me.taken(me.rule)}")
        me.release()
sends_and_reads("hold", lets_go)
"""
)


def file(tmp_path: Path, text: str) -> str:
    """A user's own scenario file; returns its path."""
    path = tmp_path / "mine.py"
    path.write_text(text)
    return str(path)


def played(perform: Perform, tmp_path: Path, text: str, **how: Any) -> Play:
    """A play to its end."""
    play = perform(file(tmp_path, text), ("namespace", "user-namespace"), **how)
    assert play.wait(30)
    assert (play.state, play.failure) == ("finished", "")
    return play


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_what_becomes_of_packets(perform: Perform, tmp_path: Path, family: str) -> None:
    play = played(perform, tmp_path, BY_HAND, family=family)
    remarks = [report.text.split() for report in play.reports if report.kind == "said" and report.actor == "b"]
    assert ["cut"] in remarks
    said = dict(remark for remark in remarks if len(remark) == 2)
    assert said == {
        "declared": "134F",
        "nothing": "1234F",
        "delay": "134F2",
        "reorder": "2314F",
        "duplicate": "12334F",
        "late-copy": "1234F3",
        "other-way": "1234F",
        "every": "24F",
        "hold": "134F2",
    }
    assert [r.text for r in play.reports if r.actor == "network" and r.kind == "said"] == ["held 1 taken 1"]
    fates = [r.fate["told"] for r in play.reports if r.fate]
    assert fates == ["dropped", "delayed", "reordered", "duplicated", "duplicated", *["dropped"] * 5,
                     "dropped", "dropped", "held", "released"]  # fmt: skip


LOSS = (
    HEAD
    + """
play = Scenario(name="l", title="", topic="", story="", actors=("server", "client"), seed=3, latency=0.001,
                impairments=(drop("client", payload=True, chance=0.2), damage("server", "SYN", nth=1)))
@play.step("server", "listens")
def _(me):
    me.s = socket(); bind(me.s, me.at("server")); listen(me.s, 1)
@play.step("client", "connects and sends")
def _(me):
    me.s = socket(); connect(me.s, me.at("server")); send_all(me.s, bytes(range(256)) * 200); close(me.s)
@play.step("server", "reads")
def _(me):
    me.c = accept(me.s)
    data = recv_to_end(me.c)
    me.say(f"{len(data)} {data == bytes(range(256)) * 200}")
"""
)


def test_two_kernels_get_all_bytes_through_a_bad_wire_and_each_loss_is_on_the_timeline(
    perform: Perform, tmp_path: Path
) -> None:
    reports = ActorReports(0, calls=False)
    play = played(perform, tmp_path, LOSS, listener=reports.hear)
    assert [r.text for r in play.reports if r.kind == "said"] == ["51200 True"]
    timeline = Timeline()
    timeline.append(reports.drain())
    fates = [event for event in timeline.events() if event.name.startswith("network:")]
    assert {event.evidence for event in fates} == {Evidence.REPORTED}
    damaged = [event for event in fates if event.name == "network:damaged"]
    lost = [event for event in fates if event.name == "network:dropped"]
    # The first SYN-ACK came damaged, so the receiver's kernel took it for none, and it was sent again after a second.
    assert [(event["flags"], event["sport"], event["actor"]) for event in damaged] == [(SYN | ACK, 8080, "server")]
    assert len(lost) >= 3
    assert all(event["length"] and event["dport"] == 8080 and event["actor"] == "client" for event in lost)
    assert {event["netns"] for event in lost} == {play.stage.ground.networks["client"]}  # type: ignore[union-attr]
    segments = [1448] * 35 + [51200 - 35 * 1448]
    assert max(event["length"] for event in lost) <= max(segments), "a frame larger than the wire's MTU"


RATE = (
    HEAD
    + """
play = Scenario(name="r", title="", topic="", story="", actors=("server", "client"), rate=1e6, mtu=1000)
@play.step("server", "listens")
def _(me):
    me.s = socket(); bind(me.s, me.at("server")); listen(me.s, 1)
@play.step("client", "connects and sends")
def _(me):
    me.s = socket(); connect(me.s, me.at("server")); send_all(me.s, bytes(25000)); close(me.s)
@play.step("server", "reads")
def _(me):
    import time
    me.c = accept(me.s); me.say(f"mss {tcp_info(me.c)['rcv_mss']}"); recv_to_end(me.c)
    me.say(f"read at {time.monotonic()}")
"""
)


def test_a_slow_wire_takes_its_time(perform: Perform, tmp_path: Path) -> None:
    play = played(perform, tmp_path, RATE)
    begun = next(r.time for r in play.reports if r.kind == "cue" and r.actor == "client")
    ended = next(r.time for r in play.reports if r.kind == "done" and r.actor == "server" and r.step == 3)
    assert ended - begun >= 25000 * 8 / 1e6 * 1e9 * 0.9
