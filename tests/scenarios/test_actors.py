"""All kinds of actors: in every family, many on one wire, forked ones, programs, and those that are killed."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from scenarios import calls
from scenarios.play import Play
from scenarios.script import Scenario
from scenarios.stage import Stage, StageError

from .conftest import Perform

HEAD = """
from scenarios.calls import *
from scenarios.script import Scenario
def scene(actors=("server", "client"), **how):
    return Scenario(name="mine", title="", topic="", story="", actors=actors, **how)
"""
OPENS = """
@play.step("server", "listens")
def _(me):
    me.s = socket(); bind(me.s, me.at("server")); listen(me.s, 8); me.share(port=getsockname(me.s)[1])
"""


def played(perform: Perform, tmp_path: Path, text: str, *how: Any, **more: Any) -> Play:
    """A play to its end, whatever that is."""
    path = tmp_path / "mine.py"
    path.write_text(HEAD + text)
    play = perform(str(path), *how, **more)
    assert play.wait(20)
    return play


def said(play: Play) -> list[str]:
    """Remarks of a play that has gone to its end."""
    assert (play.state, play.failure) == ("finished", "")
    return [report.text for report in play.reports if report.kind == "said"]


MEET = """
@play.step("client", "connects from a port of its choice")
def _(me):
    me.c = socket(); bind(me.c, (me.host, me.port + 1)); connect(me.c, me.at("server")); me.say(getpeername(me.c)[0])
@play.step("server", "accepts")
def _(me):
    me.c = accept(me.s); host, port = getpeername(me.c); me.say(host); me.say(str(port - me.port))
"""


@pytest.mark.parametrize(
    ("family", "network", "server", "client"),
    [
        ("ipv4", "loopback", "127.0.0.1", "127.0.0.1"),
        ("ipv6", "loopback", "::1", "::1"),
        ("mapped", "loopback", "127.0.0.1", "::ffff:127.0.0.1"),
        ("ipv4", "veth", "10.99.0.1", "10.99.0.2"),
        ("ipv6", "veth", "fd99::1", "fd99::2"),
        ("mapped", "veth", "10.99.0.1", "::ffff:10.99.0.2"),
    ],
)
def test_families(perform: Perform, tmp_path: Path, family: str, network: str, server: str, client: str) -> None:
    text = f"play = scene(network={network!r}, ports=2)\n{OPENS}{MEET}"
    assert said(played(perform, tmp_path, text, ("namespace", "user-namespace"), family)) == [server, client, "1"]


@pytest.mark.parametrize("family", ["ipv4", "ipv6", "mapped"])
def test_families_on_the_hosts_loopback(perform: Perform, tmp_path: Path, family: str) -> None:
    if family == "ipv6" and not Path("/proc/net/if_inet6").exists():
        pytest.skip("needs IPv6 on the host's loopback")
    play = played(perform, tmp_path, f"play = scene(ports=2)\n{OPENS}{MEET}", ("host",), family)
    assert said(play)[2] == "1"


def test_a_family_in_which_a_scenario_is_not_played() -> None:
    scenario = Scenario(name="x", title="", topic="", story="", actors=("a",), families=("ipv4",))
    with pytest.raises(StageError, match="x is not played over ipv6, only over ipv4"):
        Stage(scenario, "file:nowhere#x", family="ipv6")
    assert Scenario(name="x", title="", topic="", story="", actors=("a",), mtu=1000).families == ("ipv4", "mapped")


def test_four_on_one_wire_hear_nothing_of_each_other(perform: Perform, tmp_path: Path) -> None:
    text = "play = scene(('server', 'one', 'two', 'three'), network='veth')\n" + OPENS
    for name in ("one", "two", "three"):
        text += f"@play.step({name!r}, 'talks')\ndef _(me):\n"
        text += "    me.c = socket(); connect(me.c, me.at('server')); send_all(me.c, bytes(9000)); close(me.c)\n"
    text += "@play.step('server', 'reads')\ndef _(me):\n"
    text += "    for _ in range(3): me.say(str(len(recv_to_end(accept(me.s)))))\n"
    play = played(perform, tmp_path, text, ("namespace", "user-namespace"))
    assert said(play) == ["9000"] * 3
    assert play.stage.ground
    assert len(set(play.stage.ground.networks.values())) == 4
    received = {}
    for name, pid in play.stage.ground.pids.items():
        lines = Path(f"/proc/{pid}/net/dev").read_text().splitlines()
        received[name] = next(int(line.split()[1]) for line in lines if "eth0" in line)
    assert received["server"] > 27000
    assert all(received[name] < 9000 for name in ("one", "two", "three"))


FORK = """
play = scene(("server", "client", "worker"), children={"worker": "server"})
""" + OPENS + """
@play.step("client", "connects")
def _(me):
    me.c = socket(); connect(me.c, me.at("server"))
