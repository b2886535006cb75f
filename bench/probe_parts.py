"""Where the cost of the probes goes: the same work under variants of their programs, each with a part left out.

    python bench/probe_parts.py [ROUNDS [VARIANT ...]]    10 rounds of every variant

One process, on the last processor, does both ends of a connect, echo and close over and over, each time to another
loopback address, and takes the time of each by the clock. A run is 500 of them, and its number is their lower quartile:
what the machine does in between meets the upper half. The probes of a variant are put on for one run, with a run
without probes before and after it, and nothing reads the rings meanwhile (they are large enough), so what is measured
is what the programs cost where they run. Of the differences the median and quartiles over the rounds are printed; the
variants take turns in a new order each round.

This process does not switch with another, as the two of bench/overhead.py do, and no recorder reads beside it, so the
same probes cost a third less here: compare shares, and what leaving a part out saves.
"""

from __future__ import annotations

import os
import random
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Final

from tracer.kernel import image, source
from tracer.kernel.probes import Group
from tracer.kernel.program import program_text
from tracer.kernel.rings import RECORDING_BYTES
from tracer.kernel.source import Filter, KernelSource

CONNECTIONS: Final = 500
LIFECYCLE: Final = frozenset({Group.STATES, Group.TIMERS, Group.PACKETS})
ENTRY: Final = r"(int on_[\w#]+\(volatile u64 \*ctx\)[ \\]*\n\{)"


class Unchanged(Exception):
    """A variant leaves nothing out: the programs are written in another way by now."""


def work() -> None:
    """So many connections for each line of standard input; the lower quartile of their times in us is printed."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    done = 0
    with socket.create_server(("0.0.0.0", 0), backlog=8) as listener:
        port = listener.getsockname()[1]
        print("ready", flush=True)
        for line in sys.stdin:
            took = []
            for turn in range(done, done + int(line)):
                address = f"127.{1 + turn % 250}.{turn // 250 % 250}.1"
                began = time.perf_counter_ns()
                with socket.socket() as client:
                    client.connect((address, port))
                    server = listener.accept()[0]
                    for one, other in ((client, server), (server, client)):
                        one.send(b"some bytes, not many")
                        other.recv(1000)
                server.recv(1000)
                server.close()
                took.append(time.perf_counter_ns() - began)
            done += int(line)
            print(statistics.quantiles(took, n=4)[0] / 1e3, flush=True)


def without(*parts: tuple[str, str]) -> Callable[[str], str]:
    """Of a program text, with each regular expression replaced. Raises `Unchanged`."""

    def change(text: str) -> str:
        for part, instead in parts:
            text, times = re.subn(part, instead, text)
            if not times:
                raise Unchanged(part)
        return text

    return change


def at_once(hook: str) -> tuple[str, str]:
    """The program at a hook returns when it has looked at one argument."""
    return ENTRY.replace(r"[\w#]+", hook), r"\1 if (!ctx[0]) return 0; return 1;"


RECORDS: Final = r"(static __always_inline void \*\w+_record\(void\)) \{.*\}"
VARIANTS: Final[dict[str, tuple[str, frozenset[Group], Callable[[str], str]]]] = {
    "states": ("states alone", frozenset({Group.STATES}), str),
    "lifecycle": ("states, timers, packets", LIFECYCLE, str),
    "all": ("all groups", frozenset(Group), str),
    "hooks": ("lifecycle, every program returns at once", LIFECYCLE, without(at_once(r"[\w#]+"))),
    "records": ("lifecycle, nothing is recorded", LIFECYCLE, without((RECORDS, r"\1 { return NULL; }"))),
    "clock": ("lifecycle, no time is taken", LIFECYCLE, without((r"h->time = bpf_ktime_get_ns\(\)", "h->time = 1"))),
    "lru": (
        "lifecycle, tuples in a plain hash", LIFECYCLE,
        without((r'BPF_TABLE\("lru_hash", u64, u32, pairs, (\d+)\)', r"BPF_HASH(pairs, u64, u32, \1)")),
    ),
    "learning": ("lifecycle, tuples not kept", LIFECYCLE, without((r"pairs\.update\(&key, &end\);", ";"))),
    "received": ("lifecycle, arriving packets passed over", LIFECYCLE, without(at_once("netif_receive_skb"))),
}  # fmt: skip


class Worker:
    """The process that works."""

    def __init__(self) -> None:
        command = [sys.executable, __file__, "work"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.process.stdout.readline()

    def run(self, connections: int = CONNECTIONS) -> float:
        """Us a connection."""
        assert self.process.stdin and self.process.stdout
        print(connections, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())

    def end(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


def under(worker: Worker, variant: str) -> tuple[float, float]:
    """Us a connection without probes, and how many more with those of a variant."""
    _, groups, change = VARIANTS[variant]
    source.program_text = lambda *how, **more: change(program_text(*how, **more))
    before = worker.run()
    probes = KernelSource(groups, ring_bytes=dict(RECORDING_BYTES))
    probes.start(Filter(processes=frozenset({worker.process.pid})))
    worker.run(100)
    with_probes = worker.run()
    lost = probes.losses().lost
    probes.stop()
    worker.run(100)
    if lost and variant != "records":
        raise SystemExit(f"{variant}: {lost} events were lost")
    without_probes = (before + worker.run()) / 2
    return without_probes, with_probes - without_probes


def main() -> None:
    """The table."""
    if sys.argv[1:] == ["work"]:
        work()
        return
    image._KEPT = 2 * len(VARIANTS)  # each is compiled once
    rounds, names = int((sys.argv[1:2] or ["10"])[0]), sys.argv[2:] or list(VARIANTS)
    worker = Worker()
    bare: list[float] = []
    more: dict[str, list[float]] = {name: [] for name in names}
    try:
        for _ in range(20):
            worker.run()
        for _ in range(rounds):
            for name in random.sample(names, len(names)):
                off, cost = under(worker, name)
                bare.append(off)
                more[name].append(cost)
    finally:
        worker.end()
    load = os.getloadavg()[0]
    print(f"{statistics.median(bare):.1f} us without probes; {rounds} rounds, load of the machine {load:.1f}.\n")
    print("| | | more us a connection | quartiles |\n|---|---|---|---|")
    for name, costs in more.items():
        low, middle, high = statistics.quantiles(costs, n=4, method="inclusive")
        print(f"| {name} | {VARIANTS[name][0]} | {middle:.1f} | {low:.1f} to {high:.1f} |")


if __name__ == "__main__":
    main()
