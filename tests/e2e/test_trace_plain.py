"""Tracing without kernel probes: as a plain user, and as root who does without. Everything says how it is known."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Synfin, load, wait_for
from tracer.kinds import Evidence
from tracer.states import State
from tui.cli_cgroups import unified

CHILD = """
import socket, sys, time
listener = socket.create_server(("127.0.0.1", 0)); port = listener.getsockname()[1]
client = socket.create_connection(("127.0.0.1", port)); server, _ = listener.accept()
client.send(b"hello"); time.sleep(0.1); print("got", server.recv(9).decode(), port, flush=True)
client.shutdown(socket.SHUT_WR); time.sleep(0.15); server.close(); client.close(); time.sleep(0.1)
sys.exit(7)
"""
ORPHAN = """
import os, sys
over, alive = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.set_inheritable(alive, True)
        os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
    os._exit(0)
os.wait(); os.close(alive); os.read(over, 1)
"""
"""Forks twice: what it has started is nobody's child any more. Ends when that has ended, for so long it is traced."""


@pytest.fixture
def stranger() -> Iterator[int]:
    """A connection of this test itself, which belongs to nobody who is traced: its listener's port."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
        listener.accept()[0] as server,
    ):
        server.send(b"x")
        client.recv(1)
        yield int(listener.getsockname()[1])


def ports(events: list[dict[str, Any]]) -> set[int]:
    return {port for event in events for port in (event.get("sport"), event.get("dport")) if port}


def states(events: list[dict[str, Any]], evidence: str) -> set[str]:
    return {event["new"] for event in events if event["event"] == "socket:state" and event["evidence"] == evidence}


def test_a_plain_user_follows_what_he_starts(nobody: Synfin, stranger: int) -> None:
    ran = nobody("trace", "--json", "--", "python3", "-c", CHILD)
    assert ran.code == 7, ran.err
    assert "without kernel: kernel probes need CAP_BPF" in ran.err and "without packets: AF_PACKET" in ran.err
    assert {event["evidence"] for event in ran.events} == {"sampled"}
    assert states(ran.events, "sampled") >= {"LISTEN", "ESTABLISHED", "CLOSE_WAIT", "CLOSE"}
    assert {event["event"] for event in ran.events} >= {"timewait:born", "socket:destroy"}
    assert stranger not in ports(ran.events)
    theirs = int(ran.err.split("got hello ")[1].split()[0])
    assert all(theirs in (event["sport"], event["dport"]) for event in ran.events)
    owners = {(event["pid"], event["fd"]) for event in ran.events if event["event"] == "socket:state" and event["pid"]}
    assert len({pid for pid, _ in owners}) == 1 and len(owners) == 3


@pytest.mark.kernel
def test_root_without_probes_has_packets_and_what_follows_from_them(synfin: Synfin, stranger: int) -> None:
    with socket.create_connection(("127.0.0.1", stranger)) as other:
        ran = synfin("trace", "--no-kernel", "--json", "-w", "it.pcapng", "--", sys.executable, "-c", CHILD)
        other.send(b"more")
    assert ran.code == 7 and "without kernel: --no-kernel" in ran.err
    packets = [event for event in ran.events if event["event"] == "packet:captured"]
    assert [packet["flags"] for packet in packets][:3] == ["SYN", "SYN,ACK", "ACK"]  # from the first on
    assert states(ran.events, "inferred") >= {"SYN_SENT", "SYN_RECV", "FIN_WAIT2", "LAST_ACK", "TIME_WAIT"}
    assert states(ran.events, "sampled") >= {"LISTEN", "ESTABLISHED", "CLOSE_WAIT"}
    assert {event["evidence"] for event in ran.events} == {"captured", "inferred", "sampled"}
    assert stranger not in ports(ran.events)
    kept = load(synfin.folder / "it.pcapng")
    assert len([event for event in kept.events() if event.evidence is Evidence.CAPTURED]) == len(packets)


@pytest.mark.kernel
@pytest.mark.parametrize("eyes", ["kernel", "tables"])
def test_forked_twice_in_a_session_of_its_own_and_still_followed(synfin: Synfin, eyes: str) -> None:
    how = ["--no-kernel"] if eyes == "tables" else []
    ran = synfin("trace", "--json", *how, "--", sys.executable, "-c", ORPHAN, CHILD)
    assert ran.code == 0
    assert states(ran.events, "observed" if eyes == "kernel" else "sampled") >= {"LISTEN", "ESTABLISHED", "CLOSE_WAIT"}


SERVER = """
import os, socket, sys
if sys.argv[1]: open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
listener = socket.create_server(("127.0.0.1", 0)); print(listener.getsockname()[1], flush=True)
client = socket.create_connection(listener.getsockname()); server, _ = listener.accept()
sys.stdin.readline(); client.send(b"hello"); server.recv(9); client.close(); sys.stdin.read()
"""


@pytest.mark.kernel
@pytest.mark.parametrize("eyes", ["kernel", "tables"])
@pytest.mark.parametrize("how", ["pid", "port", "cgroup", "netns", "all"])
def test_every_selection_meets_what_runs_already(synfin: Synfin, stranger: int, how: str, eyes: str) -> None:
    root = unified()
    if root is None:
        pytest.skip("kernel lacks a mounted cgroup v2 hierarchy")
    name = f"synfin-test-{uuid.uuid4().hex[:12]}"
    (root / name).mkdir()
    inside = str(root / name) if how == "cgroup" else ""
    command = [sys.executable, "-c", SERVER, inside]
    try:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stdin is not None
            port = int(process.stdout.readline())
            words = {
                "pid": ["--pid", str(process.pid)],
                "port": ["--port", str(port)],
                "cgroup": ["--cgroup", name],
                "netns": ["--netns", f"/proc/{process.pid}/ns/net"],
                "all": ["--all"],
            }[how]
            without = ["--no-kernel"] if eyes == "tables" else []
            tracing = synfin.start("record", *words, *without, "-w", "it.pcapng")
            file = synfin.folder / "it.pcapng"
            wait_for(lambda: file.exists() and b"ESTABLISHED" in file.read_bytes(), "the sockets that are there")
            process.stdin.write("go\n")
            process.stdin.flush()
            wait_for(lambda: b"CLOSE_WAIT" in file.read_bytes(), "the close")
            process.stdin.close()
            process.wait(10)
            if how != "pid":  # that one ends with its process
                os.kill(tracing.pid, 2)
            assert synfin.end(tracing).code == (0 if how == "pid" else 130)
    finally:
        wait_for(lambda: not (root / name / "cgroup.procs").read_text(), "an empty cgroup")
        (root / name).rmdir()
    events = [event for event in load(file).events() if "sport" in event]
    mine = [event for event in events if port in (event["sport"], event["dport"])]
    assert {State.LISTEN, State.ESTABLISHED} <= {event["new"] for event in mine if event.name == "socket:state"}
    assert process.pid in {event.pid for event in mine}
    if how in ("pid", "port", "cgroup"):
        assert mine == events


@pytest.mark.needs("unshare", "ip")
def test_root_of_a_user_namespace(nobody: Synfin) -> None:
    """No probes there, but the network is his own: packets are captured and states follow from them."""
    try:
        tried = subprocess.run(["unshare", "-rn", "true"], capture_output=True, timeout=10, check=False)
    except OSError:
        tried = None
    if tried is None or tried.returncode:
        pytest.skip("needs test: no user namespaces for users here")
    inside = ("unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
    ran = nobody("trace", "--json", "--", "python3", "-c", CHILD, before=inside)
    assert ran.code == 7, ran.err
    assert "without kernel: kernel probes need CAP_BPF and CAP_PERFMON of the machine itself" in ran.err
    assert states(ran.events, "inferred") >= {"SYN_SENT", "FIN_WAIT2", "LAST_ACK"}
    assert {event["evidence"] for event in ran.events} == {"captured", "inferred", "sampled"}


def test_a_recording_made_without_rights_says_so(nobody: Synfin) -> None:
    ran = nobody("record", "-w", "it.pcapng", "--", "python3", "-c", CHILD)
    assert ran.code == 7 and "got hello" in ran.out
    again = nobody("replay", "it.pcapng", "--json")
    assert {json.loads(line)["evidence"] for line in again.out.splitlines()} == {"sampled"}
    assert os.stat(nobody.folder / "it.pcapng").st_size > 1000  # noqa: PTH116
    assert Path(nobody.folder / "it.pcapng").read_bytes().count(b"CAP_BPF") >= 1  # in its section header
