"""The netpoller under stress, and what it tells of itself: no wake-up is lost, and the table adds up."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

pytest.importorskip("greenlet")

from scenarios.servers.netpoller import READY, Connection, Netpoller, PollDesc
from scenarios.servers.telling import MARK, Told, heard

PATIENCE = 60.0


@contextlib.contextmanager
def descriptors(number: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < number:
        pytest.skip(f"needs test: {number} descriptors, a process may have {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, number), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def echo_rounds(connections: int, rounds: int) -> None:
    """Clients and server as tasks of one netpoller: both ends park and wake at every moment there is."""
    poller = Netpoller()
    door = socket.create_server(("127.0.0.1", 0), backlog=connections)
    dice = random.Random(7)
    finished, done = [0, 0], [0]

    def serve(client: Connection) -> None:
        while data := client.read(dice.choice((1, 3, 64))):
            client.write(data)
        client.release().close()
        finished[1] += 1

    def accept() -> None:
        listener = Connection(poller, door)
        for _ in range(connections):
            poller.go(serve, Connection(poller, listener.accept()))
        listener.release()

    def talk() -> None:
        raw = socket.socket()
        raw.setblocking(False)
        raw.connect_ex(door.getsockname())
        me = Connection(poller, raw)
        for number in range(rounds):
            said = number.to_bytes(3, "big")
            me.write(said)
            heard = b""
            while len(heard) < len(said):
                heard += me.read(dice.choice((1, 2, 64)))
            assert heard == said
            done[0] += 1
        raw.shutdown(socket.SHUT_WR)
        assert me.read() == b""
        me.release().close()
        finished[0] += 1

    poller.go(accept)
    for _ in range(connections):
        poller.go(talk)
    over, rounds_then = time.monotonic() + PATIENCE, 0

    def stuck() -> bool:
        """No round was ended for so long: a slow machine is not a lost wake-up."""
        nonlocal over, rounds_then
        if done[0] != rounds_then:
            over, rounds_then = time.monotonic() + PATIENCE, done[0]
        return time.monotonic() > over

    poller.run_until(stuck)
    parked = {fd: (row.rg, row.wg) for fd, row in poller.table.items() if row.rg not in (None, READY)}
    assert finished == [connections, connections], f"a wake-up was lost: {len(parked)} are parked still"
    assert not poller.table and not poller.run_queue and poller.tasks == 0
    door.close()


def test_no_wakeup_is_lost_in_a_hundred_thousand_rounds() -> None:
    with descriptors(2_200):
        echo_rounds(1_000, 100)


def test_an_edge_between_eagain_and_parking_is_not_lost() -> None:
    poller = Netpoller()
    ours, theirs = socket.socketpair()
    got: list[bytes] = []

    def reads() -> None:
        me = Connection(poller, ours)
        with pytest.raises(BlockingIOError):
            ours.recv(1)
        theirs.send(b"x")
        poller._poll(block=False)  # the edge comes now, and nobody is parked
        assert me.described.rg is READY
        got.append(me.read(1))
        theirs.send(b"y")
        poller.block(me.described, "r")  # READY is taken, or the edge is waited for: it must not sleep for ever
        got.append(me.read(1))
        me.release()

    poller.go(reads)
    poller.run()
    assert got == [b"x", b"y"]


def test_whoever_is_parked_is_woken_by_close_and_by_deadline() -> None:
    poller = Netpoller()
    ours, _theirs = socket.socketpair()
    told: list[str] = []

    def reads(me: Connection, when: float) -> None:
        try:
            me.read_by(when)
            me.read()
        except (TimeoutError, ConnectionAbortedError) as failure:
            told.append(type(failure).__name__)

    def closes(me: Connection) -> None:
        poller.close(me.described)

    connection = Connection(poller, ours)
    poller.go(reads, connection, time.monotonic() + 0.02)
    poller.run()
    poller.go(reads, connection, 0.0)
    poller.go(closes, connection)
    poller.run()
    assert told == ["TimeoutError", "ConnectionAbortedError"]


@contextlib.contextmanager
def server(model: str) -> Iterator[tuple[str, int]]:
    """A model that listens, and is asked to stop afterwards."""
    command = [sys.executable, "-m", f"scenarios.servers.{model}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        try:
            yield words[2], int(words[4])
        finally:
            process.send_signal(signal.SIGTERM)


def told_by(model: str, *options: str) -> list[Told]:
    """Lines of a server that has served one client and was asked to stop."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"scenarios.servers.{model}", "--report", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("listening"):
            break
    words = lines[-1].split()
    with socket.create_connection((words[2], int(words[4])), PATIENCE) as client:
        client.sendall(b"\0\0\0\2hi")
        assert client.recv(6) == b"\0\0\0\2hi"
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    with process:  # no communicate(): it does not know what has been read ahead
        lines += process.stdout.readlines()
        complaints = process.stderr.read()
    assert process.returncode == 0, complaints
    return [heard(line) for line in lines if line.startswith(MARK)]


