"""What runs inside the emulated machine: the probes and a half-close, told as JSON lines on descriptor 3.

python -m tests.kernels.guest
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from collections import Counter
from typing import Any

from tests.e2e.conftest import Performance, world_after
from tracer.kernel.attach import Mode
from tracer.kernel.doctor import examine
from tracer.kinds import Side


def tell(**what: Any) -> None:
    """One line of the answer."""
    os.write(3, json.dumps(what).encode() + b"\n")


def half_close(mode: Mode) -> dict[str, Any]:
    """The scenario under the probes in this mode: which are on, and what they saw."""
    performance = Performance(mode)
    try:
        probes = [
            (row.probe.program, row.hook.name if row.hook else "", row.on, row.why)
            for row in performance.kernel.status()
        ]
        own = performance.kernel.own_rings
        timeline = performance.finish()
    finally:
        performance.close()
    world = world_after(timeline)
    ends = {}
    for side in (Side.CLIENT, Side.SERVER):
        end = world.end(1, side)
        ends[side.name.lower()] = (
            [(state.name, timeline[order].evidence.name) for order, state in end.path] if end else []
        )
    return {
        "probes": probes,
        "own": own,
        **ends,
        "anomalies": [anomaly.text for anomaly in world.anomalies],
        "lost": world.lost,
        "kinds": Counter(event.name for event in timeline.events() if event.source.name == "KERNEL"),
    }


def main() -> None:
    """Everything, one line each; a failure is a line too."""
    tell(what="kernel", release=os.uname().release, findings=[(f.name, f.good, f.text) for f in examine()])
    for mode in Mode:
        began = time.monotonic()
        try:
            tell(what=mode.value, **half_close(mode), seconds=round(time.monotonic() - began, 1))
        except BaseException:
            tell(what=mode.value, failed=traceback.format_exc())
    ran = subprocess.run(
        [sys.executable, "-m", "tui.cli", "run", "half-close", "--text"], capture_output=True, text=True, check=False
    )
    tell(what="command", code=ran.returncode, out=ran.stdout, err=ran.stderr)


if __name__ == "__main__":
    main()
