"""Nothing stays behind: the host is the same before and after a play with everything in it, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scenarios.play import Play
from scenarios.stage import Stage, StageError

ROOT = Path(__file__).resolve().parents[2]
EVERYTHING = '''
from scenarios.calls import *
from scenarios.impairments import drop
from scenarios.script import Scenario
play = Scenario(name="all", title="", topic="", story="", actors=("server", "client", "peer", "worker", "program"),
                peers=("peer",), children={"worker": "server"}, impairments=(drop("client", "FIN", nth=1),),
                sysctls={"net.ipv4.tcp_fin_timeout": "5", "net.core.somaxconn": "17"})
SLEEPS = "import time; time.sleep(60)"
STARTS = f"""import socket, subprocess, sys
subprocess.Popen([sys.executable, '-c', {SLEEPS!r}])
listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
{SLEEPS}"""
play.runs("program", "starts another, and listens", ["{python}", "-c", STARTS, "{address}", "{port}"])
@play.step("server", "listens")
def _(me):
    me.s = socket(); bind(me.s, me.at("server")); listen(me.s, 8)
@play.step("client", "connects")
def _(me):
    me.c = socket(); connect(me.c, me.at("server"))
@play.step("peer", "connects")
def _(me):
    me.peer.talk("server").open()
@play.step("server", "forks")
def _(me):
    me.c = accept(me.s); me.fork("worker")
@play.step("worker", "sleeps", asleep_in="recv")
def _(me):
    recv(me.c, 10)
@play.step("server", "waits", asleep_in="recv")
def _(me):
    recv(me.c, 10)
@play.step("network", "cuts the cable")
def _(me):
    me.cut()
@play.step("client", "closes")
def _(me):
    close(me.c); raise SystemExit(0)
'''
AUDIENCE = """
import sys, time
sys.path.insert(0, sys.argv[1])
from scenarios.stage import Stage
from scenarios.play import Play
stage = Stage.of(sys.argv[2])
ground = stage.open()
play = Play(stage)
play.start()
play.wait(20)
print(play.state, play.failure, flush=True)
print(stage._holder.pid, *ground.pids.values(), flush=True)
time.sleep(60)
"""
COUNTS = ("nf_conntrack_count",)
"""Files below /proc/sys/net that nobody sets."""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A play with every kind of actor."""
    path = tmp_path / "everything.py"
    path.write_text(EVERYTHING)
    return path


def host() -> dict[str, Any]:
    """What a play could have changed: settings, rules, routes, interfaces, named namespaces."""
    settings = {}
    for path in Path("/proc/sys/net").rglob("*"):
        try:
            if path.is_file() and os.access(path, os.R_OK) and path.name not in COUNTS:
                settings[str(path)] = path.read_bytes()
        except OSError:
            continue
    told = {
        " ".join(command): subprocess.run(command, capture_output=True, timeout=20, check=False).stdout
        for command in (["nft", "list", "ruleset"], ["ip", "netns"], ["ip", "-4", "route"], ["ip", "-6", "route"])
        if any((Path(folder) / command[0]).exists() for folder in ("/usr/sbin", "/sbin", "/usr/bin", "/bin"))
    }
    links = sorted(path.name for path in Path("/sys/class/net").iterdir())
    return {"settings": settings, "links": links, **told}


def descendants(pid: int) -> set[int]:
    """All processes below one, at this moment."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            parents.setdefault(parent, []).append(int(path.name))
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found.update(children)
        waiting += children
    return found


def alive(pids: set[int]) -> set[int]:
    """Those that exist and are no zombies."""
    living = set()
    for pid in pids:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                living.add(pid)
        except OSError:
            continue
    return living


def gone(pids: set[int]) -> bool:
    """Whether they all end within a few seconds."""
    deadline = time.monotonic() + 5
    while alive(pids) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not alive(pids)


@pytest.fixture
def audience(script: Path) -> Iterator[tuple[subprocess.Popen[str], set[int]]]:
    """A process that has played everything and looks on, and all processes below it."""
    with subprocess.Popen(
        [sys.executable, "-c", AUDIENCE, str(ROOT), str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        state = process.stdout.readline()
        if "finished" not in state:
            process.kill()
        if not state:
            process.wait(10)
            assert process.stderr
            words = process.stderr.read()
            if "refused" in words:
                pytest.skip("needs a network namespace")
            raise AssertionError(words)
        assert state.strip() == "finished"
        process.stdout.readline()
        # The stage hand, the server, its worker, the peer, the network, the program and its own child. The client has
        # left, of which the last thing to be seen is that its pipe ends.
        deadline = time.monotonic() + 5
        while len(below := alive(descendants(process.pid))) != 7 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(below) == 7
        yield process, below
        process.kill()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_the_audience_ends(audience: tuple[subprocess.Popen[str], set[int]], end: signal.Signals) -> None:
    process, below = audience
    process.send_signal(end)
    process.wait(10)
    assert gone(below), alive(below)


def test_the_host_is_as_it_was(script: Path) -> None:
    before = host()
    assert before["settings"]
    try:
        with Stage.of(str(script)) as stage:
            play = Play(stage)
            play.start()
            assert play.wait(20)
            assert (play.state, play.failure) == ("finished", "")
            below = descendants(os.getpid())
            play.stop()
    except StageError as failure:
        pytest.skip(str(failure))
    assert gone(below), alive(below)
    after = host()
    settings, now = before.pop("settings"), after.pop("settings")
    assert {path: value for path, value in now.items() if settings.get(path, value) != value} == {}
    assert after == before


def test_ctrl_c_at_the_command_line_leaves_nothing(script: Path) -> None:
    command = [sys.executable, "-m", "tui.cli", "run", str(script), "--text", "--no-kernel", "--pace", "0.3"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    ) as process:
        assert process.stdout
        for line in process.stdout:
            if "connects" in line:
                break
        else:
            pytest.skip("needs a network namespace")
        below = descendants(process.pid)
        assert below
        os.killpg(process.pid, signal.SIGINT)
        process.stdout.read()
        assert process.wait(20) == 130
    assert gone(below), alive(below)
