"""Witnesses that know nothing of us: the classic tracepoint through tracefs, ss in the namespace, and /proc.

tracefs is mounted in a mount namespace of the witness's own and read through a trace instance of its own: nothing
changes for the machine, and nobody's tracing is disturbed. `ss` is asked inside the play's network while the play is
held between two steps.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.conftest import Performance, the
from tracer.kernel.attach import Mode
from tracer.kinds import KNOWN_SEQUENCE, Side
from tracer.resources import FD, ITEM, RECEIVE, SEND, SOCKET, WAIT, Resource, resources
from tracer.segments import SYN
from tracer.states import State
from tracer.words import unacked, unread
from tracer.world import World

pytestmark = pytest.mark.kernel

WITNESS: Final = """
set -e
mount -t tracefs nodev /sys/kernel/tracing
cd /sys/kernel/tracing
mkdir instances/$1
trap "echo 0 >instances/$1/tracing_on; rmdir instances/$1" EXIT
cd instances/$1
echo mono >trace_clock
echo 16384 >buffer_size_kb
echo 'protocol == 6' >events/sock/inet_sock_set_state/filter
echo 1 >events/sock/inet_sock_set_state/enable
echo ready
read wait
echo 0 >tracing_on
cat trace
cd ../..
"""
LINE: Final = re.compile(
    r"-(?P<pid>\d+) +\[\d+\] \S+ +(?P<time>[\d.]+): inet_sock_set_state: .* sport=(?P<sport>\d+) dport=(?P<dport>\d+) "
    r".*oldstate=TCP_(?P<old>\w+) newstate=TCP_(?P<new>\w+)"
)


@dataclass
class Step:
    """One line of the classic tracepoint."""

    pid: int
    time: float
    """s, CLOCK_MONOTONIC."""
    sport: int
    dport: int
    old: str
    new: str


class Witness:
    """The classic tracepoint, read through tracefs from when this is made to `tell`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", WITNESS, "sh", f"synfin-test-{os.getpid()}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            _, complaint = self._process.communicate(timeout=20)
            pytest.skip(f"needs test: no tracefs to compare with: {complaint.strip()}")

    def tell(self) -> list[Step]:
        """All that it saw, in order; it ends with this."""
        out, complaint = self._process.communicate("\n", timeout=20)
        assert self._process.returncode == 0, complaint
        found = []
        for line in map(LINE.search, out.splitlines()):
            if line:
                numbers = int(line["pid"]), float(line["time"]), int(line["sport"]), int(line["dport"])
                found.append(Step(*numbers, line["old"], line["new"]))
        return found

    def close(self) -> None:
        """End it without asking."""
        if self._process.poll() is None:
            self._process.communicate("\n", timeout=20)


@pytest.fixture
def witness() -> Iterator[Witness]:
    """Runs from before the play to its end."""
    one = Witness()
    yield one
    one.close()


@pytest.mark.needs("unshare", "mount")
@pytest.mark.parametrize("mode", list(Mode), ids=lambda mode: mode.value)
def test_the_classic_tracepoint_sees_the_same_transitions(
    mode: Mode, witness: Witness, perform: Callable[..., Performance]
) -> None:
    performance = perform(mode)
    timeline = performance.finish()
    port = the(timeline.events(), "packet:sent", flags=SYN)["sport"]
    theirs = [step for step in witness.tell() if belongs(step, port, performance)]
    ours = [event for event in timeline.events() if event.name == "socket:state"]
    assert [(State(event["old"]).name, State(event["new"]).name) for event in ours] == [
        (step.old, step.new) for step in theirs
    ]
    assert len(ours) == 12  # two of the listener, five of each end; the request sock and TIME_WAIT are no full sockets
    for event, step in zip(ours, theirs, strict=True):
        assert (event["sport"], event["dport"]) == (step.sport, step.dport)
        assert abs(event.probe_time / 1e9 - step.time) < 0.1  # one clock; between the two probes anything may cut in


def belongs(step: Step, port: int, performance: Performance) -> bool:
    """Whether a line is of this play: by the client's port, or by the process while there is no port yet."""
    if port in (step.sport, step.dport):
        return True
    return step.pid in performance.pids.values() and 8080 in (step.sport, step.dport)


