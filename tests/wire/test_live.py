"""Both seats at a real loopback, in a network of the test's own: each packet once, in order, on the kernel's time."""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("AF_PACKET is Linux's", allow_module_level=True)

import socket

from scenarios.play import Play
from scenarios.stage import Stage, StageError
from tracer.timeline import Timeline
from tracer.wire import seats
from tracer.wire.frames import Seat
from tracer.wire.listen import ScapySeat
from tracer.wire.ring import RingSeat
from tracer.wire.source import WireSource

Open = Callable[[socket.socket, str], Seat]
HALF_CLOSE = ["S", "SA", "A", "PA", "A", "PA", "A", "FA", "A", "PA", "A", "FA", "A"]


def perform(name: str, seat: Open) -> tuple[Timeline, WireSource, int, int]:
    """Play a scenario before a seat: what was seen, by whom, between which moments."""
    stage = Stage.of(name, ("namespace", "user-namespace"))
    try:
        ground = stage.open()
    except StageError as failure:
        pytest.skip(str(failure))
    with stage:
        source = WireSource(seat(stage.socket("packet"), stage.interface), ground.networks["client"])
        began = time.time_ns()
        play = Play(stage)
        play.start()
        assert play.wait(20)
        assert play.failure == ""
        ended = time.time_ns()
        source.stop()
        timeline = Timeline()
        timeline.append(source.drain())
        return timeline, source, began, ended


def letters(flags: int) -> str:
    return "".join(letter for bit, letter in ((8, "P"), (2, "S"), (1, "F"), (4, "R"), (16, "A")) if flags & bit)


@pytest.fixture(params=["ring", "scapy"])
def seat(request: pytest.FixtureRequest) -> Open:
    if request.param == "ring":
        return RingSeat
    pytest.importorskip("scapy")
    return lambda opened, interface: ScapySeat(interface, opened)


def test_half_close_is_thirteen_segments(seat: Open) -> None:
    timeline, source, began, ended = perform("half-close", seat)
    assert [letters(event["flags"]) for event in timeline.events()] == HALF_CLOSE
    times = [event.time for event in timeline.events()]
    assert times == sorted(times)
    assert began - 1_000_000 <= times[0]
    assert times[-1] <= ended + 1_000_000
    assert source.losses().lost == 0
    # The FIN's ACK waits for the delayed-ACK timer, 40 ms at least (TCP_ATO_MIN), for data it could ride on.
    assert 0.03e9 < times[8] - times[7] < 0.2e9


BULK = """
from scenarios.calls import *
from scenarios.script import Scenario
play = Scenario(name="bulk", title="", topic="", story="", actors=("server", "client"))
@play.step("server", "listens")
def _(me):
    me.l = socket(); bind(me.l, me.at("server")); listen(me.l, 1)
@play.step("client", "connects")
def _(me):
    me.s = socket(); connect(me.s, me.at("server"))
@play.step("server", "reads", asleep_in="recv")
def _(me):
    me.s = accept(me.l)
    while recv(me.s, 1 << 20): pass
@play.step("client", "writes eight megabytes", wakes="server")
def _(me):
    data, sent = bytes(1 << 20), 0
    while sent < 8 << 20: sent += send(me.s, data)
    close(me.s)
"""


KNOCKS = """
from scenarios.calls import *
from scenarios.script import Scenario
play = Scenario(name="knocks", title="", topic="", story="", actors=("client",))
def knock(times):
    def action(me):
        for _ in range(times):
            s = socket()
            try:
                connect(s, me.at("client"))
            except ConnectionRefusedError:
                pass
            close(s)
    return action
for times in (50, 100, 200):
    play.step("client", "knocks")(knock(times))
"""


def test_bulk_traffic_does_not_overflow_the_ring(tmp_path: Path) -> None:
    """64 KiB segments: a plain packet socket has room for three."""
    path = tmp_path / "bulk.py"
    path.write_text(BULK)
    timeline, source, _, _ = perform(str(path), RingSeat)
    first = timeline[0]["seq"] + 1
    sent = {(event["seq"] - first) % 2**32: event["length"] for event in timeline.events() if event["length"]}
    reached = 0
    for begin, length in sorted(sent.items()):  # a busy machine may have made TCP repeat a segment
        assert begin <= reached
        reached = max(reached, begin + length)
    assert reached == 8 << 20
    assert source.losses().lost == 0


def test_the_ring_goes_round_and_counts_what_it_could_not_take(tmp_path: Path) -> None:
    """256 slots and three bursts of knocks at a closed port, a SYN and a RST each."""
    path = tmp_path / "knocks.py"
    path.write_text(KNOCKS)
    stage = Stage.of(str(path), ("namespace", "user-namespace"))
    try:
        stage.open()
    except StageError as failure:
        pytest.skip(str(failure))
    with stage:
        source = WireSource(RingSeat(stage.socket("packet"), stage.interface, blocks=1))
        play = Play(stage, hold_steps=True)
        play.start()
        for knocks, seen in ((50, 100), (100, 200), (200, 256)):
            position = play.position
            play.next_step()
            while play.position == position and not play.failure:
                time.sleep(0.002)
            assert (len(source.drain()), play.failure) == (seen, ""), knocks
        assert source.losses().lost == 400 - 256
        play.stop()
        source.stop()


def test_without_a_ring_scapy_takes_the_seat(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("scapy")

    def refused(opened: socket.socket, interface: str) -> Seat:
        opened.close()
        raise OSError(errno.ENOPROTOOPT, "Protocol not available")

    said = []

    def best(opened: socket.socket, interface: str) -> Seat:
        spare = [opened, opened.dup()]  # of the same network
        seat, remark = seats.take(lambda: spare.pop(), interface)
        said.append(remark)
        return seat

    assert isinstance(perform("half-close", best)[0], Timeline)
    monkeypatch.setattr(seats, "RingSeat", refused)
    timeline, _, _, _ = perform("half-close", best)
    assert [letters(event["flags"]) for event in timeline.events()] == HALF_CLOSE
    assert said == ["", "no packet ring (Protocol not available): bulk traffic may be lost unseen"]