@play.step("server", "forks")
def _(me):
    me.c = accept(me.s)
    assert me.fork("worker") == me.pid("worker")
    me.say("still the server")
@play.step("server", "closes: no FIN, for the worker has it open")
def _(me):
    close(me.c)
@play.step("worker", "sleeps", asleep_in="recv")
def _(me):
    me.say(me.name); recv(me.c, 10)
@play.step("client", "sends", wakes="worker")
def _(me):
    send(me.c, b"x"); fails("EAGAIN", recv, me.c, 1, MSG_DONTWAIT)
@play.step("server", "leaves, and the worker lives on")
def _(me):
    raise SystemExit(0)
@play.step("worker", "closes")
def _(me):
    close(me.c)
@play.step("client", "reads the end")
def _(me):
    me.say(repr(recv(me.c, 10)))
"""  # fmt: skip


def test_a_forked_actor_shares_its_parents_sockets_and_outlives_it(perform: Perform, tmp_path: Path) -> None:
    play = played(perform, tmp_path, FORK)
    remarks = said(play)
    pid = play.stage.ground.pids["worker"]  # type: ignore[union-attr]
    assert remarks == [f"has forked the worker, process {pid}", "still the server", "worker", "b''"]


def test_a_child_that_is_not_born_cannot_act(perform: Perform, tmp_path: Path) -> None:
    text = "play = scene(('server', 'worker'), children={'worker': 'server'})\n"
    text += "@play.step('worker', 'acts')\ndef _(me):\n    pass\n"
    assert "the worker is not born yet" in played(perform, tmp_path, text).failure


PROGRAM = """
CODE = '''
import socket, sys
host, port = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
with socket.create_server((host, port), family=family) as listener:
    print("open", flush=True)
    while True:
        connection, _ = listener.accept()
        connection.sendall(connection.recv(9))
'''
play = scene()
play.runs("server", "An echo server.", ["{python}", "-c", CODE, "{address}", "{port}"])
@play.step("client", "talks")
def _(me):
    me.c = socket(); connect(me.c, me.at("server")); send(me.c, b"hi"); me.say(recv(me.c, 9).decode())
@play.step("client", "kill -9", ends="server")
def _(me):
    kill(me.pid("server"))
@play.step("client", "is told")
def _(me):
    me.say(repr(recv(me.c, 9)))
"""


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_a_program_is_an_actor_until_it_is_killed(perform: Perform, tmp_path: Path, family: str) -> None:
    play = played(perform, tmp_path, PROGRAM, None, family)
    remarks = said(play)
    assert remarks[0].startswith(f"becomes {sys.executable} -c")
    assert remarks[1:] == ["open", "hi", "b''"]


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["{python}", "-c", "raise SystemExit('no luck')"], "process has died; it said: no luck"),
        (["no-such-program"], "no such program: 'no-such-program'"),
        (["{python}", "-c", "import time; time.sleep(9)"], "waited 0.5 s for the server to run {python}"),
    ],
)
def test_a_program_that_does_not_come_up(perform: Perform, tmp_path: Path, argv: list[str], reason: str) -> None:
    text = f"play = scene()\nplay.runs('server', 'A program.', {argv!r}, timeout={0.5 if 'sleep' in argv[-1] else 9})\n"
    assert reason in played(perform, tmp_path, text).failure


def test_who_has_become_a_program_takes_no_steps() -> None:
    scenario = Scenario(name="x", title="", topic="", story="", actors=("a",))
    scenario.runs("a", "It runs.", ["true"])
    with pytest.raises(ValueError, match="the a has become a program"):
        scenario.step("a", "acts")


OPTIONS = (
    """
play = scene()
"""
    + OPENS
    + """
