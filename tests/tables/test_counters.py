"""ListenOverflows and ListenDrops: told when they move, from when one looks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracer.batch import Batch
from tracer.tables.counters import PERIOD, ListenCounters, read

LINES = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 0 {} {}\nIpExt: InNoRoutes\nIpExt: 0\n"


def told(batch: Batch) -> list[tuple[int, int, int]]:
    """Namespace, overflows and drops of each event."""
    return [
        (int(row["netns"]), int(row["overflows"]), int(row["drops"]))
        for table in batch.tables.values()
        for row in table
    ]


def test_only_what_moves_and_only_when_due(tmp_path: Path) -> None:
    file, gone = tmp_path / "netstat", tmp_path / "gone"
    file.write_text(LINES.format(7, 9))
    gone.write_text(LINES.format(1, 1))
    now = 1000
    counters = ListenCounters({4: file, 5: gone}, clock=lambda: now)
    gone.unlink()
    file.write_text(LINES.format(10, 13))
    assert told(counters.drain()) == []  # not due
    now += PERIOD
    assert told(counters.drain()) == [(4, 3, 4)]
    now += PERIOD
    assert told(counters.drain()) == []
    file.write_text(LINES.format(11, 14))
    counters.stop()
    assert told(counters.drain()) == [(4, 1, 1)]
    assert counters.losses().written == 2


def test_this_kernel_counts_them() -> None:
    path = Path("/proc/self/net/netstat")
    if not path.exists():
        pytest.skip("no /proc/net/netstat here")
    overflows, drops = read(path)
    assert 0 <= overflows <= drops
