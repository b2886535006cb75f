"""What a server uses, read from outside: /proc of its processes, the kernel's TCP memory, its accept queue.

A wake-up is a voluntary context switch: a thread has slept, and runs again. Memory is PSS, which counts a page that
several workers share only once; where it may not be read, resident pages. What a connection takes is told from the
anonymous part of it: a page of a library counts less as soon as somebody else starts a Python, too.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pyroute2 import DiagSocket

from scenarios.load.report import Usage
from tracer.states import State
from tracer.tables import diag

CPUCLOCK_SCHED: Final = 2
"""linux/posix-timers.h: the clock of a whole process, as the scheduler counts it."""
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
KIB: Final = 1024
STATE: Final = 1
"""Where the state is in a struct inet_diag_msg."""
RMEM_ALLOC, FWD_ALLOC, WMEM_QUEUED = 0, 4, 5
"""linux/sock_diag.h: SK_MEMINFO_*."""


def usage(pids: Sequence[int]) -> Usage:
    """Of processes and their children."""
    found = Usage(tcp_memory=tcp_memory(), kernel_stacks=kernel_stacks())
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
    found.cpu += _processor_time(int(process.name))
    found.threads += int(stat[17])
    found.reserved += int(stat[20])
    found.files += sum(1 for _ in (process / "fd").iterdir())
    try:
        rollup = (process / "smaps_rollup").read_text()
        sizes = {words[0]: int(words[1]) * KIB for words in map(str.split, rollup.splitlines()[1:])}
        found.memory += sizes["Pss:"]
        found.own += sizes.get("Pss_Anon:", sizes["Pss:"])
    except OSError:
        found.memory += int(stat[21]) * PAGE
        found.own += int(stat[21]) * PAGE
    for task in (process / "task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                found.wakeups += int(line.split()[1])
            elif line.startswith("nonvoluntary_ctxt_switches"):
                found.preemptions += int(line.split()[1])


def _processor_time(pid: int) -> float:
    """Seconds that all threads of a process, ended ones too, were on a processor: to the nanosecond, not to the tick of
    /proc/PID/stat. The number of the clock is what clock_getcpuclockid(3) would give."""
    return time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)


def tcp_memory() -> int:
    """Bytes of the kernel's TCP buffers on this machine (tcp_prot.memory_allocated, of all its networks)."""
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            words = line.split()
            return int(words[words.index("mem") + 1]) * PAGE
    return 0


def kernel_stacks() -> int:
    """Bytes that the kernel's own stacks take, one for each thread of the machine."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next((int(line.split()[1]) * KIB for line in lines if line.startswith("KernelStack:")), 0)


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


def buffers(port: int) -> float | None:
    """Mean kernel memory of the established sockets at a local port, in bytes: receive queue, send queue, and what is
    reserved for them in advance (SK_MEMINFO). None where there is none."""
    number = port.to_bytes(2, "big")
    taken: list[int] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, diag.NETLINK_SOCK_DIAG) as netlink:
        for message in diag.dump(netlink):
            if message[diag.SPORT] == number and message[STATE] == State.ESTABLISHED:
                memory = struct.unpack_from("=9I", diag.attributes(message)[diag.INET_DIAG_SKMEMINFO])
                taken.append(sum(memory[place] for place in (RMEM_ALLOC, FWD_ALLOC, WMEM_QUEUED)))
    return sum(taken) / len(taken) if taken else None