@play.step("client", "options")
def _(me):
    s = socket()
    setsockopt(s, "TCP_NODELAY", 1); me.say(str(getsockopt(s, "TCP_NODELAY")))
    setsockopt(s, "SO_LINGER", linger(0)); me.say(getsockopt_bytes(s, "SO_LINGER", 8).hex())
    me.say(str(tcp_info(s)["state"])); close(s)
@play.step("client", "a connect that does not wait")
def _(me):
    s = socket(SOCK_NONBLOCK); begin_connect(s, me.at("server"))
    me.say(str(poll({s: POLLOUT}, 1000) == [(s, POLLOUT)])); me.say(so_error(s) or "none")
    me.say(str(select([], [s], [], 1.0) == ([], [s], []))); set_nonblocking(s, False)
    t = dup(s); close(s); send(t, b"x", MSG_OOB); close(t)
@play.step("server", "reads what is urgent")
def _(me):
    c = accept(me.s)
    select([], [], [c], 1.0); me.say(recv(c, 1, MSG_OOB).decode()); close(c)
@play.step("client", "sets its network's sysctl")
def _(me):
    me.sysctl("net.ipv4.tcp_fin_timeout", 9); me.say(me.read_sysctl("net.ipv4.tcp_fin_timeout"))
@play.step("client", "is refused, and runs out of descriptors")
def _(me):
    s = socket(SOCK_NONBLOCK); begin_connect(s, (me.host, me.port + 1)); poll({s: POLLOUT}, 1000); me.say(so_error(s))
    limit_descriptors(5)
    socket(); fails("EMFILE", socket)
"""
)


def test_the_calls_of_the_stories(perform: Perform, tmp_path: Path) -> None:
    play = played(perform, tmp_path, OPTIONS, ("namespace", "user-namespace"))
    closed, linger = "7", "0100000000000000"
    assert said(play) == ["1", linger, closed, "True", "none", "True", "x", "9", "ECONNREFUSED"]
    texts = [report.text for report in play.reports if report.kind == "call"]
    assert "setsockopt(3, SOL_SOCKET, SO_LINGER, {onoff=1, linger=0}) = 0" in texts
    assert any(text.startswith("poll([{3 POLLOUT}], 1000) = 1 fd 3") for text in texts)
    assert "socket(AF_INET, SOCK_STREAM) = -1 EMFILE" in texts


def test_options_are_where_this_system_keeps_them() -> None:
    import socket

    for name, (level, number) in calls.OPTIONS.items():
        if hasattr(socket, name):
            assert number == getattr(socket, name), name
        assert level == {"SO": 1, "TC": 6, "IP": 0 if name.startswith("IP_") else 41}[name[:2]], name


def test_a_failure_that_does_not_come_is_one() -> None:
    with pytest.raises(AssertionError, match=r"len succeeded \(0\) instead of failing with EPIPE"):
        calls.fails("EPIPE", len, [])
    with pytest.raises(AssertionError, match="close failed with EBADF, not with EPIPE"):
        calls.fails("EPIPE", os.close, -1)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "    while True: time.sleep(0.01)",
            "waited 0.3 s for the server to finish; it is {state}, line 6 of the script",
        ),
        ("    recv(me.pipe(), 1)", "it is asleep, recv in line 6 of the script"),
        ("    1 / 0", "step 1, server: ZeroDivisionError: division by zero (line 6 of the script)"),
    ],
)
def test_a_bug_in_a_script_ends_with_its_line_and_the_actors_state(
    perform: Perform, tmp_path: Path, body: str, reason: str
) -> None:
    text = "import socket as s, time\nplay = scene()\n@play.step('server', 'acts', timeout=0.3)\ndef _(me):\n"
    text += "    a, b = s.socketpair(); me.pipe = lambda: a.fileno()\n" + body + "\n"
    line = (HEAD + text).count("\n")
    play = played(perform, tmp_path, text)
    where = reason.replace("line 6", f"line {line}")
    assert play.failure.startswith("step 1")
    assert any(where.replace("{state}", state) in play.failure for state in ("asleep", "running"))
    deadline = time.monotonic() + 5
    pids = list(play.stage.ground.pids.values())  # type: ignore[union-attr]
    play.stop()
    play.stage.close()
    while time.monotonic() < deadline and any(Path(f"/proc/{pid}").exists() for pid in pids):
        time.sleep(0.01)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
