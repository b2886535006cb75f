"""A Go echo server seen from inside, by real probes: the moments that the stories draw, against the known sequence."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.runtimes.go_programs import Programs, built
from tracer import tasks
from tracer.events import NUMBER
from tracer.kernel.attach import InProgram
from tracer.kernel.source import Filter, KernelSource
from tracer.runtimes import golang
from tracer.runtimes.golang import GoSource
from tracer.session import Session
from tracer.timeline import Event
from tracer.views import PollView
from tracer.words import message
from tracer.world import World

pytestmark = [pytest.mark.kernel, pytest.mark.needs("go")]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    return built(tmp_path_factory)


class Traced:
    """A trace of what this process starts, and the world up to now."""

    def __init__(self, mode: InProgram | None = None) -> None:
        self.kernel = KernelSource()
        self.kernel.start(Filter(parents=frozenset({os.getpid()})))
        self.go = GoSource(self.kernel, mode)
        self.session = Session([self.kernel, self.go])
        self.world = World()
        self._folded = 0

    def fold(self) -> None:
        """Bring in what has come, and fold it into the world."""
        self.session.pump()
        timeline = self.session.timeline
        for order in range(self._folded, len(timeline)):
            self.world.apply(timeline[order])
        self._folded = len(timeline)

    def changes(self, fd: int) -> list[Event]:
        """Of the poll descriptor that the descriptor has now: since it was opened last."""
        found: list[Event] = []
        for order in self.session.timeline.indices("kind", NUMBER["polldesc:change"]).tolist():
            event = self.session.timeline[order]
            if event.fd == fd:
                found = [event] if event["why"] == "open" else [*found, event]
        return found

    def until(self, what: Callable[[], bool], told: str) -> None:
        """Wait for something to be so in the world."""
        give_up = time.monotonic() + 20
        while True:
            self.fold()
            if what():
                return
            assert time.monotonic() < give_up, f"never {told}: {list(map(message, self.session.timeline))[-20:]}"
            time.sleep(0.01)

    def close(self) -> None:
        self.session.stop()
        self.fold()


@contextlib.contextmanager
def served(path: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    with subprocess.Popen([path], stdout=subprocess.PIPE, text=True, env=os.environ | environment) as server:
        try:
            assert server.stdout is not None
            yield server, int(server.stdout.readline().rsplit(":", 1)[1])
        finally:
            server.kill()


def parked(world: World, pid: int) -> dict[int, PollView]:
    return {view.fd: view for view in tasks.poll_table(world, pid)}


WAYS = [("plain", None), ("stripped", InProgram.UPROBE), ("position_independent", InProgram.UPROBE_MULTI)]


@pytest.mark.parametrize(("program", "mode"), WAYS, ids=["plain", "stripped, perf events", "position independent"])
def test_the_table_of_poll_descriptors_at_the_moments_of_the_stories(
    programs: Programs, program: str, mode: InProgram | None
) -> None:
    traced = Traced(mode)
    path = getattr(programs, program)
    try:
        if mode is not InProgram.UPROBE_MULTI:  # else it is found as it runs
            traced.go.add(str(path))
        with served(path) as (server, port):
            pid, world = server.pid, traced.world
            if mode is InProgram.UPROBE_MULTI:
                traced.until(lambda: traced.go.programs == 1, "probed while it runs")
                with socket.create_connection(("127.0.0.1", port)) as first:
                    first.shutdown(socket.SHUT_WR)
                    assert first.recv(1) == b""

            def listening() -> list[PollView]:
                return [view for view in parked(world, pid).values() if view.rg == "1"]

            # 1. parked in accept: the main goroutine stands in the listener's descriptor, and no other is there
            traced.until(lambda: len(listening()) == len(parked(world, pid)) == 1, "parked in accept")
            listener = listening()[0].fd
            assert parked(world, pid)[listener].wg == "nil"
            main = world.tasks[pid, 1]
            assert (main.state, main.why, main.fd, main.name) == ("waiting", "IO wait", listener, "runtime.main")

            # 2. a connection accepted: both are parked, each in its own descriptor
            client = socket.create_connection(("127.0.0.1", port))
            traced.until(lambda: len(parked(world, pid)) == 2, "accepted")
            conn = next(fd for fd in parked(world, pid) if fd != listener)
            traced.until(
                lambda: parked(world, pid)[conn].rg.isdigit() and parked(world, pid)[listener].rg == "1", "both parked"
            )
            worker = int(parked(world, pid)[conn].rg)
            task = world.tasks[pid, worker]
            assert worker > 1
            assert (task.state, task.why, task.fd) == ("waiting", "IO wait", conn)
            assert task.name.startswith("main.")

            # 3. bytes: it is woken, echoes, and parks again
            client.sendall(b"hello")
            assert client.recv(5) == b"hello"
            traced.until(lambda: sum(e["why"] == "park" for e in traced.changes(conn)) == 2, "parked again")

            # 4. EOF: the FIN is readiness too; the descriptor is closed, its goroutine over
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
            client.close()
            traced.until(lambda: conn not in parked(world, pid) and (pid, worker) not in world.tasks, "closed")
            assert [view.fd for view in listening()] == [listener]
            assert traced.session.losses().lost == 0

            me = str(worker)
            acts = ("open", "park", "taken", "close")
            told = [e for e in traced.changes(conn) if e["rg"] != e["rg_was"] or e["why"] in ("open", "close")]
            steps = [(e["why"] if e["why"] in acts else "notice", e["rg"]) for e in told]
            round_trip = [("park", me), ("notice", "ready"), ("taken", "nil")]
            assert steps == [("open", "nil"), *round_trip, *round_trip, ("close", "nil")]
    finally:
        traced.close()
    states = [(e["old"], e["new"]) for e in traced.session.timeline if e.name == "task:state" and e["task"] == worker]
    assert states[:2] == [("new", "runnable"), ("runnable", "running")]
    assert states[-1] == ("running", "over")
    assert all(before[1] == after[0] for before, after in itertools.pairwise(states)), states
    agree(list(traced.session.timeline), pid, conn, worker)


def agree(timeline: list[Event], pid: int, conn: int, worker: int) -> None:
    """The goroutine's story and the kernel's: EAGAIN before each park, readiness before each wake-up, epoll between."""
    parks = [e for e in timeline if e.name == "task:state" and e["task"] == worker and e["new"] == "waiting"]
    assert parks
    for park in parks:
        before = [e for e in timeline[: park.order] if e.call == "read" and e.pid == pid and e.fd == conn]
        assert before[-1].name == "syscall:exit"
        assert before[-1]["ret"] == -11, "EAGAIN"
        after = timeline[park.order :]
        wake = next(e for e in after if e.name == "task:state" and e["task"] == worker and e["old"] == "waiting")
        between = [e.name for e in timeline[park.order : wake.order] if e.pid in (pid, 0) or e.fd == conn]
        assert "epoll:wait" in between
        assert wake.fd == conn
        assert next(e for e in after if e.name == "epoll:ready" and e.fd == conn).order < wake.order


def test_who_asks_epoll_and_when(programs: Programs) -> None:
    """C17: idle threads ask, each before it sleeps; sysmon, a thread of its own, only when nobody has for 10 ms."""
    traced = Traced()
    try:
        for path in (programs.plain, programs.busy):
            traced.go.add(str(path))
        with served(programs.plain) as (server, port):
            for _ in range(20):
                with socket.create_connection(("127.0.0.1", port)) as client:
                    client.sendall(b"x")
                    assert client.recv(1) == b"x"
            time.sleep(0.05)
        busy = subprocess.Popen([programs.busy], env=os.environ | {"GOMAXPROCS": "1"}, stdout=subprocess.DEVNULL)
        assert busy.wait(60) == 0
    finally:
        traced.close()
    asks = [e for e in traced.session.timeline if e.name == "poller:asks"]
    idle = [e for e in asks if e.pid == server.pid]
    assert {e["caller"] for e in idle} <= {"runtime.findRunnable", "runtime.findrunnable", "runtime.sysmon"}
    assert any(e["delay"] for e in idle), "a thread that finds nothing to do waits in epoll"
    assert all(e["caller"].lower() == "runtime.findrunnable" for e in idle if e["delay"])
    # every epoll_pwait() is one of these questions, on the same thread
    calls = [e for e in traced.session.timeline if e.name == "syscall:enter" and e.call == "epoll_pwait"]
    assert {e.tid for e in calls} <= {e.tid for e in asks}
    by_sysmon = {e.tid for e in asks if e.pid == busy.pid and e["caller"] == "runtime.sysmon"}
    assert len(by_sysmon) == 1, "one thread, without a processor (P) of Go's"
    ran = {
        e.tid for e in traced.session.timeline if e.name == "task:state" and e.pid == busy.pid and e["new"] == "running"
    }
    assert not by_sysmon & ran, "it runs no goroutine, ever"


def test_the_program_survives_probes_that_come_and_go_under_load(programs: Programs) -> None:
    rounds, failures, stop = [0], [], threading.Event()

    def talk(port: int) -> None:
        try:
            while not stop.is_set():
                with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
                    for _ in range(20):
                        client.sendall(b"hello")
                        assert client.recv(5) == b"hello"
                        rounds[0] += 1
        except (OSError, AssertionError) as failure:
            failures.append(failure)

    with served(programs.stripped) as (server, port):
        clients = [threading.Thread(target=talk, args=(port,)) for _ in range(4)]
        for client in clients:
            client.start()
        seen = []
        try:
            for turn in range(4):
                kernel = KernelSource(frozenset())
                kernel.start(Filter(processes=frozenset({server.pid})))
                go = GoSource(kernel, InProgram.UPROBE if turn % 3 == 2 else InProgram.UPROBE_MULTI)
                go.add(f"/proc/{server.pid}/exe")
                before = rounds[0]
                while rounds[0] < before + 100 and not failures:
                    go.drain()
                    time.sleep(0.005)
                go.drain()
                go.stop()
                go.drain()
                seen.append(go.losses())
                kernel.stop()
                assert not failures
                assert server.poll() is None
        finally:
            stop.set()
            for client in clients:
                client.join()
        assert not failures
        assert all(count.written > 100 and count.lost == 0 for count in seen), seen
        mapped = Path(f"/proc/{server.pid}/maps").read_text()
        assert str(programs.stripped) in mapped
        server.send_signal(signal.SIGTERM)
        assert server.wait(10) == -signal.SIGTERM


def test_what_does_not_fit_into_the_ring_is_counted(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golang, "RING_BYTES", 4096)
    kernel = KernelSource(frozenset())
    kernel.start(Filter(parents=frozenset({os.getpid()})))
    go = GoSource(kernel)
    try:
        go.add(str(programs.plain))
        with served(programs.plain) as (_, port):
            for _ in range(20):
                with socket.create_connection(("127.0.0.1", port)) as client:
                    client.sendall(b"x")
                    assert client.recv(1) == b"x"
        go.stop()
        kept = len(go.drain())
    finally:
        go.stop()
        kernel.stop()
    losses = go.losses()
    assert losses.lost > 0
    assert losses.written <= 4096 // 104
    assert 0 < kept <= losses.written


def test_only_who_is_followed_is_told_of(programs: Programs) -> None:
    kernel = KernelSource(frozenset())
    kernel.start(Filter(ports=frozenset({1})))
    go = GoSource(kernel)
    try:
        go.add(str(programs.plain))
        with served(programs.plain) as (_, port), socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
        go.stop()
        assert len(go.drain()) == 0
        assert go.losses().written == 0
    finally:
        go.stop()
        kernel.stop()


def test_the_command_line_shows_goroutines_and_says_what_is_none(programs: Programs, tmp_path: Path) -> None:
    def synfin(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tui.cli", *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    recording = tmp_path / "go.pcapng"
    words = ("trace", "--go", "--json", "-w", str(recording), "--no-drop", "--", str(programs.busy))
    done = synfin(*words)
    assert done.returncode == 0, done.stderr
    kinds = {json.loads(line)["event"] for line in done.stdout.splitlines() if line.startswith('{"')}
    assert {"task:state", "polldesc:change", "poller:asks"} <= kinds
    again = synfin("replay", "--json", str(recording))
    assert {json.loads(line)["event"] for line in again.stdout.splitlines() if line.startswith('{"')} >= kinds
    none = synfin("trace", "--go", "--text", "--no-drop", "--", "true")
    assert none.returncode == 0
    assert "without go:" in none.stderr
    assert "is no Go program" in none.stderr
