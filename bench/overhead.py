"""What being traced costs: the same work with probes off and on, in turns, beside other tools on the same work.

    python bench/overhead.py [ROUNDS [TOOL ...]]        default: 5 rounds of every tool that is installed
    python bench/overhead.py probes                     what each probe costs, by the kernel's own account (bpf_stats)

Two processes of this file's own do the work: `connect` opens a connection, echoes once and closes, each time to another
loopback address (one four-tuple range would run out of ports and hide all cost); `echo` goes back and forth on one
connection. Every measurement with a tool stands right behind one without, so that whatever else the machine does meets
both; the median of the ratios is printed. Three numbers a tool, as more than the time without it:

  time      wall clock for the same work: what a user waits. Only to be trusted on an idle machine
  work      processor time charged to the working processes, in which probes run too
  + tool    the same and the processor time of the tool itself
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tracer.kernel.attach import bpf
from tracer.kernel.source import Filter, KernelSource
from tracer.kernel.symbols import addresses

PORT: Final = 7117
COUNTS: Final = {"connect": 15000, "echo": 60000}
"""Operations in one measurement: about a second."""
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
            return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

        self.server = start("serve")
        assert self.server.stdout
        self.server.stdout.readline()
        self.client = start("client")
        self.pids = (self.server.pid, self.client.pid)

    def run(self, what: str, tool: int | None = None) -> tuple[float, float, float]:
        """Seconds by the clock, of processor time of the two, and of the tool, for one measurement."""
        assert self.client.stdin and self.client.stdout
        before, tool_before, began = sum(map(_spent, self.pids)), _spent(tool) if tool else 0.0, time.monotonic()
        print(what, COUNTS[what], file=self.client.stdin, flush=True)
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
        "synfin lifecycle": record("states", "timers", "packets"),
        "synfin all": record(),
        "bpftrace": [*private, mounted, "sh", "bpftrace", "-o", "/dev/null", "-e", _bpftrace(pids)],
        "tcpstates": [*private, mounted, "sh", "tcpstates-bpfcc", "-L", str(PORT)],
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


def measure(work: Work, command: list[str], what: str, folder: str) -> tuple[float, float, float] | str:
    """Time, work, work and tool: each with the tool by each without."""
    with _running(command, folder) as tool:
        if tool is None:
            lines = Path(folder, "words").read_text(errors="replace").strip().splitlines()
            told = (line for line in lines if "header" in line or "ERROR" in line)
            return next(told, lines[-1] if lines else "ended")
        work.run(what, tool)
        on = work.run(what, tool)
    off = work.run(what)
    return on[0] / off[0], on[1] / off[1], (on[1] + on[2]) / off[1]


def probes() -> None:
    """Runs and time of every program for one operation. Taking the time costs some 20 ns a run and is counted in."""
    counting = bpf(32, struct.pack("<I", 0))  # BPF_ENABLE_STATS, BPF_STATS_RUN_TIME: while this descriptor is open
    work, source = Work(), KernelSource()
    source.start(Filter(processes=frozenset(work.pids)))
    try:
        for what, count in COUNTS.items():
            work.run(what)
            before, events = source.runs(), source.losses()
            spent = work.run(what)[1]
            after, more = source.runs(), source.losses()
            tried = more.written + more.lost - events.written - events.lost
            print(f"\n{what}: {spent / count * 1e6:.0f} us of processor time, {tried / count:.0f} events each, traced")
            print(f"{'':<28} {'runs each':>10} {'ns a run':>10} {'us each':>10}")
            whole = 0
            for name, (runs, time_ns) in after.items():
                runs, time_ns = runs - before[name][0], time_ns - before[name][1]
                whole += time_ns
                if runs > count / 50:
                    print(f"{name:<28} {runs / count:>10.2f} {time_ns / runs:>10.0f} {time_ns / count / 1000:>10.2f}")
            print(f"{'all':<50} {whole / count / 1000:>10.2f}")
    finally:
        source.stop()
        os.close(counting)
        work.end()


def main() -> None:
    """Run and print."""
    if sys.argv[1:2] == ["probes"]:
        probes()
        return
    if sys.argv[1:2] in (["serve"], ["client"]):
        serve() if sys.argv[1] == "serve" else client()
        return
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    work = Work()
    with tempfile.TemporaryDirectory(prefix="synfin-bench-", dir=os.environ.get("BENCH_DIR")) as folder:
        try:
            tools = {name: command for name, command in _tools(work.pids, folder).items()
                     if not sys.argv[2:] or name in sys.argv[2:]}  # fmt: skip
            for what in COUNTS:
                _table(work, tools, what, rounds, folder)
        finally:
            work.end()


def _table(work: Work, tools: dict[str, list[str]], what: str, rounds: int, folder: str) -> None:
    work.run(what)
    bare = [work.run(what) for _ in range(rounds)]
    took, spent = (statistics.median(column) / COUNTS[what] * 1e6 for column in list(zip(*bare, strict=True))[:2])
    print(f"\n{what}: {took:.0f} us by the clock, {spent:.0f} us of processor time each, untraced; "
          f"load of the machine {os.getloadavg()[0]:.1f}")  # fmt: skip
    print(f"{'':<20} {'time':>8} {'work':>8} {'+ tool':>8}   range of the last")
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in tools}
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
    for name in tools:
        if name in missing or not found[name]:
            print(f"{name:<20} {missing.get(name, '')[:90]}")
            continue
        columns = list(zip(*found[name], strict=True))
        cells = " ".join(f"{statistics.median(column) - 1:>+8.0%}" for column in columns)
        print(f"{name:<20} {cells}   {min(columns[2]) - 1:+.0%} to {max(columns[2]) - 1:+.0%}")


if __name__ == "__main__":
    main()