# ss


@dataclass
class Row:
    """One socket as `ss -tano` lists it."""

    state: str
    receive: int
    """Recv-Q: unread bytes; of a listener, the accept queue."""
    send: int
    """Send-Q: unacknowledged bytes; of a listener, the limit of its queues."""
    timer: str
    users: frozenset[str] = field(default=frozenset(), compare=False)
    """Who has a descriptor of it: fd 5 of process 201."""
    memory: dict[str, int] = field(default_factory=dict, compare=False)
    """Bytes: r and rb of the receive buffer and its limit, w and tb of the send buffer."""


def ss(performance: Performance) -> dict[str, Row]:
    """All TCP sockets of the play's network by role: listener, client, server."""
    place = f"/proc/{performance.pids['server']}/ns/net"
    listed = subprocess.run(
        ["nsenter", f"--net={place}", "ss", "-HtanompO"], capture_output=True, text=True, timeout=20, check=True
    )
    rows = {}
    for line in listed.stdout.splitlines():
        state, receive, send, local, peer, *more = line.split()
        role = "listener" if peer.endswith(":*") else "server" if local.endswith(":8080") else "client"
        timer = next((word for word in more if word.startswith("timer:")), "")
        users = frozenset(f"fd {fd} of process {pid}" for pid, fd in re.findall(r"pid=(\d+),fd=(\d+)", line))
        memory = {name: int(value) for name, value in re.findall(r"[(,]([a-z]+)(\d+)", line.partition("skmem:")[2])}
        rows[role] = Row(state, int(receive), int(send), timer, users, memory)
    return rows


def here(performance: Performance) -> dict[tuple[str, str], list[Resource]]:
    """What the connection takes up at this moment by the lifecycle table, by role and kind."""
    found: dict[tuple[str, str], list[Resource]] = {}
    for row in resources(performance.timeline, 1):
        if row.freed < 0:
            found.setdefault((row.side.name.lower(), row.kind), []).append(row)
    return found


def watched(performance: Performance) -> set[str]:
    """What the server's epoll instances watch, in the table's words: fd 5 in epoll 4."""
    place = Path("/proc", str(performance.pids["server"]), "fdinfo")
    told = {each.name: each.read_text() for each in place.iterdir()}
    return {f"fd {fd} in epoll {epoll}" for epoll, text in told.items() for fd in re.findall(r"tfd: +(\d+)", text)}


def is_socket(descriptor: str) -> bool:
    """Whether `fd 3 of process 201` is an open socket, by /proc."""
    _, fd, _, _, pid = descriptor.split()
    place = Path("/proc", pid, "fd", fd)
    return place.is_symlink() and str(place.readlink()).startswith("socket:")


def agree_on_resources(performance: Performance) -> None:
    """The lifecycle table against ss and /proc, while nothing happens."""
    seen, table = ss(performance), here(performance)
    for role in ("client", "server"):
        row = seen.get(role)
        waits = row is not None and row.state == "TIME-WAIT"
        assert len(table.get((role, WAIT), [])) == waits, role
        descriptors = {one.name for one in table.get((role, FD), [])}
        if row is None or waits:  # ss lists no socket that is closed: it lives on as long as it has a descriptor
            assert len(table.get((role, SOCKET), [])) == len(descriptors), role
            assert all(is_socket(name) for name in descriptors), role
        else:
            assert len(table[role, SOCKET]) == 1, role
            assert descriptors == row.users, role
        if row is not None and not waits:
            for kind, used, limit in ((RECEIVE, "r", "rb"), (SEND, "w", "tb")):
                (buffer,) = table[role, kind]
                assert (buffer.bytes or 0) >= row.memory[used], (role, kind)
                assert buffer.limit in (row.memory[limit], 0), (role, kind)
    items = {one.name for one in table.get(("server", ITEM), [])}
    listener = {name for name in watched(performance) if name.split()[1] == "3"}
    assert items == watched(performance) - listener


