"""The comparisons that the stories about servers make, as loads: a question, its cases, and the figures to look at.

A case differs from its neighbours in the one thing in question and in nothing else. `synfin load --experiment NAME`
runs them, and claims are decided by them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

from scenarios.load.plan import Plan

FULL: Final = math.inf
IDLE_ROWS: Final = ("held", "memory", "memory_per_connection", "threads", "tasks", "files")
TALK_ROWS: Final = (
    "messages_rate", "round_trip_p50", "round_trip_p99", "cpu_per_message", "syscalls_per_message",
    "wakeups_per_message",
)  # fmt: skip


class Case(NamedTuple):
    """One column."""

    label: str
    model: str
    plan: Plan
    options: tuple[str, ...] = ()
    """Of the server."""


class Experiment(NamedTuple):
    """One comparison."""

    question: str
    cases: tuple[Case, ...]
    rows: tuple[str, ...]


def _held(connections: int, messages: float = 200, duration: float = 2.0) -> Plan:
    return Plan(
        connections, rate=min(max(2000, connections / 3), 6000), messages=messages, duration=duration,
        clients=max(1, math.ceil(connections / 15_000)),
    )  # fmt: skip


def _tasks() -> Iterator[Case]:
    for model in ("threads", "netpoller", "netpoller-two", "asyncio", "epoll-level"):
        yield Case(model, model, _held(2000))


def _dispatcher() -> Iterator[Case]:
    for connections in (1000, 10_000, 60_000):
        for model in ("netpoller", "dispatcher"):
            yield Case(f"{model} {connections // 1000}k", model, _held(connections, 1000))


def _buffers() -> Iterator[Case]:
    for size in (128, 512, 2048, 8192, 32_768, 131_072):
        label = f"{size} B" if size < 1024 else f"{size // 1024} KiB"
        plan = Plan(connections=4, messages=FULL, size=65_536, duration=1.5)
        yield Case(label, "epoll-level", plan, ("--buffer", str(size)))


def _reuse() -> Iterator[Case]:
    yield Case("pool", "epoll-level", Plan(connections=20, messages=FULL, duration=2.0))
    yield Case("per request", "epoll-level", Plan(connections=20, messages=FULL, duration=2.0, per_request=True))


def _deadlines() -> Iterator[Case]:
    plan = Plan(connections=20, messages=200, duration=3.0, per_request=True, slow=8)
    options = ("--workers", "8", "--queue", "64")
    yield Case("none", "pool", plan, options)
    yield Case("0.5 s", "pool", plan, (*options, "--deadline", "0.5"))


def _readiness() -> Iterator[Case]:
    for model, most in (("select", 1000), ("poll", 10_000), ("epoll-level", 10_000)):
        for connections in (10, 100, 1000, 10_000):
            if connections <= most:
                yield Case(f"{model} {connections:,}", model, _held(connections, 200, 1.5))


def _notices() -> Iterator[Case]:
    for model in ("epoll-level", "epoll-edge"):
        for size in (64, 65_536):
            yield Case(
                f"{model} {size} B", model, Plan(connections=20, messages=500, size=size, duration=2.0),
                ("--buffer", "4096"),
            )  # fmt: skip


EXPERIMENTS: Final[dict[str, Experiment]] = {
    "tasks": Experiment(
        "What does a silent connection take: a thread, a task, two tasks, or only an entry in a table?",
        tuple(_tasks()), IDLE_ROWS,
    ),
    "dispatcher": Experiment(
        "A task for each connection against a loop that dispatches to a bounded pool, at 1,000, 10,000 and 60,000",
        tuple(_dispatcher()), (*IDLE_ROWS, *TALK_ROWS),
    ),
    "buffers": Experiment(
        "What does the size of the buffer that recv() is given cost, for messages of 64 KiB?",
        tuple(_buffers()), TALK_ROWS,
    ),
    "reuse": Experiment(
        "A pool of connections against a connection for each request",
        tuple(_reuse()), ("connections", *TALK_ROWS),
    ),
    "deadlines": Experiment(
        "Eight clients that drip a byte now and then, against a pool of eight threads, without and with a deadline",
        tuple(_deadlines()), ("messages", *TALK_ROWS[:3], "tasks", "accept_queue_max"),
    ),
    "readiness": Experiment(
        "What does a wake-up cost select, poll and epoll as idle connections grow?",
        tuple(_readiness()), ("held", "cpu_per_message", "syscalls_per_message", "round_trip_p50"),
    ),
    "notices": Experiment(
        "Level- against edge-triggered epoll: how often is one told, for small messages and for large ones?",
        tuple(_notices()), TALK_ROWS,
    ),
}  # fmt: skip
"""By name."""
