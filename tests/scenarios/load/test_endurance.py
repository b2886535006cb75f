"""What every model must bear, at full size: ten thousand connections for a minute, resets, slow clients, SIGTERM under
load, no descriptors left. Small versions of the same are in tests/scenarios/servers/test_models.py."""

from __future__ import annotations

import contextlib
import math
import re
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from scenarios.load.measure import family
from scenarios.load.plan import Outcome, Plan
from scenarios.load.report import Report
from scenarios.load.run import Clients, Server, clients_needed, run
from scenarios.servers.models import MODELS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

MANY = 10_000
POOL = ("--workers", "64", "--queue", str(MANY))
"""A pool serves as many connections as it has threads; the others wait in its queue."""


@pytest.fixture(params=list(MODELS))
def model(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if MODELS[name].package:
        pytest.importorskip(MODELS[name].package)
    return name


def load(model: str, plan: Plan) -> Report:
    return run(model, plan, POOL if model == "pool" else ())


@contextlib.contextmanager
def under_way(model: str, plan: Plan) -> Iterator[tuple[Server, Clients]]:
    with contextlib.ExitStack() as undo:
        server = Server(model, plan, POOL if model == "pool" else ())
        undo.callback(server.end)
        clients = Clients(plan, server.address)
        undo.callback(clients.end)
        yield server, clients


def test_ten_thousand_connections_for_a_minute(model: str) -> None:
    messages = 0 if model == "pool" else 100
    plan = Plan(MANY, rate=2500, messages=messages, duration=60.0)
    plan = Plan(MANY, plan.rate, messages, duration=60.0, clients=max(2, clients_needed(plan)))
    report = load(model, plan)
    if model == "select":  # FD_SETSIZE: its own limit, shown
        assert 900 < report.outcome.held < 1024
        assert report.counted["turned_away"] == MANY - report.outcome.held
        return
    assert (report.outcome.held, report.outcome.errors) == (MANY, {})
    assert report.outcome.messages >= 0.98 * 60 * messages
    assert report.counted["errors"] == 0


def test_a_thousand_resets(model: str) -> None:
    connections = 1_500 if model != "select" else 1_000
    resets = 1_000 if model != "select" else 900
    plan = Plan(connections, rate=3000, messages=0 if model == "pool" else 500, duration=3.0, resets=resets)
    report = load(model, plan)
    assert report.outcome.errors == {}
    assert report.outcome.held == connections - resets
    assert "closed after their last answer, 0 reset" in report.said or model in (
        "asyncio",
        "uvloop",
        "reuseport",
        "pool",
    )


def test_a_hundred_slow_clients(model: str) -> None:
    plan = Plan(200, messages=400, duration=3.0, slow=100)
    # Slow clients come last, so a pool is busy with the others already; one of its own for each talker.
    report = run(model, plan, ("--workers", "300", "--queue", "300") if model == "pool" else ())
    assert report.outcome.errors == {} and report.outcome.held == 200
    assert report.outcome.messages >= 0.95 * 3 * 400


def test_sigterm_under_load(model: str) -> None:
    plan = Plan(500, rate=3000, messages=math.inf if model != "pool" else 0, duration=3.0)
    with under_way(model, plan) as (server, clients):
        clients.act("connect", lambda: None)
        (process,) = server.processes
        threading.Timer(1.0, lambda: process.send_signal(signal.SIGTERM)).start()
        outcome: Outcome = clients.act("talk", lambda: None)
        process.wait(20)  # a second SIGTERM would find Python folding up
        said = server.end()
        assert process.returncode == 0, said
    told = [tuple(map(int, found)) for found in re.findall(r"stopped: (\d+) .*?, (\d+) reset", said)]
    assert told, said
    if model != "pool":  # whose clients are silent, and only notice at their next message
        assert outcome.messages > 500
        assert sum(outcome.errors.values()) == 500 and outcome.held == 0, outcome.errors
    assert sum(map(sum, told)) >= 500 or model == "pool"


def test_descriptor_limit_reached(model: str) -> None:
    plan = Plan(1_000, rate=2000, messages=0, duration=0.5)
    with under_way(model, plan) as (server, clients):
        everybody = [pid for process in server.processes for pid in family(process.pid)]
        for pid in everybody:  # workers have a limit each, and share the connections out
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (500 // len(everybody),) * 2)
        clients.act("connect", lambda: None)
        clients.act("talk", lambda: None)
        if model != "uvloop":  # libuv turns clients away by itself and does not say so
            assert server.counted()["emfile"] > 0
        clients.act("close", lambda: None)
        over = time.monotonic() + 30
        answer = b""
        while answer != b"\0\0\0\1x" and time.monotonic() < over:
            with contextlib.suppress(OSError), socket.create_connection(server.address, 2) as late:
                late.sendall(b"\0\0\0\1x")
                answer = late.recv(5)
        assert answer == b"\0\0\0\1x", "it does not serve any more"
        assert server.processes[0].poll() is None
