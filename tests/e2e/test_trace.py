"""`synfin trace` and `synfin record`: any program, from its start or from the middle of its life; every wrong word."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Synfin, Terminal, load, wait_for, world_after
from tracer.kinds import Evidence, Side
from tracer.states import State

pytestmark = pytest.mark.kernel

CHILD = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname()); server, _ = listener.accept()
client.send(b"hello"); print("got", server.recv(9).decode(), flush=True)
client.close(); server.recv(1); server.close()
sys.exit(7)
"""
PARENT = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', sys.argv[1]]))"
COMMAND = (sys.executable, "-c", PARENT, CHILD)
"""Starts a program that does the networking: it must be followed there."""


def walk(events: list[dict[str, Any]], side: str) -> list[str]:
    """The states that one end entered, as printed."""
    steps = [event for event in events if event["event"] == "socket:state" and event.get("side") == side]
    return [step["new"] for step in steps]


def test_a_commands_children_are_followed_and_its_exit_code_is_ours(synfin: Synfin) -> None:
    ran = synfin("trace", "--json", "--", *COMMAND)
    assert ran.code == 7
    assert "got hello" in ran.err and "ended with exit code 7" in ran.err  # standard output is the events' alone
    assert walk(ran.events, "client") == ["SYN_SENT", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "CLOSE"]
    assert walk(ran.events, "server") == ["SYN_RECV", "ESTABLISHED", "CLOSE_WAIT", "LAST_ACK", "CLOSE"]
    forks = [event for event in ran.events if event["event"] == "process:fork"]
    first = next(event for event in ran.events if event["event"] == "syscall:enter" and event["call"] == "socket")
    assert first["pid"] in {fork["child_pid"] for fork in forks}


def test_record_writes_what_trace_shows(synfin: Synfin) -> None:
    ran = synfin("record", "-w", "it.pcapng", "--", *COMMAND)
    assert (ran.code, ran.out) == (7, "got hello\n")
    assert "events in it.pcapng" in ran.err
    world = world_after(load(synfin.folder / "it.pcapng"))
    end = world.end(1, Side.CLIENT)
    assert end is not None and end.state is State.TIME_WAIT and end.evidence is Evidence.OBSERVED
    assert world.anomalies == () and world.lost == 0


def test_a_recording_goes_into_a_pipe_alone(synfin: Synfin) -> None:
    piped = synfin.start("record", "-w", "-", "--", *COMMAND)
    out, err = piped.communicate(timeout=60)
    assert out[:4] == b"\n\r\r\n" and b"got hello" not in out.splitlines() and b"got hello\n" in err
    (synfin.folder / "piped.pcapng").write_bytes(out)
    assert world_after(load(synfin.folder / "piped.pcapng")).end(1, Side.SERVER) is not None


SERVER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0)); print(listener.getsockname()[1], flush=True)
server, _ = listener.accept(); print("accepted", flush=True)
server.send(server.recv(9)); server.recv(1); server.close(); sys.stdin.read()
"""


@pytest.fixture
def server() -> Iterator[tuple[subprocess.Popen[str], socket.socket]]:
    """A server with an established connection, and its client's end of it."""
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        with socket.create_connection(("127.0.0.1", int(process.stdout.readline()))) as client:
            assert process.stdout.readline() == "accepted\n"
            yield process, client
        process.stdin.close()
        process.wait(10)


def begun(path: Path) -> bool:
    """Whether a recording has the adopted sockets already."""
    return path.exists() and b"LISTEN" in path.read_bytes()


def test_a_running_process_is_adopted_sampled_first_and_then_observed(
    synfin: Synfin, server: tuple[subprocess.Popen[str], socket.socket]
) -> None:
    process, client = server
    tracing = synfin.start("record", "--pid", str(process.pid), "-w", "it.pcapng")
    wait_for(lambda: begun(synfin.folder / "it.pcapng"), "the adopted sockets")
    client.send(b"hello")
    assert client.recv(9) == b"hello"
    client.close()
    assert process.stdin is not None
    time.sleep(0.1)
    process.stdin.close()
    ran = synfin.end(tracing)  # the trace ends with its process
    assert ran.code == 0
    timeline = load(synfin.folder / "it.pcapng")
    states = [event for event in timeline.events() if event.name == "socket:state"]
    sampled = [event for event in states if event.evidence is Evidence.SAMPLED]
    assert [State(event["new"]) for event in sampled] == [State.LISTEN, State.ESTABLISHED]
    assert {event.pid for event in sampled} == {process.pid} and sampled[1].fd > sampled[0].fd
    observed = [event for event in states if event.sock == sampled[1].sock and event not in sampled]
    assert [State(event["new"]) for event in observed] == [State.CLOSE_WAIT, State.LAST_ACK, State.CLOSE]
    assert {event.evidence for event in observed} == {Evidence.OBSERVED}
    assert timeline[0] == sampled[0]  # what was there comes before all that happened
    assert world_after(timeline).anomalies == ()


@pytest.mark.parametrize("how", ["port", "netns", "all", "comm"])
def test_selections_meet_what_runs_already(
    synfin: Synfin, server: tuple[subprocess.Popen[str], socket.socket], how: str
) -> None:
    process, client = server
    port = client.getpeername()[1]
    comm = Path(f"/proc/{process.pid}/comm").read_text().strip()
    words = {
        "port": ("--port", str(port)),
        "netns": ("--netns", str(Path("/proc/self/ns/net").stat().st_ino)),
        "all": ("--all",),
        "comm": ("--comm", comm),
    }[how]
    tracing = synfin.start("record", *words, "-w", "it.pcapng")
    wait_for(lambda: begun(synfin.folder / "it.pcapng"), "the adopted sockets")
    client.send(b"hello")
    assert client.recv(9) == b"hello"
    time.sleep(0.1)
    tracing.send_signal(signal.SIGINT)
    assert synfin.end(tracing).code == 130
    world = world_after(load(synfin.folder / "it.pcapng"))
    ends = [view for view in world.sockets.values() if port in (view.local[1], view.peer[1])]
    assert {view.state for view in ends} >= {State.LISTEN, State.ESTABLISHED}
    mine = next(view for view in ends if view.state is State.ESTABLISHED and view.local[1] == port)
    assert (mine.pid, mine.evidence) == (process.pid, Evidence.SAMPLED)
    assert mine.snapshot is not None and mine.snapshot.evidence is Evidence.OBSERVED  # seen at work since


