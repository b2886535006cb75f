"""Programs that nobody here wrote, traced live: what we tell of them is what the classic tracepoint saw, socket by
socket, and nothing in it contradicts the rules of TCP."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Synfin, load, wait_for, world_after
from tests.e2e.test_witnesses import Witness
from tracer.kinds import Evidence, Side
from tracer.states import State
from tracer.timeline import Timeline
from tracer.world import World

pytestmark = [pytest.mark.kernel, pytest.mark.needs("unshare", "mount")]

Serve = Callable[..., int]
Walks = dict[tuple[int, int], list[tuple[str, str]]]
"""Steps of each pair of ports, in order."""


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts a server, with PORT in its words replaced by a free port; waits until it listens; gives the port."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*words: str) -> int:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = int(free.getsockname()[1])
        command = [word.replace("PORT", str(port)) for word in words]
        running.append(subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        wait_for(lambda: listens(port), f"{words[0]} to listen")
        return port

    yield start
    for process in running:
        process.terminate()
        process.wait(timeout=10)


def listens(port: int) -> bool:
    """Whether somebody listens on 127.0.0.1 (or everywhere) there; asked of the table, so that nobody is disturbed."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    ends = [(line.split()[1].split(":"), line.split()[3]) for line in lines]
    return any(int(end[1], 16) == port and state == "0A" for end, state in ends)


def watched(synfin: Synfin, port: int, *command: str) -> tuple[Timeline, World, str]:
    """Record everything on the port while the command runs, beside the witness; compare the two."""
    witness = Witness()
    try:
        ran = synfin("record", "--port", str(port), "-w", "it.pcapng", "--", *command)
        steps = [step for step in witness.tell() if port in (step.sport, step.dport)]
    finally:
        witness.close()
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
    return timeline, world, ran.out


def path(world: World, conn: int, side: Side) -> list[str]:
    """Every state of one end."""
    end = world.end(conn, side)
    assert end is not None and end.evidence is Evidence.OBSERVED
    return [state.name for _, state in end.path]


CLIENT_CLOSES_FIRST = ["CLOSE", "SYN_SENT", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT"]


@pytest.mark.needs("curl")
def test_curl_and_pythons_http_server(synfin: Synfin, serve: Serve, tmp_path: Path) -> None:
    """HTTP/1.0: either may close first, the server when it has answered, curl when it has the whole answer."""
    (tmp_path / "page").write_text("hello\n")
    port = serve(sys.executable, "-m", "http.server", "PORT", "--bind", "127.0.0.1")
    timeline, world, out = watched(synfin, port, "curl", "-s", f"http://127.0.0.1:{port}/page")
    assert out == "hello\n"
    assert len(world.connections) == 1
    client, server = path(world, 1, Side.CLIENT), path(world, 1, Side.SERVER)
    assert client[:3] == CLIENT_CLOSES_FIRST[:3] and server[:3] == ["NEW_SYN_RECV", "SYN_RECV", "ESTABLISHED"]
    assert {client[-1], server[-1]} in ({"CLOSE", "TIME_WAIT"}, {"TIME_WAIT"})  # both, where they close at once
    (listener,) = (view for view in world.listeners.values() if view.local[1] == port)
    assert (listener.accept_queue, listener.most, listener.overflows) == (0, 1, 0)
    calls = {event.call for event in timeline.events() if event.name == "syscall:enter"}
    assert calls >= {"connect", "accept4", "sendto", "recvfrom", "close"}  # of both programs, met by the port


NGINX = """
daemon off; pid nginx.pid; error_log stderr; worker_processes 2; user root;
events { worker_connections 64; }
http { access_log off; server { listen 127.0.0.1:PORT; location / { return 200 "hello\\n"; } } }
"""


@pytest.mark.needs("curl", "nginx")
def test_curl_and_nginx(synfin: Synfin, serve: Serve, tmp_path: Path) -> None:
    """HTTP/1.1: two requests on one connection, and the client closes it; a worker serves it, not the master."""
    start = f"printf '%s' '{NGINX}' >nginx.conf && exec nginx -p {tmp_path}/ -c nginx.conf"
    port = serve("sh", "-c", start)
    url = f"http://127.0.0.1:{port}/"
    timeline, world, out = watched(synfin, port, "curl", "-s", url, url)
    assert out == "hello\nhello\n"
    assert len(world.connections) == 1
    assert path(world, 1, Side.CLIENT) == CLIENT_CLOSES_FIRST
    assert path(world, 1, Side.SERVER)[-3:] == ["CLOSE_WAIT", "LAST_ACK", "CLOSE"]
    end = world.end(1, Side.SERVER)
    master = int((tmp_path / "nginx.pid").read_text())
    assert end is not None and end.pid not in (0, master)
    ready = [event for event in timeline.events() if event.name == "epoll:wait" and event.pid == end.pid]
    assert ready, "nginx's worker learns of its connection by epoll"


@pytest.mark.needs("redis-server", "redis-benchmark")
def test_redis_under_its_benchmark(synfin: Synfin, serve: Serve) -> None:
    port = serve("redis-server", "--port", "PORT", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
    timeline, world, out = watched(
        synfin, port, "redis-benchmark", "-p", str(port), "-c", "20", "-n", "500", "-t", "get", "-q"
    )
    assert re.search(r"GET: [\d.]+ requests per second", out)
    told = subprocess.run(
        ["redis-cli", "-p", str(port), "info", "stats"], capture_output=True, text=True, timeout=20, check=True
    ).stdout
    received = int(re.search(r"total_connections_received:(\d+)", told)[1])  # type: ignore[index]
    taken = [event for event in timeline.events() if event.name == "accept:taken" and event["child_fd"] >= 0]
    assert len(taken) == received - 1 == len(world.connections)  # but for redis-cli's own, just now
    ends = Counter(
        view.state.name for view in world.sockets.values() if view.conn and view.side in (Side.CLIENT, Side.SERVER)
    )
    assert set(ends) <= {"TIME_WAIT", "CLOSE"} and ends["TIME_WAIT"] >= 20  # whoever closes first waits
