"""What being traced costs: the same work with probes off and on, in turns, beside other tools on the same work.

    python bench/overhead.py [ROUNDS [TOOL ...]] [--write]  5 rounds of every tool that is installed
    python bench/overhead.py probes [--write]               what each probe costs, as the kernel counts (bpf_stats)
    python bench/overhead.py many [CONNECTIONS [ROUNDS]] [--write]  `synfin load` with so many, recorded or not

Two processes of this file's own do the work: `connect` opens a connection, echoes once and closes, each time to another
loopback address (one four-tuple range would run out of ports and hide all cost); `echo` goes back and forth on one
connection. Both are kept on one processor, the last: else a machine with nothing else to do falls asleep between two
messages, a tool that keeps it awake makes the work faster, and nothing can be said. It is done in slices of a few
hundredths of a second: two seconds without the tool, two with it, two without again, and of each the median counts, so
that what else the machine does meets all three and is thrown out where it is short. A round gives with / without; of
the rounds the median, and the lowest and highest, are printed. Where the machine is shared the three are too far apart
for less than a tenth to be told from nothing in a few rounds: bench/probe_parts.py puts our own probes on and off from
one moment to the next. Three numbers a tool, as more than without it:

  work      processor time charged to the working processes. Probes run on their account: over loopback both ends of the
            stack do too, in the softirq that ends the sender's system call. Hardly depends on what else is running
  time      the same by the clock: what a user waits. Only to be trusted on an idle machine
  + tool    work and the processor time of the tool itself

`many` takes the processor time of the whole load, servers and clients, as the kernel charges it when they have ended.

The tables are Markdown; --write puts them into docs/overhead.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tracer.kernel.attach import bpf
from tracer.kernel.rings import RECORDING_BYTES
from tracer.kernel.source import Filter, KernelSource
from tracer.kernel.symbols import addresses

PORT: Final = 7117
SLICES: Final = {"connect": 250, "echo": 2000}
"""Operations in one slice: some hundredths of a second."""
LIFECYCLE: Final = ["states", "timers", "packets"]
MOST: Final = 40
ENOUGH: Final = 2.0
"""Slices measured in a row, fewer when they took so many seconds."""
DOCS: Final = Path(__file__).parents[1] / "docs" / "overhead.md"
TICK: Final = os.sysconf("SC_CLK_TCK")
READY: Final = 2.5
"""Seconds that every tool gets to begin."""


def serve() -> None:
    """Answer one message per turn, one connection after the other."""
    with socket.create_server(("0.0.0.0", PORT), backlog=64) as listener:
        print("ready", flush=True)
        while True:
            server, _ = listener.accept()
            with server:
                while data := server.recv(1000):
                    server.send(data)


def client() -> None:
    """Do so much of one kind of work for each line of standard input, and say when it is done."""
    turn = 0
    for line in sys.stdin:
        what, count = line.split()
        if what == "echo":
            with socket.create_connection(("127.0.0.1", PORT)) as peer:
                for _ in range(int(count)):
                    peer.send(b"some bytes, not many")
                    peer.recv(1000)
        else:
            for _ in range(int(count)):
                turn += 1
                with socket.create_connection((f"127.{1 + turn % 250}.{turn // 250 % 250}.1", PORT)) as peer:
                    peer.send(b"some bytes, not many")
                    peer.recv(1000)
        print("done", flush=True)


class Work:
    """The two processes."""

    def __init__(self) -> None:
        def start(role: str) -> subprocess.Popen[str]:
            command = [sys.executable, __file__, role]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
            return process

        self.server = start("serve")
        assert self.server.stdout
        self.server.stdout.readline()
        self.client = start("client")
        self.pids = (self.server.pid, self.client.pid)

    def run(self, what: str, count: int, tool: int | None = None) -> tuple[float, float, float]:
        """Seconds by the clock, of processor time of the two, and of the tool, for one measurement."""
        assert self.client.stdin and self.client.stdout
        before, tool_before, began = sum(map(_spent, self.pids)), _spent(tool) if tool else 0.0, time.monotonic()
        print(what, count, file=self.client.stdin, flush=True)
        self.client.stdout.readline()
        took = time.monotonic() - began
        return took, sum(map(_spent, self.pids)) - before, (_spent(tool) - tool_before) if tool else 0.0

    def end(self) -> None:
        """End both."""
        for process in (self.client, self.server):
            process.kill()
            process.wait()


def _spent(pid: int) -> float:
    """Processor seconds of a process and of its threads, to the nanosecond where the scheduler counts so."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except (OSError, ValueError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK


