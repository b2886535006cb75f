"""What the probes cost, and where it goes: the same work under variants of their programs, most with a part left out.

    python bench/probe_parts.py [ROUNDS [VARIANT ...]] [--stats]   40 rounds of every variant

A client and a server, both on the last processor, connect, echo and close over and over, each time to another loopback
address, as in bench/overhead.py; the client takes the time of each by the clock, and of a slice of 600 the third decile
counts: what the machine does in between meets the upper part. All variants are loaded at the beginning and hung on
their hooks for one slice at a time, with a slice without probes before and after it; they take turns in a new order
each round. So a difference is between slices a tenth of a second apart, and what changes slowly on a shared machine (by
a third, some hours) meets both sides: with 40 rounds a median is good to 2 us of 200, which bench/overhead.py, whose
tools need seconds to start, does not come near. Rings are drained between slices, by this process on another
processor; "recorded" drains and writes all the while, as `synfin record` does.

With `--stats` the kernel takes the time of each program's runs, too (bpf_stats); that costs some 60 ns a run.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from tracer.kernel import image, source
from tracer.kernel.attach import bpf
from tracer.kernel.probes import Group
from tracer.kernel.program import program_text
from tracer.kernel.rings import RECORDING_BYTES
from tracer.kernel.source import Filter, KernelSource
from tracer.recording.writer import Recorder
from tracer.session import RECORDING_PERIOD

CONNECTIONS: Final = 600
SETTLING: Final = 30
"""Connections after probes have been hung on or taken off: the kernel has rewritten its own text for that."""
LIFECYCLE: Final = frozenset({Group.STATES, Group.TIMERS, Group.PACKETS})
ENTRY: Final = r"(int on_[\w#]+\(volatile u64 \*ctx\)[ \\]*\n\{)"
_OPEN: Final = 17
"""BPF_RAW_TRACEPOINT_OPEN."""


class Unchanged(Exception):
    """A variant leaves nothing out: the programs are written in another way by now."""


def serve() -> None:
    """Answer one message per turn, one connection after the other."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with socket.create_server(("0.0.0.0", 0), backlog=64) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            server, _ = listener.accept()
            with server:
                while data := server.recv(1000):
                    server.send(data)


