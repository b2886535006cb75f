"""What a server uses, read from outside: /proc of its processes, the kernel's TCP memory, its accept queue.

A wake-up is a voluntary context switch: a thread has slept, and runs again. Memory is PSS, which counts a page that
several workers share only once; where it may not be read, resident pages.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from pyroute2 import DiagSocket

from tracer.states import State

TICK: Final = os.sysconf("SC_CLK_TCK")
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
KIB: Final = 1024


@dataclass
class Usage:
    """Used so far, or now; bytes and seconds."""

    cpu: float = 0.0
    memory: int = 0
    threads: int = 0
    files: int = 0
    wakeups: int = 0
    preemptions: int = 0
    tcp_memory: int = 0
    """Of the whole network namespace: /proc/net/sockstat."""

    def since(self, before: Usage) -> Usage:
        """Differences of what adds up; what is there now stays as it is."""
        grown = {name: getattr(self, name) - getattr(before, name) for name in ("cpu", "wakeups", "preemptions")}
        return Usage(**{**{each.name: getattr(self, each.name) for each in fields(self)}, **grown})


def usage(pids: Sequence[int]) -> Usage:
    """Of processes and their children."""
    found = Usage(tcp_memory=tcp_memory())
    for each in [one for pid in pids for one in family(pid)]:
        with contextlib.suppress(OSError):  # ended in the meantime
            _add(found, Path(f"/proc/{each}"))
    return found


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for children in Path(f"/proc/{parent}/task").glob("*/children"):
                found += map(int, children.read_text().split())
    return found


def _add(found: Usage, process: Path) -> None:
    stat = (process / "stat").read_text().rsplit(")", 1)[1].split()
    found.cpu += (int(stat[11]) + int(stat[12])) / TICK
    found.threads += int(stat[17])
    found.files += sum(1 for _ in (process / "fd").iterdir())
    try:
        rollup = (process / "smaps_rollup").read_text()
        found.memory += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * KIB
    except OSError:
        found.memory += int(stat[21]) * PAGE
    for task in (process / "task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                found.wakeups += int(line.split()[1])
            elif line.startswith("nonvoluntary_ctxt_switches"):
                found.preemptions += int(line.split()[1])


def tcp_memory() -> int:
    """Bytes of the kernel's TCP buffers in this network namespace."""
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            words = line.split()
            return int(words[words.index("mem") + 1]) * PAGE
    return 0


class AcceptQueue:
    """The accept queues of a port's listeners."""

    def __init__(self, port: int) -> None:
        self._diag = DiagSocket()
        self._port = port
        self.most = 0
        """The longest seen so far."""

    def look(self) -> int:
        """Connections that wait now, over all listeners of the port."""
        waiting = 0
        for family in (socket.AF_INET, socket.AF_INET6):
            for row in self._diag.get_sock_stats(family=family, states=1 << State.LISTEN):
                if row["idiag_sport"] == self._port:
                    waiting += row["idiag_rqueue"]
        self.most = max(self.most, waiting)
        return waiting

    def close(self) -> None:
        """Let go."""
        self._diag.close()
