"""An actor's own account of its system calls against strace's: the same calls, in the same order, and no others."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest

from .conftest import Perform

CONTROL = re.compile(r"^(read\(200|write\(201|exit_group|brk|mmap|munmap|\+\+\+|---)")
"""What an actor does besides its part: cues, reports, leaving, and memory."""
KERNEL = {"send": "sendto", "recv": "recvfrom"}


def traced(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    return "TracerPid:\t0\n" not in status


@pytest.mark.needs("strace")
def test_half_close_makes_no_call_that_is_not_its_own(perform: Perform, tmp_path: Path) -> None:
    play = perform("half-close", hold_steps=True)
    assert play.stage.ground
    pids = play.stage.ground.pids
    logs = {name: tmp_path / name for name in pids}
    tracers = [
        subprocess.Popen(["strace", "-qq", "-o", str(logs[name]), "-p", str(pid)], stderr=subprocess.PIPE)
        for name, pid in pids.items()
    ]
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and not all(map(traced, pids.values())):
        if any(tracer.poll() is not None for tracer in tracers):
            pytest.skip("needs test: strace may not attach here")
        time.sleep(0.01)
    play.run()
    assert play.wait(20)
    assert play.failure == ""
    for tracer in tracers:
        tracer.communicate(timeout=10)
    for name, log in logs.items():
        seen = [line.partition("(")[0] for line in log.read_text().splitlines() if not CONTROL.match(line)]
        told = [r.call.name for r in play.reports if r.kind == "call" and r.actor == name and r.call]
        assert seen == [KERNEL.get(call, call) for call in told]
