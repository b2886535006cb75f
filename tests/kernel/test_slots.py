"""Rings of our own: exact accounting under overload, from several processors; what is unfinished or held stays."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.resources import files

import numpy as np
import pytest

from tracer.kernel.attach import Attached, Mode, attach, bpf, map_update
from tracer.kernel.btf import KernelTypes
from tracer.kernel.compile import compile_text
from tracer.kernel.image import Loaded
from tracer.kernel.ring import HEADER_BYTES, PerCpu, Tallies, possible_cpus
from tracer.kernel.slots import TURNS, Slots, map_entries, slots_of
from tracer.kinds import STRIDE, Ring

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="elsewhere stores may overtake each other"),
]

NAMES = {ring: f"{ring.name.lower()}_ring" for ring in (Ring.SMALL, Ring.OBJECT, Ring.SOCKET)}
SIZES = dict.fromkeys(NAMES, 16384)
DEFINES = "".join(
    f"#define {ring.name} {int(ring)}\n#define {ring.name}_BODY {STRIDE[ring] - HEADER_BYTES}\n" for ring in NAMES
)
TEXT = """
#define OWN_RINGS 1
#define UNLIKELY(x) (x)
%s
%s
int each(volatile u64 *ctx)
{
    u64 *e = small_record();
    if (!e)
        return lost(SMALL);
    e[0] = bpf_ktime_get_ns();
    e[1] = ctx[1];
    e[2] = bpf_get_current_pid_tgid() >> 32;
    small_done(e);
    return 0;
}
"""
GETPPID = 110


@pytest.fixture
def loaded() -> Iterator[Loaded]:
    ring = (files("tracer.kernel") / "text" / "ring.c").read_text(encoding="utf-8")
    maps = Loaded(compile_text(TEXT % (DEFINES, ring)), entries=map_entries(SIZES, NAMES))
    yield maps
    maps.close()


@pytest.fixture
def slots(loaded: Loaded) -> Iterator[Slots]:
    mapped = Slots(loaded.map_fd("turns"), {ring: loaded.map_fd(name) for ring, name in NAMES.items()}, SIZES)
    yield mapped
    mapped.close()


def _on_every_call(loaded: Loaded, mode: Mode = Mode.TP_BTF) -> Attached:
    prototype = KernelTypes().tracepoint("sys_enter")
    assert prototype is not None
    return attach("each", "sys_enter", loaded.program("each"), mode, prototype.btf_id)


def _all(slots: Slots, most: int | None = None) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    return [slots.drain(Ring.SMALL, cpu, most)[0] for cpu in slots.news(Ring.SMALL)]


@pytest.mark.parametrize("mode", list(Mode), ids=lambda mode: mode.value)
def test_written_and_lost_are_the_run_count(mode: Mode, loaded: Loaded, slots: Slots) -> None:
    """Every call of the machine, from several processes, into a ring that is far too small."""
    statistics = bpf(32, struct.pack("<I", 0))  # BPF_ENABLE_STATS, BPF_STATS_RUN_TIME: while this descriptor is open
    program = _on_every_call(loaded, mode)
    busy = [sys.executable, "-c", "import os\nfor _ in range(60000): os.getppid()"]
    workers = [subprocess.Popen(busy) for _ in range(3)]
    drained = 0
    while any(worker.poll() is None for worker in workers):
        drained += sum(map(len, _all(slots)))
    os.close(program.link_fd)  # detached; the program and its counters are still there
    program.link_fd = -1
    drained += sum(map(len, _all(slots)))
    lost, runs = Tallies(loaded.map_fd("tallies")).read(int(Ring.SMALL)).lost, program.runs()
    program.close()
    os.close(statistics)
    written = slots.written(Ring.SMALL)
    slots.close()
    assert lost > 0 and written == slots.written(Ring.SMALL) > 0
    assert drained == written
    assert written + lost == runs["run_cnt"] >= 180_000


def test_rows_are_copies_in_order_around_the_ring(loaded: Loaded, slots: Slots) -> None:
    room = slots_of(Ring.SMALL, SIZES[Ring.SMALL], possible_cpus())
    program = _on_every_call(loaded)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))} if (before := os.sched_getaffinity(0)) else set())
    parts = []
    for turn in range(200):
        for _ in range(room // 4):
            os.getppid()
        parts.extend(_all(slots, None if turn % 3 else room // 3))
    os.sched_setaffinity(0, before)
    program.close()
    parts.extend(_all(slots))
    rows = np.concatenate(parts).view(np.uint64)
    mine = rows[(rows[:, 2] == os.getpid()) & (rows[:, 1] == GETPPID)]
    lost = Tallies(loaded.map_fd("tallies")).read(int(Ring.SMALL)).lost
    assert rows.shape[1] == (STRIDE[Ring.SMALL] - HEADER_BYTES) // 8
    assert 200 * (room // 4) - lost <= len(mine) <= 200 * (room // 4)
    assert np.all(np.diff(mine[:, 0].astype(np.int64)) > 0)


def test_nothing_is_overwritten_that_was_not_taken(loaded: Loaded, slots: Slots) -> None:
    room = slots_of(Ring.SMALL, SIZES[Ring.SMALL], possible_cpus())
    program = _on_every_call(loaded)
    for _ in range(room + 100):
        os.getppid()
    program.close()
    full = max((slots.drain(Ring.SMALL, cpu)[0] for cpu in slots.news(Ring.SMALL)), key=len)
    assert len(full) == room
    assert np.all(np.diff(full.view(np.uint64)[:, 0].astype(np.int64)) > 0)
    assert slots.news(Ring.SMALL) == []


def _put(loaded: Loaded, cpu: int, given: int, numbers: list[int]) -> None:
    """Slots of a processor as programs would have left them: numbers, each record all bytes the number."""
    room = slots_of(Ring.OBJECT, SIZES[Ring.OBJECT], possible_cpus())
    for i, number in enumerate(numbers):
        value = struct.pack("<I", number) + bytes([number & 255]) * (STRIDE[Ring.OBJECT] - 4)
        map_update(loaded.map_fd("object_ring"), struct.pack("<I", cpu * room + i), value)
    turn = struct.pack("<16Q", given, room, cpu * room, *([0] * 13))
    map_update(loaded.map_fd("turns"), struct.pack("<I", TURNS * cpu + int(Ring.OBJECT)), turn)


def test_what_is_still_written_holds_up_what_is_behind_it(loaded: Loaded, slots: Slots) -> None:
    _put(loaded, 0, 4, [1, 2, 3 | 1 << 31, 4])
    rows, left = slots.drain(Ring.OBJECT, 0)
    assert (rows[:, 0].tolist(), left) == ([1, 2], True)
    assert slots.news(Ring.OBJECT) == [0]
    room = slots_of(Ring.OBJECT, SIZES[Ring.OBJECT], possible_cpus())
    assert room > 4
    value = struct.pack("<I", 3) + bytes([3]) * (STRIDE[Ring.OBJECT] - 4)
    map_update(loaded.map_fd("object_ring"), struct.pack("<I", 2), value)
    rows, left = slots.drain(Ring.OBJECT, 0)
    assert (rows[:, 0].tolist(), left, slots.news(Ring.OBJECT)) == ([3, 4], False, [])


def test_a_slot_of_the_round_before_is_no_record_yet(loaded: Loaded, slots: Slots) -> None:
    _put(loaded, 0, 2, [1, 0])
    rows, left = slots.drain(Ring.OBJECT, 0)
    assert (len(rows), left) == (1, True)


def test_what_is_held_stays_with_all_behind_it(loaded: Loaded, slots: Slots) -> None:
    _put(loaded, 0, 4, [1, 2, 3, 4])
    rows, left = slots.drain(Ring.OBJECT, 0, hold=lambda rows: rows[:, 0] == 3)
    assert (rows[:, 0].tolist(), left) == ([1, 2], True)
    rows, left = slots.drain(Ring.OBJECT, 0, most=1)
    assert (rows[:, 0].tolist(), left) == ([3], True)
    assert slots.drain(Ring.OBJECT, 0)[0][:, 0].tolist() == [4]


def test_sizes_are_shared_by_the_processors() -> None:
    whole = (64 << 20) // STRIDE[Ring.SOCKET]
    assert [slots_of(Ring.SOCKET, 64 << 20, cpus) for cpus in (1, 2, 4)] == [whole, whole, whole // 2]
    assert slots_of(Ring.SOCKET, 64 << 20, 256) == slots_of(Ring.SOCKET, 64 << 20, 32) == whole // 16
    assert slots_of(Ring.OBJECT, 1, 8) == 1


def test_drained_while_they_are_written_nothing_is_missed_or_seen_twice(loaded: Loaded, slots: Slots) -> None:
    program = _on_every_call(loaded)
    stop = threading.Event()
    found = 0

    def count() -> None:
        nonlocal found
        while not stop.is_set():
            found += sum(map(len, _all(slots)))

    reader = threading.Thread(target=count)
    reader.start()
    subprocess.run([sys.executable, "-c", "import os\nfor _ in range(20000): os.getppid()"], check=True, timeout=60)
    program.close()
    stop.set()
    reader.join()
    found += sum(map(len, _all(slots)))
    assert found == slots.written(Ring.SMALL)


def test_words_of_a_per_cpu_map(loaded: Loaded) -> None:
    program = _on_every_call(loaded)
    for _ in range(5000):
        os.getppid()
    program.close()
    words = PerCpu(loaded.map_fd("tallies"), 8).read()
    assert words.shape == (possible_cpus(), 1) and loaded.value_size("tallies") == 8
