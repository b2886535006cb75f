"""How many events a second go through the rings, and through to the disk: what is lost, and what it costs.

    python bench/ring.py drain [SECONDS]            rings drained and nothing else, at several sizes of the rings
    python bench/ring.py record [SECONDS [RATE]]    `synfin record -w FILE` under RATE events a second (60 s, 200,000)
    python bench/ring.py layers [EVENTS]            where the processor time of recording goes, layer by layer

The load is made by bench/load.c, compiled here where there is a C compiler: two processes that echo between sockets of
their own and ask empty ones. Else processes of this file's own echo, wait by epoll and connect anew every twentieth
time, which needs a multiple of the processor. `drain` has them run as fast as they can, `record` paces them, a little
above the rate. Written and lost are the probes' own counts; the recording is read again, its events are counted, and
the rate is that from its first event to its last, and that of its slowest whole second. Processor time is what the
kernel charges to the recording process (rusage), so it hardly depends on what else the machine does; only probes run on
the load's account.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tracer.batch import Batch
from tracer.kernel.rings import DEFAULT_BYTES
from tracer.kernel.source import Filter, KernelSource
from tracer.kinds import STRIDE, Ring
from tracer.recording.writer import INTERFACE, JOURNAL, PACKET, SECTION, STATISTICS, Recorder
from tracer.session import RECORDING_PERIOD, Session

WORKERS: Final = 2
ABOVE: Final = 1.06
"""What is offered by what is asked for: the load's pace and the events of an echo are not exact."""
SIZES: Final = (1 << 16, 1 << 18, 1 << 20, 1 << 22)


