"""Programs that nobody here wrote, traced live: what we tell of them is what the classic tracepoint saw, step by step,
and what `ss` shows afterwards, socket by socket; nothing in it contradicts the rules of TCP."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.conftest import Synfin
from tests.e2e.programs.conftest import (
    CLIENT_CLOSES_FIRST,
    Serve,
    path,
    pids,
    plain_user,
    postgres_program,
    watched,
)
from tracer.kinds import Side
from tracer.states import State

pytestmark = [pytest.mark.kernel, pytest.mark.needs("unshare", "mount", "ss")]


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
http { client_body_temp_path t; proxy_temp_path t; fastcgi_temp_path t; uwsgi_temp_path t; scgi_temp_path t;
       access_log off; server { listen 127.0.0.1:PORT; location / { return 200 "hello\\n"; } } }
"""


@pytest.mark.needs("curl", "nginx")
def test_curl_and_nginx(synfin: Synfin, serve: Serve, tmp_path: Path) -> None:
    """HTTP/1.1: two requests on one connection, and the client closes it; a worker serves it, not the master."""
    start = f"printf '%s' '{NGINX}' >nginx.conf && exec nginx -e stderr -p {tmp_path}/ -c nginx.conf"
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


@pytest.mark.needs("iperf3")
def test_iperf3_moves_as_many_bytes_as_it_reports(synfin: Synfin, serve: Serve) -> None:
    """One connection for control and three for data, which each begin with a cookie of 37 bytes."""
    port = serve("iperf3", "-s", "-B", "127.0.0.1", "-p", "PORT")
    words = ("iperf3", "-c", "127.0.0.1", "-p", str(port), "-n", "3M", "-P", "3", "--json")
    timeline, world, out = watched(synfin, port, *words)
    told = json.loads(out)
    assert len(world.connections) == 4
    control, *streams = sorted(world.connections)
    sent = 0
    for conn in streams:
        steps = [
            event for event in timeline.events() if event.conn == conn and event.name.startswith("socket:")
            and event.side is Side.CLIENT
        ]  # fmt: skip
        begun = next(event for event in steps if event.name == "socket:state" and event["new"] == State.ESTABLISHED)
        ended = next(event for event in steps if event.name == "socket:state" and event["old"] == State.ESTABLISHED)
        sent += (ended["write_seq"] - begun["write_seq"]) % (1 << 32) - 37
    assert sent == told["end"]["sum_sent"]["bytes"]
    assert path(world, control, Side.CLIENT)[:3] == CLIENT_CLOSES_FIRST[:3]


@pytest.mark.needs("socat")
def test_a_server_that_forks(synfin: Synfin, serve: Serve) -> None:
    """socat accepts in one process and serves each connection in a child, which has it from its parent."""
    port = serve("socat", "TCP-LISTEN:PORT,bind=127.0.0.1,fork", "EXEC:cat")
    client = f"for i in 1 2 3; do echo hello $i | socat -t 5 - TCP:127.0.0.1:{port}; done"
    timeline, world, out = watched(synfin, port, "sh", "-c", client)
    assert out == "hello 1\nhello 2\nhello 3\n"
    assert len(world.connections) == 3
    accepting = {event.pid for event in timeline.events() if event.name == "accept:taken"}
    serving = pids(timeline, Side.SERVER, "read", "write", "recvfrom", "sendto", "shutdown")
    assert len(accepting) == 1 and len(serving) == 3 and not accepting & serving
    for conn in world.connections:
        assert path(world, conn, Side.CLIENT) == CLIENT_CLOSES_FIRST
        assert path(world, conn, Side.SERVER)[-3:] == ["CLOSE_WAIT", "LAST_ACK", "CLOSE"]


@pytest.mark.needs("curl")
def test_a_server_of_many_threads(synfin: Synfin, serve: Serve, tmp_path: Path) -> None:
    """http.server has a thread for each connection, all in one process; four downloads at a time ask it."""
    for name in "abcdefgh":
        (tmp_path / name).write_bytes(name.encode() * 300_000)
    port = serve(sys.executable, "-m", "http.server", "PORT", "--bind", "127.0.0.1")
    command = ("curl", "-s", "-Z", "--parallel-max", "4", f"http://127.0.0.1:{port}/[a-h]", "-o", "#1.got")
    timeline, world, _ = watched(synfin, port, *command)
    assert {(synfin.folder / f"{name}.got").read_bytes() for name in "abcdefgh"} == {
        name.encode() * 300_000 for name in "abcdefgh"
    }
    assert len(world.connections) == 8
    served = [
        (event.conn, event.tid)
        for event in timeline.events()
        if event.name == "syscall:enter" and event.side is Side.SERVER and event.call in ("sendto", "recvfrom")
    ]
    by_thread = Counter(tid for _, tid in set(served))
    assert len(pids(timeline, Side.SERVER, "sendto", "recvfrom")) == 1
    assert len(by_thread) == 8 and set(by_thread.values()) == {1}


def test_postgresql_under_pgbench(synfin: Synfin, serve: Serve) -> None:
    """A connection for each transaction, and for each connection a process of its own behind it."""
    initdb, postgres, pgbench = map(postgres_program, ("initdb", "postgres", "pgbench"))
    user = plain_user(postgres)
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        made = [*user, initdb, "-D", f"{name}/data", "-A", "trust", "-U", "me", "-N", "--no-instructions"]
        subprocess.run(made, check=True, capture_output=True, timeout=60, cwd=name)
        port = serve(
            *user, postgres, "-D", f"{name}/data", "-p", "PORT", "-h", "127.0.0.1", "-k", "", "-F",
            "-c", "autovacuum=off", "-c", "log_connections=on", "-c", "log_line_prefix=%p ",
            "-c", "logging_collector=on", "-c", f"log_directory={name}", "-c", "log_filename=log",
        )  # fmt: skip
        bench = (pgbench, "-h", "127.0.0.1", "-p", str(port), "-U", "me")
        subprocess.run([*bench, "-i", "-q", "postgres"], check=True, capture_output=True, timeout=60)
        before = (Path(name) / "log").read_text()
        timeline, world, out = watched(synfin, port, *bench, "-n", "-S", "-C", "-c", "4", "-t", "10", "postgres")
        done = re.search(r"transactions actually processed: (\d+)/40", out)
        assert done and int(done[1]) == 40
        log = (Path(name) / "log").read_text().removeprefix(before)
        logged = {
            (int(pid), int(peer))
            for pid, peer in re.findall(r"^(\d+) LOG:  connection received: host=127.0.0.1 port=(\d+)$", log, re.M)
        }
        assert len(logged) > 40
        # what preparing has left in TIME_WAIT is told too, as sampled: it has one end only
        ends = [world.end(conn, Side.SERVER) for conn in world.connections]
        assert {(end.pid, end.peer[1]) for end in ends if end} == logged
        backends = pids(timeline, Side.SERVER, "sendto", "recvfrom")
        assert len(backends) == len(logged)
        assert pids(timeline, Side.SERVER, "accept", "accept4").isdisjoint(backends)
