"""Exact accounting under overload, and records in bulk, with a program of the test's own."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from tracer.kernel.attach import Attached, Mode, attach, bpf
from tracer.kernel.btf import KernelTypes
from tracer.kernel.compile import CompileError, compile_text
from tracer.kernel.image import Loaded
from tracer.kernel.ring import MappedRing, RingError, Tallies

pytestmark = pytest.mark.kernel

PAGES = 4
TEXT = """
BPF_RINGBUF_OUTPUT(ring, 4);
BPF_PERCPU_ARRAY(tallies, u64, 2);
static __always_inline void tally(int slot)
{
    u64 *n = tallies.lookup(&slot);
    if (n)
        __sync_fetch_and_add(n, 1);
}
int each(volatile u64 *ctx)
{
    u64 *e = ring.ringbuf_reserve(56);
    if (!e) {
        tally(1);
        return 0;
    }
    e[0] = bpf_ktime_get_ns();
    e[1] = ctx[1];
    e[2] = bpf_get_current_pid_tgid() >> 32;
    if (e[1] == DISCARDED) {
        ring.ringbuf_discard(e, 1);
        return 0;
    }
    ring.ringbuf_submit(e, 1);
    tally(0);
    return 0;
}
"""
NEVER = 0xFFFF


@pytest.fixture(scope="module")
def loaded() -> Iterator[Loaded]:
    maps = Loaded(compile_text(TEXT, (f"-DDISCARDED={NEVER}",)))
    yield maps
    maps.close()


def _on_every_call(loaded: Loaded, mode: Mode) -> Attached:
    prototype = KernelTypes().tracepoint("sys_enter")
    assert prototype is not None
    return attach("each", "sys_enter", loaded.program("each"), mode, prototype.btf_id)


@pytest.mark.parametrize("mode", list(Mode), ids=lambda mode: mode.value)
def test_written_and_lost_are_the_run_count(mode: Mode) -> None:
    """Every call of the machine, from several processes, into a ring that is far too small."""
    loaded = Loaded(compile_text(TEXT, (f"-DDISCARDED={NEVER}",)))
    ring = MappedRing(loaded.map_fd("ring"), PAGES * 4096, 64)
    statistics = bpf(32, struct.pack("<I", 0))  # BPF_ENABLE_STATS, BPF_STATS_RUN_TIME: while this descriptor is open
    program = _on_every_call(loaded, mode)
    busy = [sys.executable, "-c", "import os\nfor _ in range(60000): os.getppid()"]
    workers = [subprocess.Popen(busy) for _ in range(3)]
    drained = 0
    while any(worker.poll() is None for worker in workers):
        drained += len(ring.drain())
    os.close(program.link_fd)  # detached; the program and its counters are still there
    program.link_fd = -1
    drained += len(ring.drain())
    counts = Tallies(loaded.map_fd("tallies")).read(0)
    runs = program.runs()
    program.close()
    os.close(statistics)
    ring.close()
    loaded.close()
    assert counts.lost > 0 and counts.written > 0
    assert drained == counts.written == ring.drained
    assert counts.written + counts.lost == runs["run_cnt"] >= 180_000


def test_rows_are_copies_in_order(loaded: Loaded) -> None:
    ring = MappedRing(loaded.map_fd("ring"), PAGES * 4096, 64)
    tallies = Tallies(loaded.map_fd("tallies"))
    lost_before = tallies.read(0).lost
    program = _on_every_call(loaded, Mode.TP_BTF)
    parts = []
    for _ in range(50):  # several times around the ring
        for _ in range(20):
            os.getppid()
        parts.append(ring.drain())
    program.close()
    parts.append(ring.drain())
    rows = np.concatenate(parts).view(np.uint64)
    mine = rows[(rows[:, 2] == os.getpid()) & (rows[:, 1] == 110)]  # getppid on x86-64
    ring.close()
    assert rows.shape[1] == 7
    if os.uname().machine == "x86_64":
        # The small ring holds the calls of the whole machine: a busy one may push some of ours out, and counts them.
        lost = tallies.read(0).lost - lost_before
        assert 1000 - lost <= len(mine) <= 1000
    assert np.all(np.diff(mine[:, 0].astype(np.int64)) > 0)


def test_discarded_records_are_left_out() -> None:
    number = 110 if os.uname().machine == "x86_64" else 173  # getppid
    loaded = Loaded(compile_text(TEXT, (f"-DDISCARDED={number}",)))
    ring = MappedRing(loaded.map_fd("ring"), PAGES * 4096, 64)
    program = _on_every_call(loaded, Mode.TP_BTF)
    for _ in range(10):
        os.getppid()
    program.close()
    rows = ring.drain().view(np.uint64)
    ring.close()
    loaded.close()
    assert len(rows) and number not in rows[:, 1]


def test_a_wrong_stride_is_noticed(loaded: Loaded) -> None:
    ring = MappedRing(loaded.map_fd("ring"), PAGES * 4096, 32)
    program = _on_every_call(loaded, Mode.TP_BTF)
    os.getppid()
    program.close()
    with pytest.raises(RingError):
        ring.drain()
    ring.close()


def test_the_compiler_speaks() -> None:
    with pytest.raises(CompileError, match="undeclared"):
        compile_text("int broken(void *ctx) { return no_such_thing; }")
