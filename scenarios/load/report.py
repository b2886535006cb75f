"""What is told of a load: how it stands while it runs, and what came of it. Plain data, for tables and screens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from scenarios.load.plan import Outcome, Plan


class LoadFailed(RuntimeError):
    """The load could not be brought about; str() says why."""


@dataclass
class Usage:
    """Used so far, or now; bytes and seconds."""

    cpu: float = 0.0
    memory: int = 0
    own: int = 0
    """The anonymous part of it: heaps and stacks, no libraries."""
    reserved: int = 0
    """Address space, whether touched or not."""
    threads: int = 0
    files: int = 0
    wakeups: int = 0
    preemptions: int = 0
    tcp_memory: int = 0
    """Of the whole machine: /proc/net/sockstat."""
    kernel_stacks: int = 0
    """Of the whole machine: /proc/meminfo."""

    def since(self, before: Usage) -> Usage:
        """Differences of what adds up; what is there now stays as it is."""
        grown = {name: getattr(self, name) - getattr(before, name) for name in ("cpu", "wakeups", "preemptions")}
        return Usage(**{**self.__dict__, **grown})


@dataclass(frozen=True)
class Moment:
    """How a load stands."""

    model: str
    act: str
    """connect, talk or close."""
    seconds: float
    """Since it began."""
    counted: dict[str, int]
    """The server's own counters."""
    accept_queue: int
    used: Usage


@dataclass
class Report:
    """What came of a load against one model."""

    model: str
    plan: Plan
    outcome: Outcome
    used: Usage
    """Over the second act; memory, threads and files at its end."""
    base: Usage
    """Of the server when nobody was connected."""
    counted: dict[str, int]
    accept_queue: int
    """The longest seen."""
    syscalls: int | None
    """Of the server in the second act; None: not counted."""
    skmem: float | None
    """Kernel memory taken by the buffers of one of the server's sockets at the end of the second act, bytes; None: not
    to be had."""
    processes: int = 1
    """Of the server, those that share the port."""
    client_files: int = 0
    """Descriptors of all client processes at the end of the second act."""
    notes: list[str] = field(default_factory=list)
    said: str = ""
    """What the server said when it ended."""

    def figures(self) -> dict[str, Any]:
        """The report as one flat row; seconds, bytes and counts."""
        outcome, used = self.outcome, self.used
        held, messages = outcome.held, outcome.messages
        row: dict[str, Any] = {
            "model": self.model,
            "connections": outcome.connected,
            "held": None if self.plan.per_request else held,
            "errors": dict(outcome.errors),
            "connect_rate": outcome.connected / outcome.connect_seconds if outcome.connect_seconds else None,
            "messages": messages,
            "messages_rate": messages / outcome.seconds if outcome.seconds else None,
        }
        for name, histogram in (("connect", outcome.connect), ("round_trip", outcome.round_trip)):
            for percent in (50, 90, 99, 99.9):
                row[f"{name}_p{percent:g}"] = histogram.percentile(percent) if histogram.count else None
        return row | {
            "cpu": used.cpu,
            "cpu_per_message": used.cpu / messages if messages else None,
            "memory": used.memory,
            "memory_per_connection": (used.own - self.base.own) / held if held else None,
            "reserved_per_connection": (used.reserved - self.base.reserved) / held if held else None,
            "kernel_stack_per_connection": (used.kernel_stacks - self.base.kernel_stacks) / held if held else None,
            "tcp_memory": used.tcp_memory,
            "skmem": self.skmem,
            "threads": used.threads,
            "tasks": self.counted["tasks"],
            "files": used.files,
            "processes": self.processes,
            "client_files": self.client_files,
            "files_per_connection": (used.files - self.base.files) / held if held else None,
            "wakeups": used.wakeups,
            "wakeups_per_message": used.wakeups / messages if messages else None,
            "preemptions": used.preemptions,
            "syscalls_per_message": self.syscalls / messages if self.syscalls and messages else None,
            "accept_queue_max": self.accept_queue,
            "turned_away": self.counted["turned_away"],
            "server": {name: self.counted[name] for name in ("turned_away", "emfile", "timeouts", "errors")},
            "notes": self.notes,
        }