@pytest.mark.parametrize("model", ["netpoll_one", "netpoll_two", "asyncio_streams", "uvloop_streams"])
def test_what_a_server_tells_of_its_tasks_adds_up(model: str) -> None:
    if model == "uvloop_streams":
        pytest.importorskip("uvloop")
    events = told_by(model)
    states, places = add_up(events)
    assert list(states.values()).count("over") >= (2 if model == "netpoll_two" else 1)
    waited = [event.fd for event in events if event.kind == "task:state" and event.fields["new"] == "waiting"]
    assert any(fd > 2 for fd in waited), "the task that serves waits for its descriptor"
    if model != "uvloop_streams":
        assert len(places) >= 2, "the listener's and the client's"


def add_up(events: list[Told]) -> tuple[dict[int, str], dict[int, list[str]]]:
    """Each change begins where the one before it ended; the last state of each task, and of each descriptor."""
    assert [event.time for event in events] == sorted(event.time for event in events)
    states: dict[int, str] = {}
    for event in (event for event in events if event.kind == "task:state"):
        fields = event.fields
        assert fields["old"] == states.get(fields["task"], ""), fields
        states[fields["task"]] = fields["new"]
    places: dict[int, list[str]] = {}
    for event in (event for event in events if event.kind == "polldesc:change"):
        fields = event.fields
        assert [fields["rg_was"], fields["wg_was"]] == places.get(event.fd, ["nil", "nil"])
        places[event.fd] = [fields["rg"], fields["wg"]]
        if fields["why"] == "close":
            places[event.fd] = ["nil", "nil"]
    return states, places


def test_both_ends_on_a_netpoller_and_half_closed() -> None:
    with server("netpoll_one") as address:
        client = [sys.executable, "-m", "scenarios.servers.netpoll_client", *map(str, address)]
        done = subprocess.run(
            [*client, "--tasks", "20", "--words", "5", "--report"],
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
    *lines, last = done.stdout.splitlines()
    assert (done.returncode, last) == (0, "20 of 20 conversations echoed word by word"), done.stderr
    events = [heard(line) for line in lines]
    states, places = add_up(events)
    assert set(states.values()) == {"over"} and len(states) == 20 == len(places)
    assert set(map(tuple, places.values())) == {("nil", "nil")}
    for task in states:
        waits = [event.fields["why"] for event in events if (event.kind, event.fields["task"]) == ("task:state", task)]
        waits = [why for why in waits if why.startswith("IO wait")]
        assert waits[0] == "IO wait, to write", "who connects waits to write"
        assert set(waits[1:]) <= {"IO wait, to read"}  # none where the answer is there before the client looks


def test_dialling_where_nobody_listens_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        address = door.getsockname()
    poller = Netpoller()
    told: list[type[BaseException]] = []

    def dials() -> None:
        try:
            Connection.dial(poller, address)
        except OSError as failure:
            told.append(type(failure))

    poller.go(dials)
    poller.run()
    assert told == [ConnectionRefusedError] and not poller.table
    client = [sys.executable, "-m", "scenarios.servers.netpoll_client", *map(str, address)]
    done = subprocess.run(client, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (1, f"127.0.0.1 port {address[1]}: Connection refused\n")


def test_lines_that_are_no_events_are_refused() -> None:
    for line in ("event", "event [1]", 'event [1, "socket:state", 1, 1, {}]', 'event [1, "task:state", 1, 1, []]'):
        with pytest.raises((ValueError, TypeError, KeyError)):
            heard(line)


def test_the_table_says_who_waits_for_what(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scenarios.servers.netpoller.IDLE", 0.001)
    poller = Netpoller()
    reading, writing = os.pipe()
    row = poller.open(reading)
    changes: list[tuple[str, object]] = []
    poller.observer = lambda what, *about: changes.append((about[-1], about[0].rg)) if what == "table" else None

    def waits(described: PollDesc) -> None:
        poller.block(described, "r")

    task = poller.go(waits, row)
    poller.turn()
    assert row.rg is task
    os.write(writing, b".")
    poller.run()
    assert [why for why, _ in changes] == ["park", "readable"] and changes[-1][1] is None
    os.close(reading)
    os.close(writing)