def _bpftrace(pids: tuple[int, ...]) -> str:
    """The hooks of all our probes, each with a line of what it says, for the same processes and port."""
    ours = " || ".join(f"pid == {pid}" for pid in pids)
    port = f"args->sport == {PORT} || args->dport == {PORT}"
    handlers = ("reqsk_timer_handler", "tw_timer_handler", "tcp_write_timer", "tcp_delack_timer", "tcp_keepalive_timer")
    timers = " || ".join(f"(uint64)args->function == {address}" for address in addresses(handlers).values())

    def switched(*names: str) -> str:
        return " || ".join(f"args->{name} == {pid}" for name in names for pid in pids)

    hooks = [
        ("raw_syscalls:sys_enter", ours, "args->id, args->args[0], args->args[1], args->args[2]"),
        ("raw_syscalls:sys_exit", ours, "args->id, args->ret"),
        ("sched:sched_switch", switched("prev_pid", "next_pid"), "args->prev_pid, args->next_pid, args->prev_state"),
        ("sched:sched_waking", switched("pid"), "args->pid, args->target_cpu"),
        ("sock:inet_sock_set_state", port, "args->skaddr, args->oldstate, args->newstate, args->sport, args->dport"),
        ("sock:sk_data_ready", "1", "args->skaddr, args->family"),
        ("tcp:tcp_destroy_sock", port, "args->skaddr, args->sport, args->dport"),
        ("tcp:tcp_probe", port, "args->snd_nxt, args->snd_una, args->snd_cwnd, args->snd_wnd, args->srtt"),
        ("timer:timer_start", timers, "args->timer, args->function, args->expires"),
        ("timer:timer_expire_entry", timers, "args->timer, args->function"),
        ("net:net_dev_start_xmit", "1", "args->skbaddr, args->len, args->network_offset"),
        ("net:netif_receive_skb", "1", "args->skbaddr, args->len"),
        ("skb:kfree_skb", "1", "args->skbaddr, args->protocol, args->reason"),
    ]  # fmt: skip
    # timer_cancel says nothing but an address
    lines = [_line(name, test, fields) for name, test, fields in (*hooks, ("timer:timer_cancel", "1", "args->timer"))]
    return "\n".join(lines)


def _line(name: str, test: str, fields: str) -> str:
    form = " ".join(["%d"] * (fields.count(",") + 1))
    return f'tracepoint:{name} /{test}/ {{ printf("{name.split(":")[1]} %llu %d {form}\\n", nsecs, tid, {fields}); }}'


def _tools(pids: tuple[int, ...], folder: str) -> dict[str, list[str]]:
    """Commands by name."""
    chosen = [word for pid in pids for word in ("--pid", str(pid))]

    def record(*groups: str) -> list[str]:
        probes = ["--probes", ",".join(groups)] if groups else []
        return [sys.executable, "-m", "tui.cli", "record", "-w", f"{folder}/run.pcapng", *chosen, *probes]

    private = ["unshare", "-m", "sh", "-c"]  # the classic tracepoints' files, for this tool alone
    mounted = 'mount -t tracefs nodev /sys/kernel/tracing && exec "$@"'
    return {
        "synfin states": record("states"),
        "synfin lifecycle": record(*LIFECYCLE),
        "synfin all": record(),
        "bpftrace": [*private, mounted, "sh", "bpftrace", "-o", "/dev/null", "-e", _bpftrace(pids)],
        # bcc's, from its libbpf-tools: built ahead and fitted by BTF, so it needs no kernel headers. Its -L knows only
        # the port of its own end, and both ends are followed here: so it takes them all.
        "tcpstates": [*private, mounted, "sh", "tcpstates"],
        "tcpdump": ["tcpdump", "-i", "lo", "-s", "104", "-w", "/dev/null", f"tcp port {PORT}"],
        "strace": ["strace", "-f", "-o", "/dev/null", *(word for pid in pids for word in ("-p", str(pid)))],
    }


@contextlib.contextmanager
def _running(command: list[str], folder: str) -> Iterator[int | None]:
    """The tool at work; None where it cannot."""
    with Path(folder, "words").open("w+") as words:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=words)
        try:
            time.sleep(READY)
            yield None if process.poll() is not None else process.pid
        finally:
            process.send_signal(2)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()


