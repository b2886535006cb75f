"""Each named comparison, run as a user runs it, shows what it is for: by counts; by cost only where it is manifold."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scenarios.load.experiments import EXPERIMENTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).resolve().parents[3]
Figures = dict[str, dict[str, Any]]


def experiment(name: str) -> Figures:
    """Label of the case -> figures."""
    command = [sys.executable, "-m", "tui.cli", "load", "--experiment", name, "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["case"] for row in rows] == [case.label for case in EXPERIMENTS[name].cases]
    return {row["case"]: row for row in rows}


def all_held(found: Figures) -> None:
    for row in found.values():
        assert (row["held"], row["errors"]) == (row["plan"]["connections"], {}), row["case"]


def test_tasks() -> None:
    found = experiment("tasks")
    all_held(found)
    assert {name: (row["threads"], row["tasks"]) for name, row in found.items()} == {
        "threads": (2001, 2000), "netpoller": (1, 2000), "netpoller-two": (1, 4000), "asyncio": (1, 2000),
        "epoll-level": (1, 0),
    }  # fmt: skip
    memory = {name: row["memory_per_connection"] for name, row in found.items()}
    assert memory["epoll-level"] < memory["netpoller"] < memory["netpoller-two"] < memory["threads"]


def test_dispatcher() -> None:
    found = experiment("dispatcher")
    all_held(found)
    for row in found.values():
        each = row["plan"]["connections"] if row["model"] == "netpoller" else 8 * row["processes"]
        assert row["tasks"] == each, row["case"]
    assert found["dispatcher 1k"]["threads"] == found["dispatcher 10k"]["threads"] == 9
    assert found["dispatcher 60k"]["memory"] < found["netpoller 60k"]["memory"]


def test_buffers() -> None:
    calls = [row["syscalls_per_message"] for row in experiment("buffers").values()]
    if None in calls:
        pytest.skip("needs test: system calls are not counted here (no rights)")
    assert calls == sorted(calls, reverse=True) and calls[0] > 512 and calls[-1] < 10


def test_reuse() -> None:
    found = experiment("reuse")
    pool, single = found["pool"], found["per request"]
    assert pool["connections"] == 20 and single["connections"] >= single["messages"] > 0
    assert pool["cpu_per_message"] < single["cpu_per_message"]


def test_deadlines() -> None:
    found = experiment("deadlines")
    without, limited = found["none"], found["0.5 s"]
    assert without["messages"] == 0 and without["errors"]["not answered"] > 0
    assert limited["messages"] > 500 and limited["server"]["timeouts"] >= 8 and "not answered" not in limited["errors"]


def test_readiness() -> None:
    found = experiment("readiness")
    all_held(found)
    cost = {label: row["cpu_per_message"] for label, row in found.items()}
    assert cost["select 1,000"] > 2 * cost["select 10"] and cost["poll 10,000"] > 10 * cost["poll 10"]
    assert cost["poll 10,000"] > 10 * cost["epoll-level 10,000"]


def test_notices() -> None:
    found = experiment("notices")
    all_held(found)
    calls = {label: row["syscalls_per_message"] for label, row in found.items()}
    if None in calls.values():
        pytest.skip("needs test: system calls are not counted here (no rights)")
    # A small message: who is told by edges must read until EAGAIN, a call more. A large one: one notice for all of it.
    assert calls["epoll-level 64 B"] < calls["epoll-edge 64 B"]
    assert calls["epoll-edge 65536 B"] < calls["epoll-level 65536 B"]
