"""Every server model speaks the same protocol and behaves alike at its edges: real processes, real sockets."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scenarios.servers import service
from scenarios.servers.models import MODELS
from scenarios.servers.service import COUNTERS, Counters

PATIENCE = 10.0


class Server:
    """A model's process."""

    def __init__(self, folder: Path, model: str, *options: str, files: int = 0) -> None:
        self.counters = folder / "counters"
        self.counters.touch()

        def limit() -> None:
            if files:
                resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

        self.process = subprocess.Popen(
            [sys.executable, "-m", f"scenarios.servers.{MODELS[model].module}", "--counters", self.counters, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=limit,
        )
        assert self.process.stdout
        words = self.process.stdout.readline().split()
        assert words[:2] == ["listening", "on"], self.process.communicate()
        self.address = (words[2], int(words[4]))

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, PATIENCE)

    def count(self, name: str) -> int:
        return Counters.read(str(self.counters))[name]

    def counts(self, name: str, at_least: int) -> bool:
        over = time.monotonic() + PATIENCE
        while self.count(name) < at_least and time.monotonic() < over:
            time.sleep(0.01)
        return self.count(name) >= at_least

    def stop(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said


@pytest.fixture(params=list(MODELS))
def model(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    module = {"uvloop": "uvloop", "netpoller": "greenlet", "netpoller-two": "greenlet"}.get(name)
    if module:
        pytest.importorskip(module)
    return name


@contextlib.contextmanager
def serving(folder: Path, model: str, *options: str, files: int = 0) -> Iterator[Server]:
    server = Server(folder, model, *options, files=files)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.send_signal(signal.SIGTERM)
            try:
                server.process.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                server.process.kill()
                server.process.communicate()


def frame(payload: bytes) -> bytes:
    return struct.pack("!I", len(payload)) + payload


def receive(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length and (more := connection.recv(length - len(data))):
        data += more
    return data


def ended(connection: socket.socket) -> bool:
    """The other side has closed, in good order or not."""
    connection.settimeout(PATIENCE)
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_talks(model: str, tmp_path: Path) -> None:
    with serving(tmp_path, model) as server:
        with server.connect() as first, server.connect() as second:
            # in pieces, several at once, empty, binary that looks like framing, larger than any buffer
            first.sendall(frame(b"hello")[:3])
            second.sendall(frame(b"") + frame(frame(b"x")) + frame(b"bye\n"))
            assert receive(second, 21) == frame(b"") + frame(frame(b"x")) + frame(b"bye\n")
            first.sendall(frame(b"hello")[3:])
            assert receive(first, 9) == frame(b"hello")
            large = os.urandom(300_000)
            for _ in range(2):
                second.sendall(frame(large))
                assert receive(second, 300_004) == frame(large)
            # half-close: what was asked is answered, then the server closes too
            first.sendall(frame(b"last"))
            first.shutdown(socket.SHUT_WR)
            assert receive(first, 8) == frame(b"last")
            assert ended(first)
        assert server.counts("closed", 2)
        counted = Counters.read(str(server.counters))
        assert counted["accepted"] == 2 and counted["messages"] == 7 and counted["errors"] == 0
        assert counted["bytes"] == 5 + 0 + 5 + 4 + 600_000 + 4


def test_survives_bad_clients(model: str, tmp_path: Path) -> None:
    with serving(tmp_path, model) as server:
        with server.connect() as liar:
            liar.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert ended(liar)
        for _ in range(20):
            rude = server.connect()
            rude.sendall(frame(b"x")[:4])
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            rude.close()
        with server.connect() as cut:
            cut.sendall(frame(b"never whole")[:6])
            cut.shutdown(socket.SHUT_WR)
            assert ended(cut)
        with server.connect() as good:
            good.sendall(frame(b"still there?"))
            assert receive(good, 16) == frame(b"still there?")
        assert server.counts("errors", 1)
        assert server.counts("closed", 23)


def test_stops_under_load(model: str, tmp_path: Path) -> None:
    """SIGTERM: who was answered is told goodbye, who does not read is reset after the grace, and it says so."""
    with serving(tmp_path, model, "--grace", "0.3") as server:
        talking = [server.connect() for _ in range(5)]
        for connection in talking:
            connection.sendall(frame(b"x"))
            assert receive(connection, 5) == frame(b"x")
        deaf = server.connect()
        deaf.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                deaf.send(frame(bytes(65536)) * 4)
        time.sleep(0.2)
        code, said = server.stop()
        assert code == 0
        told = re.findall(r"stopped: (\d+) connections closed after their last answer, (\d+) reset", said)
        assert sum(int(number) for one in told for number in one) == 6, said
        assert all(ended(connection) for connection in talking)
        for connection in (*talking, deaf):
            connection.close()


def test_out_of_descriptors(model: str, tmp_path: Path) -> None:
    with serving(tmp_path, model, "--workers", "4", "--queue", "200", files=60) as server:
        crowd: list[socket.socket] = []
        for _ in range(260):
            with contextlib.suppress(ConnectionResetError):  # turned away before connect() has returned
                crowd.append(server.connect())
        if model != "uvloop":  # libuv turns clients away by itself and does not say so
            assert server.counts("emfile", 1)
        served = False
        for connection in crowd:
            connection.close()
        over = time.monotonic() + PATIENCE
        while not served and time.monotonic() < over:
            with contextlib.suppress(OSError), server.connect() as late:
                late.sendall(frame(b"room again"))
                served = receive(late, 14) == frame(b"room again")
        assert served, "it does not serve any more"


def test_deadline(model: str, tmp_path: Path) -> None:
    """A client that drips bytes is shown the door although it never falls silent; one that talks stays."""
    with serving(tmp_path, model, "--deadline", "0.4", "--workers", "4") as server:
        with server.connect() as slow, server.connect() as quick:
            over, alive = time.monotonic() + PATIENCE, True
            slow.sendall(frame(bytes(1000))[:4])
            while alive and time.monotonic() < over:
                quick.sendall(frame(b"tick"))
                assert receive(quick, 8) == frame(b"tick")
                time.sleep(0.05)
                try:
                    slow.sendall(b".")
                    slow.setblocking(False)
                    alive = slow.recv(1) != b""
                except BlockingIOError:
                    pass
                except ConnectionError:
                    alive = False
                finally:
                    slow.setblocking(True)
            assert not alive
        assert server.counts("timeouts", 1)


@pytest.mark.parametrize("model", ["threads", "epoll-level", "netpoller", "asyncio", "reuseport"])
def test_ipv6(model: str, tmp_path: Path) -> None:
    with serving(tmp_path, model, "--host", "::1") as server, server.connect() as client:
        client.sendall(frame(b"six"))
        assert receive(client, 7) == frame(b"six")


def test_pool_rejects(tmp_path: Path) -> None:
    options = ("--workers", "1", "--queue", "1", "--when-full", "reject")
    with serving(tmp_path, "pool", *options) as server:
        holder = server.connect()
        holder.sendall(frame(b"mine"))
        assert receive(holder, 8) == frame(b"mine")
        waiting = server.connect()
        assert server.counts("accepted", 2)
        with contextlib.suppress(ConnectionResetError):
            assert ended(server.connect()), "the queue is full: it must be turned away"
        waiting.sendall(frame(b"patience"))
        holder.close()
        assert receive(waiting, 12) == frame(b"patience")
        waiting.close()
        assert server.count("turned_away") == 1


def test_select_names_its_limit(tmp_path: Path) -> None:
    with serving(tmp_path, "select") as server:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
        crowd = []
        try:
            with contextlib.suppress(ConnectionResetError):  # turned away before connect() came back
                for _ in range(1100):
                    crowd.append(server.connect())
            assert server.counts("turned_away", 1)
            crowd[0].sendall(frame(b"still"))
            assert receive(crowd[0], 9) == frame(b"still")
        finally:
            for connection in crowd:
                connection.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_rows_of_processes_that_begin_together_are_all_there(tmp_path: Path) -> None:
    with serving(tmp_path, "reuseport", "--workers", "16") as server:
        assert server.count("tasks") == 16


def test_counters_are_rows_of_one_file(tmp_path: Path) -> None:
    path = tmp_path / "counters"
    path.touch()
    rows = [Counters(str(path), row) for row in range(3)]
    for place, row in enumerate(rows):
        row.add(messages=place + 1)
    assert Counters.read(str(path)) == {name: 6 if name == "messages" else 0 for name in COUNTERS}


def test_each_model_can_be_handed_to_a_student() -> None:
    for name, model in MODELS.items():
        text = (Path(service.__file__).parent / f"{model.module}.py").read_text()
        assert len(text.splitlines()) <= 150, name
        theory = [part.split(".", 1)[0] for part in text.split('"""')[1].strip().split("\n\n")[1:]]
        assert theory == ["How it works", "What it costs", "When to use it"], name