def _slices(work: Work, what: str, tool: int | None = None) -> tuple[float, ...]:
    """Processor time of the work, time, and processor time of both: medians of some slices, as many as fit.

    Of the tool's own processor time the mean: it may do its work once in a while.
    """
    work.run(what, SLICES[what])
    found: list[tuple[float, ...]] = []
    until = time.monotonic() + ENOUGH
    while len(found) < MOST and (not found or time.monotonic() < until):
        took, spent, tools = work.run(what, SLICES[what], tool)
        found.append((spent, took, tools))
    spent, took, tools = zip(*found, strict=True)
    return statistics.median(spent), statistics.median(took), statistics.median(spent) + statistics.mean(tools)


def measure(work: Work, command: list[str], what: str, folder: str) -> tuple[float, ...] | str:
    """Work, time, work and tool: each with the tool by each without; or why there is nothing to measure."""
    before = _slices(work, what)
    with _running(command, folder) as tool:
        if tool is None:
            lines = Path(folder, "words").read_text(errors="replace").strip().splitlines()
            told = (line for line in lines if "header" in line or "ERROR" in line)
            return next(told, lines[-1] if lines else "ended")
        on = _slices(work, what, tool)
    after = _slices(work, what)
    return tuple(2 * with_it / (one + other) for with_it, one, other in zip(on, before, after, strict=True))


