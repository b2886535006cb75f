"""The same play seen by bpftrace, which reads the classic tracepoint: same states, same order, same ports."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.kernel.conftest import Play, Seen
from tests.kernel.test_live import LIFE
from tracer.kernel.probes import Group
from tracer.kernel.source import Filter, KernelSource
from tracer.states import State

SCRIPT = (
    'BEGIN { printf("ready\\n"); } '
    "tracepoint:sock:inet_sock_set_state /args->protocol == 6/ "
    '{ printf("%llx %d %d %d %d\\n", args->skaddr, args->oldstate, args->newstate, args->sport, args->dport); }'
)


@pytest.mark.kernel
@pytest.mark.needs("bpftrace", "unshare", "mount")
def test_bpftrace_sees_the_same_states(run: Play, tmp_path: Path) -> None:
    out = tmp_path / "bpftrace"
    # tracefs is mounted in a mount namespace of its own: nothing changes for the machine
    command = f"mount -t tracefs nodev /sys/kernel/tracing && exec bpftrace -B line -e '{SCRIPT}'"
    with out.open("w") as file:
        other = subprocess.Popen(["unshare", "-m", "sh", "-c", command], stdout=file, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 30
        while "ready" not in out.read_text():
            assert other.poll() is None and time.monotonic() < deadline, out.read_text()
            time.sleep(0.05)
        source = KernelSource(groups=frozenset({Group.STATES}))
        source.start(Filter(parents=frozenset({os.getpid()})))
        seen: Seen = run(source, LIFE.format(family="socket.AF_INET", host="127.0.0.1"))
        time.sleep(0.3)
    finally:
        other.terminate()
        other.wait(timeout=10)
    ours = [(row["addr"], row["old"], row["new"]) for row in seen.of("socket:state")]
    mine = {addr for addr, _, _ in ours}
    # Addresses are used again: a socket of somebody else's may have lived at one of ours. Nobody else has our port.
    port = str(next(row["sport"] for row in seen.of("socket:state") if row["new"] == State.LISTEN))
    lines = [words for words in map(str.split, out.read_text().splitlines()) if len(words) == 5 and port in words[3:]]
    theirs = [row for row in ((int(w[0], 16), int(w[1]), int(w[2])) for w in lines) if row[0] in mine]
    assert len(ours) == 12  # two of the listener, five of each end
    for addr in mine:  # an order per socket: bpftrace prints processor by processor
        assert [row for row in ours if row[0] == addr] == [row for row in theirs if row[0] == addr]
