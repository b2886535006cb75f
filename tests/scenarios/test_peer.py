"""The peer that speaks TCP by hand, against a kernel that does not know the difference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scenarios.play import Play

from .conftest import Perform

HEAD = """
from scenarios.calls import *
from scenarios.script import Scenario
"""
CLIENT = (
    HEAD
    + """
play = Scenario(name="p", title="", topic="", story="", actors=("server", "client"), peers=("client",),
                families=("ipv4", "ipv6"))
@play.step("server", "listens")
def _(me):
    me.s = socket(); bind(me.s, me.at("server")); listen(me.s, 8)
@play.step("client", "connects and talks")
def _(me):
    me.t = me.peer.talk("server", sport=4000, iss=2**32 - 3)
    me.t.open()
    me.t.send("PSH ACK", b"hello")
    me.t.expect("ACK")
@play.step("server", "hears, and answers")
def _(me):
    me.c = accept(me.s); me.say(recv(me.c, 100).decode()); me.say(str(getpeername(me.c)[1])); send(me.c, b"bye")
@play.step("client", "sends old data again, which is acknowledged and not delivered")
def _(me):
    me.t.expect(payload=True)
    me.t.send("ACK")
    me.t.send("PSH ACK", b"h", seq=me.t.iss + 1)
    answer = me.t.expect("ACK")
    assert answer.ack == me.t.snd_nxt == 3, (answer.ack, me.t.snd_nxt)
    me.say(me.t.received.decode())
@play.step("client", "closes its window")
def _(me):
    me.t.window = 0
    me.t.send("ACK")
@play.step("server", "cannot send now")
def _(me):
    send(me.c, b"more")
@play.step("client", "gets one byte probes only, opens the window", timeout=5)
def _(me):
    me.t.expect_silence(0.1)
    me.t.window = 1000
    me.t.send("ACK")
    me.t.expect(payload=True)
    me.say(me.t.received.decode())
    me.t.send("ACK")
@play.step("client", "a RST ends it")
def _(me):
    me.t.send("RST")
@play.step("server", "is told")
def _(me):
    fails("ECONNRESET", recv, me.c, 10)
@play.step("client", "floods")
def _(me):
    me.peer.flood("server", 5)
    answers = {s.dport for s in me.peer.pending() if s.flags == 0x12}
    import time
    until = time.monotonic() + 2
    while len(answers) < 5 and time.monotonic() < until:
        time.sleep(0.005)
        answers = {s.dport for s in me.peer.pending() if s.flags == 0x12}
    me.say(str(sorted(answers)))
"""
)
SIMULTANEOUS = (
    HEAD
    + """
play = Scenario(name="s", title="", topic="", story="", actors=("one", "other"), peers=("other",))
@play.step("one", "connects", asleep_in="connect")
def _(me):
    me.s = socket(); bind(me.s, (me.host, me.port)); connect(me.s, me.at("other"))
@play.step("other", "answers the SYN with a SYN", wakes="one")
def _(me):
    me.t = me.peer.expect_syn(iss=5000)
    me.t.send("SYN")
    me.t.expect("SYN ACK")
    me.t.send("SYN ACK", seq=5000)
@play.step("other", "ends its direction")
def _(me):
    me.t.send("FIN ACK")
@play.step("one", "is connected")
def _(me):
    assert recv(me.s, 5) == b""
    me.say(str(tcp_info(me.s)["state"]))
"""
)
SERVER = (
    HEAD
    + """
play = Scenario(name="v", title="", topic="", story="", actors=("server", "client"), peers=("server",))
@play.step("server", "waits for a SYN", asleep_in="expect")
def _(me):
    me.t = me.peer.expect_syn()
@play.step("client", "connects", asleep_in="connect", wakes="server")
def _(me):
    me.s = socket(); connect(me.s, me.at("server"))
@play.step("server", "accepts, with an odd MSS", wakes="client")
def _(me):
    me.t.send("SYN ACK", options=[("MSS", 700)])
    me.t.expect("ACK", without="SYN")
@play.step("client", "sends")
def _(me):
    send_all(me.s, bytes(2000)); close(me.s)
@play.step("server", "reads")
def _(me):
    me.t.expect("FIN"); me.t.close()
    me.say(f"{len(me.t.received)} {max(s.length for s in me.t.passed)}")
"""
)
NOTHING = (
    HEAD
    + """
play = Scenario(name="n", title="", topic="", story="", actors=("server", "client"), peers=("client",))
@play.step("client", "waits in vain")
def _(me):
    t = me.peer.talk("server"); t.send("SYN"); t.expect("SYN ACK", timeout=0.2)
"""
)


def played(perform: Perform, tmp_path: Path, text: str, **how: Any) -> Play:
    """A play to its end."""
    path = tmp_path / "mine.py"
    path.write_text(text)
    play = perform(str(path), ("namespace", "user-namespace"), **how)
    assert play.wait(20)
    return play


def said(play: Play) -> list[str]:
    """Remarks of a play that has gone to its end."""
    assert (play.state, play.failure) == ("finished", "")
    return [report.text for report in play.reports if report.kind == "said"]


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_a_client_by_hand_is_right_or_wrong_as_it_is_told(perform: Perform, tmp_path: Path, family: str) -> None:
    play = played(perform, tmp_path, CLIENT, family=family)
    ports = str([10000, 10001, 10002, 10003, 10004])
    assert said(play) == ["hello", "4000", "bye", "byemore", ports]


def test_a_simultaneous_open(perform: Perform, tmp_path: Path) -> None:
    play = played(perform, tmp_path, SIMULTANEOUS)
    close_wait = "8"
    assert said(play) == [close_wait]


def test_a_server_by_hand_may_be_asleep_until_a_syn_comes(perform: Perform, tmp_path: Path) -> None:
    assert said(played(perform, tmp_path, SERVER)) == ["2000 700"]


def test_what_does_not_come_is_said_with_what_came_instead(perform: Perform, tmp_path: Path) -> None:
    play = played(perform, tmp_path, NOTHING)
    assert play.failure.startswith("step 1, client: NotSeen: waited 0.2 s for SYN-ACK from port 8080; there was")
    assert "(line 8 of the script)" in play.failure


def test_the_peers_own_kernel_answers_nobody(perform: Perform, tmp_path: Path) -> None:
    """With an address, it would send RST for every segment of a connection it does not know."""
    play = played(perform, tmp_path, SERVER, hold_steps=False)
    assert said(play)
    ground = play.stage.ground
    assert ground
    pid = ground.pids["server"]
    snmp = Path(f"/proc/{pid}/net/snmp").read_text().splitlines()
    names, values = (line.split() for line in snmp if line.startswith("Tcp:"))
    assert dict(zip(names, values, strict=True))["OutRsts"] == "0"
    assert dict(zip(names, values, strict=True))["InSegs"] == "0"