def client(port: int) -> None:
    """So many connections for each line of standard input; the third decile of their times in us is printed."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    turn = 0
    for line in sys.stdin:
        took = []
        for _ in range(int(line)):
            turn += 1
            address = f"127.{1 + turn % 250}.{turn // 250 % 250}.1"
            began = time.perf_counter_ns()
            with socket.create_connection((address, port)) as peer:
                peer.send(b"some bytes, not many")
                peer.recv(1000)
            took.append(time.perf_counter_ns() - began)
        print(statistics.quantiles(took, n=10)[2] / 1e3, flush=True)


def without(*parts: tuple[str, str]) -> Callable[[str], str]:
    """Of a program text, with each regular expression replaced. Raises `Unchanged`."""

    def change(text: str) -> str:
        for part, instead in parts:
            text, times = re.subn(part, instead, text, flags=re.DOTALL)
            if not times:
                raise Unchanged(part)
        return text

    return change


def at_once(hook: str) -> tuple[str, str]:
    """The program at a hook returns when it has looked at one argument."""
    return ENTRY.replace(r"[\w#]+", hook), r"\1 if (!ctx[0]) return 0; return 1;"


_RECORD: Final = r"static __always_inline void \*(small|object|socket)_record(_in)?\((void|u32 \*at)\)[^\n]*\n\{.*?\n\}"
_SCRATCH: Final = """struct scratch { u8 bytes[512]; };
BPF_PERCPU_ARRAY(scratches, struct scratch, 1);
struct small_slot {"""
_TO_SCRATCH: Final = r"""static __always_inline void *\1_record\2(\3)
{
    int zero = 0;
    struct scratch *s = scratches.lookup(&zero);
    return s ? s->bytes + 8 : NULL;
}"""
_TO_NOTHING: Final = r"static __always_inline void *\1_record\2(\3) { return NULL; }"
_LOST: Final = (r"(static __always_inline int lost\(int ring\)) \{.*?\}", r"\1 { return 0; }")
VARIANTS: Final[dict[str, tuple[str, frozenset[Group], Callable[[str], str]]]] = {
    "states": ("states alone", frozenset({Group.STATES}), str),
    "lifecycle": ("states, timers, packets", LIFECYCLE, str),
    "recorded": ("the same, a recorder at work beside it", LIFECYCLE, str),
    "all": ("all groups", frozenset(Group), str),
    "hooks": ("lifecycle, every program returns at once", LIFECYCLE, without(at_once(r"[\w#]+"))),
    "records": (
        "lifecycle, nothing is recorded", LIFECYCLE,
        without((_RECORD, _TO_NOTHING), _LOST),
    ),
    "scratch": (
        "lifecycle, records always to the same few lines", LIFECYCLE,
        without((r"struct small_slot \{", _SCRATCH), (_RECORD, _TO_SCRATCH),
                (r"(static __always_inline void done\(void \*e\)\n\{).*?\n\}", r"\1 }")),
    ),
    "clock": ("lifecycle, no time is taken", LIFECYCLE, without((r"bpf_ktime_get_ns\(\)", "1"))),
    "learning": (
        "lifecycle, tuples not kept", LIFECYCLE,
        without((r"(static __always_inline void learn_pair\(struct pair \*p\)\n\{)", r"\1 return;")),
    ),
    "received": ("lifecycle, arriving packets passed over", LIFECYCLE, without(at_once("netif_receive_skb"))),
}  # fmt: skip


class Work:
    """The two processes."""

    def __init__(self) -> None:
        command = [sys.executable, __file__]
        self._server = subprocess.Popen([*command, "serve"], stdout=subprocess.PIPE, text=True)
        assert self._server.stdout
        port = self._server.stdout.readline().strip()
        pipe = subprocess.PIPE
        self._client = subprocess.Popen([*command, "client", port], stdin=pipe, stdout=pipe, text=True)
        self.pids = frozenset({self._server.pid, self._client.pid})

    def run(self, connections: int = CONNECTIONS) -> float:
        """Us a connection."""
        assert self._client.stdin and self._client.stdout
        print(connections, file=self._client.stdin, flush=True)
        return float(self._client.stdout.readline())

    def end(self) -> None:
        """End both."""
        for process in (self._client, self._server):
            process.kill()
            process.wait()


class Variant:
    """The probes of a variant, loaded, on their hooks only for a slice."""

    def __init__(self, name: str, work: Work) -> None:
        self.words, groups, change = VARIANTS[name]
        self.recorded = name == "recorded"
        source.program_text = lambda *how, **more: change(program_text(*how, **more))
        self.source = KernelSource(groups, ring_bytes=dict(RECORDING_BYTES))
        self.source.start(Filter(processes=work.pids))
        if not self.source.own_rings:
            raise SystemExit(f"{name}: the kernel refuses these programs")
        self._programs = self.source._attached
        self._off()
        self.more: list[float] = []
        self.runs: dict[str, list[tuple[float, float]]] = {}

    def _off(self) -> None:
        for program in self._programs:
            os.close(program.link_fd)
            program.link_fd = -1

    @contextlib.contextmanager
    def _recorder(self) -> Iterator[None]:
        """Drains and writes, as often as a recorder does."""
        ended = threading.Event()

        def record() -> None:
            with tempfile.TemporaryDirectory() as folder:
                recorder = Recorder(f"{folder}/run.pcapng")
                while not ended.wait(0 if self.source.more else RECORDING_PERIOD):
                    recorder.write_batch(self.source.drain())
                recorder.close()

        thread = threading.Thread(target=record)
        thread.start()
        yield
        ended.set()
        thread.join()

    def slice(self, work: Work) -> float:
        """Us a connection with the probes on."""
        for program in self._programs:
            program.link_fd = bpf(_OPEN, struct.pack("<QII", 0, program.program_fd, 0))
        with self._recorder() if self.recorded else contextlib.nullcontext():
            work.run(SETTLING)
            before = self.source.runs()
            took = work.run()
        for name, (runs, ns) in self.source.runs().items():
            per = ((runs - before[name][0]) / CONNECTIONS, (ns - before[name][1]) / 1e3 / CONNECTIONS)
            self.runs.setdefault(name, []).append(per)
        self._off()
        self.source.drain()
        while self.source.more:
            self.source.drain()
        work.run(SETTLING)
        return took

    def end(self) -> None:
        """Let it go."""
        self.source._attached = []
        for program in self._programs:
            os.close(program.program_fd)
        self.source.stop()


def report(bare: list[float], variants: dict[str, Variant], *, stats: bool) -> None:
    """The tables."""
    without_probes, load = statistics.median(bare), os.getloadavg()[0]
    rounds = len(next(iter(variants.values())).more)
    print(f"{without_probes:.0f} us without probes; {rounds} rounds, load of the machine {load:.1f}.\n")
    print("| | | more us a connection | quartiles | of the work |\n|---|---|---|---|---|")
    for name, variant in variants.items():
        low, middle, high = statistics.quantiles(variant.more, n=4, method="inclusive")
        share = f"{middle / without_probes:+.1%}"
        print(f"| {name} | {variant.words} | {middle:.1f} | {low:.1f} to {high:.1f} | {share} |")
    if not stats:
        return
    for name, variant in variants.items():
        print(f"\n| {name}: by the kernel's account | runs | us |\n|---|---|---|")
        middles = {
            program: tuple(statistics.median(column) for column in zip(*each, strict=True))
            for program, each in variant.runs.items()
        }
        for program, (runs, took) in middles.items():
            if runs >= 0.01:
                print(f"| {program} | {runs:.2f} | {took:.2f} |")
        print(f"| all | {sum(r for r, _ in middles.values()):.1f} | {sum(t for _, t in middles.values()):.2f} |")


def main() -> None:
    """Measure."""
    if sys.argv[1:2] == ["serve"]:
        serve()
    elif sys.argv[1:2] == ["client"]:
        client(int(sys.argv[2]))
        return
    words = [word for word in sys.argv[1:] if word != "--stats"]
    counting = bpf(32, struct.pack("<I", 0)) if "--stats" in sys.argv else -1  # BPF_ENABLE_STATS while it is open
    image._KEPT = 2 * len(VARIANTS)  # each is compiled once
    rounds, names = int((words[:1] or ["40"])[0]), words[1:] or list(VARIANTS)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    work, variants, bare = Work(), {}, []
    try:
        variants = {name: Variant(name, work) for name in names}
        for _ in range(10):
            work.run()
        before = work.run()
        for _ in range(rounds):
            for name in random.sample(names, len(names)):
                with_probes, after = variants[name].slice(work), work.run()
                variants[name].more.append(with_probes - (before + after) / 2)
                bare.append(before)
                before = after
        report(bare, variants, stats=counting >= 0)
    finally:
        work.end()
        for variant in variants.values():
            variant.end()


if __name__ == "__main__":
    main()
