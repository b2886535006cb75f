"""A trace changes nothing on the machine and leaves nothing behind, however it ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Synfin, load, wait_for

pytestmark = [pytest.mark.kernel, pytest.mark.needs("bpftool")]

COMMAND = """
import socket, time
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname()); server, _ = listener.accept(); client.send(b"hello")
time.sleep(60)
"""
_VOLATILE = re.compile(
    r"random/|/(file-nr|inode-nr|inode-state|dentry-state|ns_last_pid|pty/nr|aio-nr|nr_|rt_|conntrack_count)|"
    r"netfilter/|sched_domain|perf_event_max_sample_rate|perf_cpu_time|flush"
)
"""What counts or adjusts itself."""
TRACING = ("kprobe_events", "uprobe_events", "current_tracer", "tracing_on", "trace_clock", "set_ftrace_filter")


def settings() -> dict[str, str]:
    """Every sysctl that only people change, and what of tracefs is set."""
    found = {}
    for root, _, names in os.walk("/proc/sys"):
        for name in names:
            path = f"{root}/{name}"
            if not _VOLATILE.search(path):
                with contextlib.suppress(OSError, UnicodeDecodeError):
                    found[path] = Path(path).read_text()
    for name in TRACING:
        with contextlib.suppress(OSError):
            found[name] = Path(f"/sys/kernel/tracing/{name}").read_text()
    return found


def held(pid: int) -> dict[str, set[int]]:
    """Numbers of the BPF programs and maps that a process holds open."""
    found: dict[str, set[int]] = {"prog": set(), "map": set(), "link": set()}
    for info in Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(OSError):
            for kind, number in re.findall(r"^(prog|map|link)_id:\s*(\d+)", info.read_text(), re.MULTILINE):
                found[kind].add(int(number))
    return found


def loaded(kind: str) -> set[int]:
    """Numbers of all that are loaded, as bpftool lists them."""
    told = subprocess.run(["bpftool", "--json", kind, "list"], capture_output=True, timeout=20, check=True)
    return {row["id"] for row in json.loads(told.stdout or b"[]")}


def interrupted(pid: int, synfin: Synfin) -> None:
    os.kill(pid, signal.SIGINT)


def killed(pid: int, synfin: Synfin) -> None:
    """The tracer alone: its command is nobody's then, and is ended by the test."""
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: pid not in synfin.processes(), "its end")
    for other in synfin.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(other, signal.SIGKILL)


@pytest.mark.parametrize("end", [interrupted, killed], ids=["Ctrl-C", "kill -9"])
def test_nothing_is_changed_and_nothing_left(synfin: Synfin, end: Callable[[int, Synfin], None]) -> None:
    before = settings()
    tracing = synfin.start("record", "-w", "it.pcapng", "--", sys.executable, "-c", COMMAND)
    file = synfin.folder / "it.pcapng"
    wait_for(lambda: file.exists() and b"ESTABLISHED" in file.read_bytes(), "the connection")
    ours = held(tracing.pid)
    assert len(ours["prog"]) >= 20 and len(ours["map"]) >= 10  # the probes are on
    assert ours["prog"] <= loaded("prog") and ours["map"] <= loaded("map")
    while_tracing = settings()
    end(tracing.pid, synfin)
    tracing.wait(20)
    wait_for(lambda: not ours["prog"] & loaded("prog"), "the programs' end")  # after a grace period of RCU
    wait_for(lambda: not ours["map"] & loaded("map"), "the maps' end")
    wait_for(lambda: not ours["link"] & loaded("link"), "the links' end")
    assert not synfin.processes()
    assert while_tracing == before == settings()
    assert len(load(file)) > 10  # and what was seen is kept