def _rounds(work: Work, tools: dict[str, list[str]], what: str, rounds: int, folder: str) -> list[str]:
    spent, took, _ = (value / SLICES[what] * 1e6 for value in _slices(work, what))
    lines = [f"{what}: {spent:.0f} us of processor time and {took:.0f} us by the clock each without a tool; "
             f"{rounds} rounds, load of the machine {os.getloadavg()[0]:.1f}.", "",
             f"| {what} | work | lowest to highest | time | lowest to highest | work + tool |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in tools}
    missing: dict[str, str] = {}
    for _ in range(rounds):
        for name, command in tools.items():
            program = command[6] if command[0] == "unshare" else command[0]
            if name in missing:
                continue
            there = shutil.which(program) is not None
            one = measure(work, command, what, folder) if there else f"{program} is not installed"
            if isinstance(one, str):
                missing[name] = one
            else:
                found[name].append(one)
    for name, values in found.items():
        if name in missing or not values:
            lines.append(f"| {name} | not measured: {missing.get(name, '')[:90]} | | | | |")
            continue
        work_more, time_more, both = (sorted(more) for more in zip(*values, strict=True))
        cells = (f"{_more(work_more)} | {_range(work_more)}", f"{_more(time_more)} | {_range(time_more)}", _more(both))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _more(ratios: list[float]) -> str:
    return f"{statistics.median(ratios) - 1:+.0%}"


def _range(ratios: list[float]) -> str:
    return f"{ratios[0] - 1:+.0%} to {ratios[-1] - 1:+.0%}"


def _lower(values: list[float]) -> float:
    """The lower quartile: what it takes when nothing else on the machine gets in between."""
    return sorted(values)[len(values) // 4]


def probes() -> list[str]:
    """Runs and time of every program for one operation. Taking the time costs some 20 ns a run and is counted in."""
    counting = bpf(32, struct.pack("<I", 0))  # BPF_ENABLE_STATS, BPF_STATS_RUN_TIME: while this descriptor is open
    work, source, ended = Work(), KernelSource(ring_bytes=dict(RECORDING_BYTES)), threading.Event()
    source.start(Filter(processes=frozenset(work.pids)))

    def drain() -> None:  # full rings would take no records, and those cost nothing
        while not ended.wait(0.04):
            source.drain()
            while source.more:
                source.drain()

    drainer = threading.Thread(target=drain)
    drainer.start()
    lines = []
    try:
        for what, count in (("connect", 400), ("echo", 2000)):
            work.run(what, 10 * count)
            events, spent, slices = source.losses(), [], []
            for _ in range(60):
                before = source.runs()
                spent.append(work.run(what, count)[1] / count * 1e6)
                after = source.runs()
                pairs = {name: zip(after[name], before[name], strict=True) for name in after}
                slices.append({name: [(one - other) / count for one, other in pair] for name, pair in pairs.items()})
            more = source.losses()
            tried = more.written + more.lost - events.written - events.lost
            each = f"{what}: {_lower(spent):.0f} us of processor time, {tried / count / 60:.0f} events each, traced"
            loss = f"{(more.lost - events.lost) / tried:.1%} lost."
            lines += ["", f"{each}; {loss}", "", f"| {what} | runs each | us each |", "|---|---|---|"]
            whole = 0.0
            for name in slices[0]:
                runs, took = (_lower([one[name][column] for one in slices]) for column in (0, 1))
                whole += took
                if runs > 0.02:
                    lines.append(f"| {name} | {runs:.2f} | {took / 1000:.2f} |")
            lines.append(f"| all | | {whole / 1000:.2f} |")
    finally:
        ended.set()
        drainer.join()
        source.stop()
        os.close(counting)
        work.end()
    return lines[1:]


def many(connections: int, rounds: int) -> list[str]:
    """A load with that many connections, by itself and recorded, in turns; medians."""
    load = [sys.executable, "-m", "tui.cli", "load", "--connections", str(connections), "--duration", "5", "--json"]
    ways: dict[str, list[str] | None] = {"by itself": None, "synfin lifecycle": LIFECYCLE, "synfin all": []}
    found: dict[str, list[list[float]]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory(prefix="synfin-bench-", dir=os.environ.get("BENCH_DIR")) as folder:
        told, file = Path(folder, "told"), f"{folder}/run.pcapng"
        for _ in range(rounds):
            for name, groups in ways.items():
                timed = [sys.executable, __file__, "timed", str(told), *load]
                if groups is not None:
                    chosen = ["--probes", ",".join(groups)] if groups else []
                    timed = [sys.executable, "-m", "tui.cli", "record", "-w", file, *chosen, "--", *timed]
                done = subprocess.run(timed, capture_output=True, text=True, check=False)
                spent, report = json.loads(told.read_text())
                words = [re.search(form, done.stderr) for form in (r"recorded (\d+) events", r"(\d+) events were lost")]
                counts = [int(word[1]) if word else 0 for word in words]
                figures = [report[key] for key in ("held", "messages_rate", "round_trip_p50", "round_trip_p99")]
                found[name].append([spent, *figures, *counts])
    lines = [f"{connections:,} connections made at 2,000 a second, then 1,000 messages a second for 5 s; "
             f"{rounds} rounds, load of the machine {os.getloadavg()[0]:.1f}.", "",
             "| | held | processor time of the load | more | messages/s | answer, median | 99 % | events | lost |",
             "|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for name, runs in found.items():
        spent, held, rate, half, most, events, lost = (statistics.median(column) for column in zip(*runs, strict=True))
        more = sorted(run[0] / bare[0] for run, bare in zip(runs, found["by itself"], strict=True))
        cells = (f"{held:,.0f}", f"{spent:.2f} s", f"{_more(more)} ({_range(more)})", f"{rate:,.0f}",
                 f"{half * 1e6:.0f} us", f"{most * 1e3:.1f} ms", f"{events:,.0f}", f"{lost:,.0f}")  # fmt: skip
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def timed(told: str, command: list[str]) -> None:
    """Run a load and note its processor seconds, with all that it started, and its report."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    Path(told).write_text(json.dumps([spent.ru_utime + spent.ru_stime, json.loads(done.stdout.splitlines()[-1])]))


def _tell(mark: str, lines: list[str], *, write: bool) -> None:
    """Print, and put between the marks in the documentation when asked to."""
    print("\n".join(lines))
    if write:
        begin, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->\n"
        before, _, rest = DOCS.read_text().partition(begin)
        DOCS.write_text(before + begin + "\n".join(("", *lines, "", "")) + end + rest.partition(end)[2])


def main() -> None:
    """Run and print."""
    words = [word for word in sys.argv[1:] if word != "--write"]
    write = len(words) < len(sys.argv) - 1
    if words[:1] in (["serve"], ["client"]):
        serve() if words[0] == "serve" else client()
    elif words[:1] == ["timed"]:
        timed(words[1], words[2:])
    elif words[:1] == ["probes"]:
        _tell("probes", probes(), write=write)
    elif words[:1] == ["many"]:
        connections, rounds = (*map(int, words[1:]), *(10_000, 3)[len(words) - 1 :])
        _tell("many", many(connections, rounds), write=write)
    else:
        work = Work()
        with tempfile.TemporaryDirectory(prefix="synfin-bench-", dir=os.environ.get("BENCH_DIR")) as folder:
            try:
                tools = {name: command for name, command in _tools(work.pids, folder).items()
                         if not words[1:] or name in words[1:]}  # fmt: skip
                lines: list[str] = []
                for what in SLICES:
                    lines += ["", *_rounds(work, tools, what, int(words[0]) if words else 5, folder)]
                _tell("tools", lines[1:], write=write)
            finally:
                work.end()


if __name__ == "__main__":
    main()
