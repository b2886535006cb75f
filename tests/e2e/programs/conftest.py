"""Servers to trace, and three witnesses to compare with: the classic tracepoint, `ss`, and what the programs report."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.conftest import Synfin, load, wait_for, world_after
from tests.e2e.test_witnesses import Witness
from tracer.kinds import Evidence, Side
from tracer.states import State
from tracer.timeline import Timeline
from tracer.views import Endpoint
from tracer.world import World

Serve = Callable[..., int]
Walks = dict[tuple[int, int], list[tuple[str, str]]]
"""Steps of each pair of ports, in order."""

CLIENT_CLOSES_FIRST: Final = ["CLOSE", "SYN_SENT", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT"]
_SS: Final = {"ESTAB": "ESTABLISHED", "UNCONN": "CLOSE", "CLOSING": "CLOSING"}
"""Names of `ss` that differ from the kernel's by more than a dash for an underscore."""


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts a server, with PORT in its words replaced by a free port; waits until it listens; gives the port."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*words: str) -> int:
        port = unused_port()
        command = [word.replace("PORT", str(port)) for word in words]
        running.append(
            subprocess.Popen(
                command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0
            )
        )
        wait_for(lambda: listens(port), f"{words[0]} to listen")
        return port

    yield start
    for process in running:
        process.send_signal(signal.SIGINT if "postgres" in str(process.args) else signal.SIGTERM)
        process.wait(timeout=20)


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    return unused_port()


def unused_port() -> int:
    """A port that nobody listens on, below those that connect() gives out: nobody's TIME_WAIT has it either."""
    while True:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", random.randint(15000, 32000))) as free:
            return int(free.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody listens on 127.0.0.1 (or everywhere) there; asked of the table, so that nobody is disturbed."""
    return any(state == "LISTEN" for local, _, state in table(port) if local[1] == port)


def table(port: int) -> list[tuple[Endpoint, Endpoint, str]]:
    """Local end, peer and state of every socket on that port, as `ss` tells it."""
    told = subprocess.run(
        ["ss", "-Htan", f"( sport = :{port} or dport = :{port} )"],
        capture_output=True, text=True, timeout=20, check=True,
    ).stdout  # fmt: skip
    rows = [line.split() for line in told.splitlines()]
    return [(_end(row[3]), _end(row[4]), _SS.get(row[0], row[0].replace("-", "_"))) for row in rows]


def _end(told: str) -> Endpoint:
    """127.0.0.1:80 or [::1]:80 as the timeline has it."""
    host, _, port = told.rpartition(":")
    host = host.strip("[]").partition("%")[0].replace("*", "0.0.0.0")
    number = int(ip_address(f"::ffff:{host}" if ":" not in host else host))
    return (number >> 64, number & ((1 << 64) - 1)), 0 if port == "*" else int(port)


def living(world: World) -> dict[tuple[Endpoint, Endpoint], str]:
    """Local end, peer -> state, of all that is neither closed nor a listener."""
    return {
        (view.local, view.peer): view.state.name
        for view in world.sockets.values()
        if view.state not in (State.CLOSE, State.LISTEN) and view.peer[1]
    }


def watched(synfin: Synfin, port: int, *command: str, words: tuple[str, ...] = ()) -> tuple[Timeline, World, str]:
    """Record everything on the port while the command runs, beside the witnesses; compare the three."""
    witness = Witness()
    try:
        ran = synfin("record", "--port", str(port), *words, "-w", "it.pcapng", "--", *command)
        steps = [step for step in witness.tell() if port in (step.sport, step.dport)]
    finally:
        witness.close()
    told = {(local, peer): state for local, peer, state in table(port) if state != "LISTEN"}
    assert ran.code == 0, ran.err
    timeline = load(synfin.folder / "it.pcapng")
    theirs: Walks = {}
    for step in steps:
        theirs.setdefault((step.sport, step.dport), []).append((step.old, step.new))
    ours: Walks = {}
    for event in timeline.events():
        if event.name == "socket:state" and event.evidence is Evidence.OBSERVED:
            names = State(event["old"]).name, State(event["new"]).name
            ours.setdefault((event["sport"], event["dport"]), []).append(names)
    assert ours == theirs
    world = world_after(timeline)
    assert (world.anomalies, world.lost) == ((), 0)
    assert living(world) == told
    return timeline, world, ran.out


def path(world: World, conn: int, side: Side) -> list[str]:
    """Every state of one end."""
    end = world.end(conn, side)
    assert end is not None and end.evidence is Evidence.OBSERVED
    return [state.name for _, state in end.path]


def pids(timeline: Timeline, side: Side, *calls: str) -> set[int]:
    """Processes that made these calls about that end of any connection."""
    return {
        event.pid
        for event in timeline.events()
        if event.name == "syscall:enter" and event.side is side and event.conn and event.call in calls
    }


def postgres_program(name: str) -> str:
    """Where a program of PostgreSQL lies; skips where there is none. Debian keeps it off the PATH."""
    installed = [str(program) for program in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))]
    found = [*filter(None, [shutil.which(name)]), *installed]
    if not found:
        pytest.skip(f"needs test: no {name}")
    return found[-1]


def plain_user(program: str) -> tuple[str, ...]:
    """What to put before a program that refuses to run as root; skips where a plain user may not run it."""
    if os.geteuid() != 0:
        return ()
    before = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "env", "HOME=/nonexistent")
    if subprocess.run([*before, program, "--version"], capture_output=True, check=False, timeout=20).returncode:
        pytest.skip(f"needs test: the user nobody may not run {program}")
    return before