def load(echoes: float) -> None:
    """Echo so often a second (0: as often as possible) until standard input ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener, select.epoll() as epoll:
        began, done = time.monotonic(), 0
        while not select.select([sys.stdin], [], [], 0)[0]:
            client = socket.create_connection(listener.getsockname())
            server, _ = listener.accept()
            with client, server:
                epoll.register(server, select.EPOLLIN)
                for _ in range(20):
                    client.send(b"a question of some bytes")
                    epoll.poll()
                    server.send(server.recv(100))
                    client.recv(100)
                epoll.unregister(server)
            done += 20
            if echoes and (ahead := done / echoes - (time.monotonic() - began)) > 0.002:
                time.sleep(ahead)


@contextlib.contextmanager
def workers(echoes: float) -> Iterator[list[int]]:
    """Processes under load, by id; they end with the block."""
    made = _compiled()
    command = [made] if made else [sys.executable, __file__, "load"]
    command.append(str(echoes / WORKERS))
    started = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(WORKERS)]
    try:
        time.sleep(0.3)
        yield [process.pid for process in started]
    finally:
        for process in started:
            assert process.stdin
            process.stdin.close()
        for process in started:
            process.wait(10)


@functools.cache
def _compiled() -> str | None:
    """bench/load.c as a program; None without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    folder = tempfile.mkdtemp(prefix="synfin-bench-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if compiler is None:
        return None
    program = f"{folder}/load"
    source = Path(__file__).with_name("load.c")
    return program if subprocess.run([compiler, "-O2", "-o", program, source], check=False).returncode == 0 else None


def drain(seconds: float) -> None:
    """Drain rings of several sizes, a hundred times a second."""
    print(f"{'small ring':>12} {'events/s':>10} {'lost':>9} {'share':>7}  {'drain, us/event':>16}")
    for size in SIZES:
        sizes = {ring: max(size * STRIDE[ring] // STRIDE[Ring.SOCKET] // 4096, 1) for ring in DEFAULT_BYTES}
        pages = {ring: 4096 << (count - 1).bit_length() for ring, count in sizes.items()}
        source = KernelSource(ring_bytes=pages)
        with workers(0) as pids:
            source.start(Filter(processes=frozenset(pids)))
            began, spent = time.monotonic(), time.thread_time()
            while time.monotonic() - began < seconds:
                source.drain()
                time.sleep(0.01)
            took, spent = time.monotonic() - began, time.thread_time() - spent
            source.stop()
        source.drain()
        counts = source.losses()
        tried = counts.written + counts.lost
        print(f"{pages[Ring.SMALL] >> 10:>8} KiB {tried / took:>11,.0f} {counts.lost:>9,} {counts.lost / tried:>7.1%} "
              f"{spent / max(counts.written, 1) * 1e6:>16.2f}")  # fmt: skip


def record(seconds: float, rate: float) -> None:
    """`synfin record` as its own process, under a load that makes `rate` events a second."""
    with tempfile.TemporaryDirectory(prefix="synfin-bench-", dir=os.environ.get("BENCH_DIR")) as folder:
        echoes = ABOVE * rate / _events_per_echo()
        file = Path(folder) / "load.pcapng"
        with workers(echoes) as pids:
            chosen = [word for pid in pids for word in ("--pid", str(pid))]
            command = [sys.executable, "-m", "tui.cli", "record", "-w", str(file), *chosen]
            before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
            recorder = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
            most, loads = 0, 0.0
            while recorder.poll() is None and not (file.exists() and file.stat().st_size > 1 << 20):
                time.sleep(0.01)  # it starts
            under_load = time.monotonic()
            while time.monotonic() - under_load < seconds:
                time.sleep(0.2)
                most, loads = max(most, _resident(recorder.pid)), sum(map(_spent, pids))
            recorder.send_signal(signal.SIGINT)
            words = recorder.communicate(timeout=60)[1]
            took = time.monotonic() - began
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        seconds_of, first, last, written, lost = _count(file)
        events = sum(seconds_of.values())
        whole = sorted(count for second, count in seconds_of.items() if first // 1_000_000 < second < last // 1_000_000)
        print(words.strip())
        print(f"{events:,} events in the file, {written:,} written by probes, {lost:,} lost; from first to last "
              f"{(last - first) / 1e6:.1f} s: {events / (last - first) * 1e6:,.0f} a second, in the slowest of "
              f"{len(whole)} whole seconds {whole[0] if whole else 0:,}")  # fmt: skip
        print(f"{file.stat().st_size / 1e6:,.0f} MB, {file.stat().st_size / max(events, 1):.0f} bytes an event; "
              f"at most {most / 1e6:,.0f} MB of memory")  # fmt: skip
        print(f"processor time of the recorder {spent:.1f} s, {spent / took:.0%} of one processor, "
              f"{spent / max(written, 1) * 1e6:.2f} us an event")  # fmt: skip
        print(f"processor time of the load {loads:.1f} s, {loads / took:.0%} of one processor, probes included")


def _events_per_echo() -> float:
    """Measured for a moment, on one worker's pace that nothing can be lost at."""
    source = KernelSource()
    with workers(200) as pids:
        source.start(Filter(processes=frozenset(pids)))
        before, began = source.losses().written, time.monotonic()
        time.sleep(2)
        events, took = source.losses().written - before, time.monotonic() - began
        source.stop()
    return max(events / took / 200, 1)


def _resident(pid: int) -> int:
    """Bytes of memory."""
    with contextlib.suppress(OSError, ValueError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    return 0


def _spent(pid: int) -> float:
    """Processor seconds of a process."""
    with contextlib.suppress(OSError, ValueError):
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    return 0.0


def _blocks(file: Path) -> Iterator[tuple[int, bytes]]:
    """Kind of each block and the beginning of its body."""
    with file.open("rb", 1 << 20) as blocks:
        while head := blocks.read(8):
            kind, length = struct.unpack("<II", head)
            body = blocks.read(min(length - 8, 64))
            blocks.seek(length - 8 - len(body), 1)
            assert kind in (JOURNAL, PACKET, SECTION, INTERFACE, STATISTICS), hex(kind)
            yield kind, body


def _time(kind: int, body: bytes) -> int:
    """us of an event's block."""
    if kind == PACKET:
        _, high, low = struct.unpack_from("<III", body)
        return int(high) << 32 | int(low)
    return int(body[body.index(b"=") + 1 : body.index(b"\n")])


def _count(file: Path) -> tuple[Counter[int], int, int, int, int]:
    """Events in a recording by second, us of the first and the last, and how many its last block says were written and
    lost."""
    seconds: Counter[int] = Counter()
    first = last = written = lost = 0
    for kind, body in _blocks(file):
        if kind == STATISTICS:
            written, lost = (struct.unpack_from("<Q", body, at)[0] for at in (16, 28))
        elif kind in (JOURNAL, PACKET):
            last = _time(kind, body)
            first = first or last
            seconds[last // 1_000_000] += 1
    return seconds, first, last, written, lost


def layers(events: int) -> None:
    """Drain, put in order, write: the same events through each, in this process."""
    from tracer.recording.compiled import CODE

    CODE.compile()
    from tracer.kernel import weave

    weave.CODE.compile()
    source = KernelSource()
    batches: list[Batch] = []
    with workers(200_000 / _events_per_echo()) as pids:
        source.start(Filter(processes=frozenset(pids)))
        spent = 0.0
        while sum(map(len, batches)) < events:
            time.sleep(RECORDING_PERIOD)
            begun = time.thread_time()
            batches.append(source.drain())
            spent += time.thread_time() - begun
        source.stop()
    count = sum(map(len, batches))
    print(f"{'drained':<28} {spent / count * 1e6:>6.2f} us an event, {count / len(batches):,.0f} events at a time")

    class Again:
        def __init__(self) -> None:
            self.rest = iter(batches)

        def drain(self) -> Batch:
            return next(self.rest)

        def losses(self) -> object:
            return source.losses()

        def stop(self) -> None:
            pass

    class Nowhere:
        def write_batch(self, batch: Batch) -> None:
            pass

    for name, sink in (("and put in order", Nowhere()), ("and written", Recorder("/dev/null"))):
        session = Session([Again()], recorders=[sink], keep=False)  # type: ignore[list-item]
        begun = time.thread_time()
        for _ in batches:
            session.pump()
        print(f"{name:<28} {(spent + time.thread_time() - begun) / count * 1e6:>6.2f} us an event")


def main() -> None:
    """Run what is asked for."""
    what, *numbers = sys.argv[1:] or ["drain"]
    given = [float(number) for number in numbers]
    if what == "load":
        load(given[0])
    elif what == "record":
        record(given[0] if given else 60, given[1] if given[1:] else 200_000)
    elif what == "layers":
        layers(int(given[0]) if given else 500_000)
    else:
        drain(given[0] if given else 2)


if __name__ == "__main__":
    main()