def bytes_of(world: World, side: Side) -> tuple[int, int]:
    """Unread and unacknowledged bytes of one end, by our last sight of it."""
    end = world.end(1, side)
    assert end is not None and end.snapshot is not None and end.snapshot["known"] & KNOWN_SEQUENCE
    return unread(end.snapshot), unacked(end.snapshot)


def names(world: World) -> dict[str, str]:
    """The state of every socket that is there, by role, in the words of ss."""
    listeners = {"listener": "LISTEN"} if world.listeners else {}
    ends = {side.name.lower(): world.end(1, side) for side in (Side.CLIENT, Side.SERVER)}
    there = {role: end.state.name for role, end in ends.items() if end and end.state is not State.CLOSE}
    spelled = {"ESTABLISHED": "ESTAB"}
    return listeners | {role: spelled.get(name, name).replace("_WAIT", "-WAIT-") for role, name in there.items()}


def spell(state: str) -> str:
    """FIN-WAIT-2 and TIME-WAIT as our names are spelled above."""
    return state if state in ("LISTEN", "ESTAB") else re.sub(r"-WAIT-?", "-WAIT-", state)


@pytest.mark.needs("nsenter", "ss")
def test_ss_agrees_whenever_the_play_is_held(perform: Callable[..., Performance]) -> None:
    performance = perform(hold=True)
    world = performance.go_to(1)  # socket, bind, listen
    assert ss(performance) == {"listener": Row("LISTEN", 0, 8, "")}
    (listener,) = world.listeners.values()
    assert (listener.accept_queue, listener.syn_queue) == (0, 0)

    world = performance.go_to(3)  # connected, and not accepted
    quiet = Row("ESTAB", 0, 0, "")
    assert ss(performance) == {"listener": Row("LISTEN", 1, 8, ""), "client": quiet, "server": quiet}
    (listener,) = world.listeners.values()
    assert (listener.accept_queue, listener.limit) == (1, 8)
    assert names(world) == {"listener": "LISTEN", "client": "ESTAB", "server": "ESTAB"}
    agree_on_resources(performance)

    world = performance.go_to(4)  # accepted
    assert ss(performance)["listener"].receive == 0
    (listener,) = world.listeners.values()
    assert listener.accept_queue == 0
    agree_on_resources(performance)

    world = performance.go_to(5)  # "hello" has come and is not read
    seen = ss(performance)
    assert seen["server"] == Row("ESTAB", 5, 0, "")
    assert bytes_of(world, Side.SERVER) == (5, 0)
    agree_on_resources(performance)
    (buffer,) = here(performance)["server", RECEIVE]
    assert buffer.bytes == seen["server"].memory["r"] > 5, "all it ever held lies in it now, and more than the bytes"

    world = performance.go_to(6)  # read and echoed, and the echo read
    seen = ss(performance)
    assert (seen["server"].receive, seen["client"].receive) == (0, 0)
    assert bytes_of(world, Side.SERVER) == bytes_of(world, Side.CLIENT) == (0, 0)

    world = performance.go_to(8)  # half closed
    seen = ss(performance)
    assert (seen["client"].state, seen["server"].state) == ("FIN-WAIT-2", "CLOSE-WAIT")
    assert seen["server"].receive == 1  # ss counts the FIN that nobody has read
    assert bytes_of(world, Side.SERVER) == (0, 0)
    assert names(world) == {role: spell(row.state) for role, row in seen.items()}
    agree_on_resources(performance)

    world = performance.go_to(11)  # closed
    now = time.time_ns()
    seen = ss(performance)
    assert {role: row.state for role, row in seen.items()} == {"listener": "LISTEN", "client": "TIME-WAIT"}
    assert names(world) == {role: spell(row.state) for role, row in seen.items()}
    told = re.fullmatch(r"timer:\(timewait,(\d+)sec,\d+\)", seen["client"].timer)
    assert told, seen
    end = world.end(1, Side.CLIENT)
    assert end is not None
    assert abs((end.deadline - now) / 1e9 - int(told[1])) < 2
    assert 55 < int(told[1]) <= 60

    agree_on_resources(performance)

    performance.go_to(14)  # the client's process has gone
    assert ss(performance)["client"].state == "TIME-WAIT"
    agree_on_resources(performance)