def test_a_duration_ends_the_trace_and_the_command(synfin: Synfin) -> None:
    before = time.monotonic()
    ran = synfin("record", "--duration", "0.5", "-w", "it.pcapng", "--", "sleep", "60")
    assert ran.code == 0 and time.monotonic() - before < 30
    assert "sleep was ended, as the trace is over" in ran.err


CROWDED = """
import socket, time
listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen(1); clients = []
for _ in range(4):
    c = socket.socket(); c.setblocking(False); c.connect_ex(listener.getsockname()); clients.append(c)
time.sleep(1.2)
server, _ = listener.accept(); clients[0].send(b"hello"); time.sleep(0.05); server.close(); time.sleep(0.05)
"""


def test_lints_tell_what_went_wrong(synfin: Synfin) -> None:
    ran = synfin("record", "--lints", "-w", "it.pcapng", "--", sys.executable, "-c", CROWDED)
    assert ran.code == 0
    assert "error: accept-overflow (" in ran.out and "was full (2/1): the SYN of 127.0.0.1:" in ran.out
    assert "warn: syn-retransmitted (2)" in ran.out and "warn: reset-unread (1)" in ran.out
    assert "was closed with 5 B unread" in ran.out
    quiet = synfin("trace", "--json", "--lints", "--", *COMMAND)
    assert not [line for line in quiet.events if "lint" in line]


def test_the_kernels_own_count_of_overflows_agrees(synfin: Synfin) -> None:
    """The counters are the namespace's: others on this machine may add to them, nobody takes away."""
    events = synfin("trace", "--all", "--json", "--", sys.executable, "-c", CROWDED).events
    here = Path("/proc/self/ns/net").stat().st_ino  # networks that are made meanwhile are traced too, not counted
    events = [event for event in events if event.get("netns") == here]
    seen = [event for event in events if event["event"] == "accept:overflow"]
    counted = [event for event in events if event["event"] == "counters:listen"]
    assert {event["evidence"] for event in counted} == {"sampled"}
    assert sum(event["overflows"] for event in counted) >= len(seen) >= 2
    assert counted[-1]["all_overflows"] >= counted[-1]["overflows"] > 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_everything_cleanly(synfin: Synfin, number: int, code: int) -> None:
    """The command is ended, the recording is closed; the fixture finds what is left behind."""
    running = synfin.start("record", "-w", "it.pcapng", "--", "sleep", "60")
    wait_for(lambda: "sleep 60 " in synfin.processes().values(), "the command")
    os.kill(running.pid, number)
    assert synfin.end(running).code == code
    assert load(synfin.folder / "it.pcapng") is not None


def test_the_screen_keeps_the_commands_output_apart(synfin: Synfin) -> None:
    terminal = Terminal(synfin, "trace", "--", *COMMAND, columns=100, rows=30)
    terminal.until(" exits ")
    assert "got hello" not in terminal.text
    terminal.type(b"q")
    assert terminal.end() == 7
    said = terminal.text[terminal.text.rindex("its output is in") :].split()
    output = Path(said[4])
    assert output.read_text() == "got hello\n"
    output.unlink()


NOBODY_THERE = "4194304"
"""No pid: the largest that Linux gives is one less (PID_MAX_LIMIT)."""


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--pid", NOBODY_THERE], f"there is no process {NOBODY_THERE}"),
        (["--pid", "0"], "there is no process 0"),
        (["--pid", "1", "--port", "80"], "--pid and --port do not go together"),
        (["--comm", "no-such-comm"], "no process is called 'no-such-comm'"),
        (["--netns", "no-such-net"], "there is no network namespace 'no-such-net'"),
        (["--netns", "/etc/passwd"], "'/etc/passwd' is not a network namespace"),
        (["--netns", "17"], "no process and no name belongs to a network namespace with inode 17"),
        (["--duration", "0"], "--duration is a number of seconds above 0"),
        (["--port", "70000"], "70000 is no TCP port"),
        (["--probes", "states,colours"], "there is no probe group 'colours'; there are: states,"),
        (["--", "no-such-command"], "there is no command 'no-such-command'"),
        (["--", "./not-there"], "there is no command './not-there'"),
        (["--", "/etc/passwd"], "cannot run '/etc/passwd': it is not an executable file"),
    ],
)
def test_wrong_words_get_one_sentence(synfin: Synfin, words: list[str], sentence: str) -> None:
    ran = synfin("trace", "--text", *words)
    assert ran.code == 2 and sentence in ran.err, ran.err
    assert ran.out == ""


def test_a_thread_is_no_process(synfin: Synfin) -> None:
    text = (
        "import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start(); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", text]) as process:
        tasks = Path(f"/proc/{process.pid}/task")
        wait_for(lambda: len(list(tasks.iterdir())) == 2, "a second thread")
        thread = max(int(task.name) for task in tasks.iterdir())
        ran = synfin("trace", "--text", "--pid", str(thread))
        process.kill()
    assert (ran.code, ran.err) == (
        2,
        f"synfin: {thread} is a thread of process {process.pid}; use --pid {process.pid}\n",
    )
