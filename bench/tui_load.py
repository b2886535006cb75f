"""How quickly the screen answers: first paint, key to frame, frames under a flood and when scrolled, idle, memory.

    python bench/tui_load.py [PART ...] [--rate 100000] [--seconds 8] [--size 160x48] [--capture FILE]

Parts: `made` (a thread in the screen's process appends events at the rate, to one connection), `many` (the same to ten
thousand connections), `live` (probes and a real load that makes events at the rate; root), `idle` (probes, and nothing
happens; root), `recording` (a million real events are recorded and scrolled; root), `capture` (the 10.2 million packets
that bench/replay.py builds, or FILE). Default: all that these rights allow. The screen runs on a pseudo terminal and is
timed from outside, each number stands beside its target. The machine's load is printed: on a busy one look at processor
time.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

from terminal import Stay, Terminal, bare, cpu, memory, painting  # noqa: E402

PERIOD: Final = 0.01
"""Seconds between two batches, as a live session pumps."""
MANY: Final = 10_000
"""Connections."""
EVENTS: Final = 1_000_000
"""In a recording."""
KEYS: Final = ((" ", "PAUSED"), (" ", "LIVE"), ("]", "#2"), ("[", "#1"))
"""Keys and what tells that they were answered: hold, go on, another connection, back."""
PAGES: Final = 120
"""Keys that are pressed to scroll."""
PAGE_DOWN, PAGE_UP, HOME = "\x1b[6~", "\x1b[5~", "\x1b[H"
BACK_AND_FORTH: Final = [*[PAGE_DOWN] * 30, *[PAGE_UP] * 30]


class Answer(NamedTuple):
    """A key was answered."""

    seconds: float
    cpu: float
    """Processor seconds of the thread that paints."""


def asked(screen: Terminal, key: str, answer: str = "") -> Answer:
    """Press the key."""
    before = painting(screen.pid)
    return Answer(screen.press(key, answer), painting(screen.pid) - before)


class Table:
    """Measured against asked, a line at a time."""

    def __init__(self) -> None:
        self.missed = 0

    def part(self, name: str) -> None:
        """A heading."""
        print(f"\n{name}  (load {os.getloadavg()[0]:.1f})", flush=True)

    def row(self, name: str, value: float, unit: str, target: float | None = None, *, least: bool = False) -> None:
        """One number; ``target`` is the most that is asked for, the least with ``least``."""
        words = ""
        if target is not None:
            met = value >= target if least else value <= target
            self.missed += not met
            words = f"{'at least' if least else 'at most'} {target:g}".ljust(16) + ("met" if met else "NOT MET")
        print(f"  {name:<46}{value:>10,.1f} {unit:<9}{words}".rstrip(), flush=True)

    def keys(self, name: str, times: Sequence[Answer], target: float = 100.0) -> None:
        """Key to frame, in ms."""
        ms = sorted(1000 * t.seconds for t in times)
        self.row(f"{name}, median of {len(ms)}", statistics.median(ms), "ms")
        self.row(f"{name}, 95 %", ms[round(0.95 * (len(ms) - 1))], "ms", target)
        self.row(f"{name}, longest", ms[-1], "ms")
        self.row(f"{name}, processor, 95 %", 1000 * sorted(t.cpu for t in times)[round(0.95 * (len(times) - 1))], "ms")

    def frames(self, stay: Stay, target: float) -> None:
        """Frames a second and what they cost."""
        self.row("frames", stay.rate, "a second", target, least=True)
        self.row("longest wait for a frame", 1000 * stay.longest, "ms")
        self.row("processor", 100 * stay.share, "% of one")


def flood(rate: int, seconds: float, connections: int) -> None:
    """The process under test: the screen over a timeline that a thread fills after a second."""
    import numpy as np

    from tests.tui.stories import START, C, Story, V, half_close
    from tracer.batch import Batch
    from tracer.segments import ACK, PSH
    from tracer.states import State
    from tui.app import SynfinApp
    from tui.cli_signals import show
    from tui.feed import StillFeed

    story = Story()
    half_close(story, 1)
    half_close(story, 2)
    timeline = story.onto()
    for conn in range(3, connections + 1):
        story.state(2500, conn, C, State.CLOSE, State.SYN_SENT)
        story.state(2500.1, conn, C, State.SYN_SENT, State.ESTABLISHED)
    if connections > 2:
        timeline.append(story.builder.take())
    for i in range(max(round(rate * PERIOD) // 4, 1)):
        story.packet(3000 + i * 0.001, 1, C if i % 2 else V, PSH | ACK, 2000 + i, 6000, 1)
    unit = story.builder.take()
    feed = StillFeed(timeline, finished=False)

    def fill() -> None:
        time.sleep(1.0)
        # The batch carries `len(unit)` events; the pace follows the clock, so that a late thread catches up.
        begin, sent = time.monotonic(), 0
        while (now := time.monotonic() - begin) < seconds:
            while sent < now * rate:
                heads = unit.heads.copy()
                heads["time"] = START + 3_000_000_000 + int(now * 1e9) + np.arange(len(heads))
                heads["conn"] = 1 + (sent + np.arange(len(heads))) // 2 % connections
                timeline.append(Batch(heads, unit.tables, unit.strings))
                sent += len(heads)
            time.sleep(PERIOD)

    threading.Thread(target=fill, daemon=True).start()
    show(SynfinApp(feed, title="flood"))


def synfin(*words: str) -> None:
    """Become the command."""
    os.chdir(ROOT)
    os.execv(sys.executable, [sys.executable, "-m", "tui.cli", *words])


def pressed(screen: Terminal, seconds: float, keys: Sequence[tuple[str, str]] = KEYS) -> list[Answer]:
    """Press the keys again and again, at odd moments, while whatever goes on goes on."""
    times: list[Answer] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until or len(times) % len(keys):
        screen.stay(random.uniform(0.05, 0.2))
        times.append(asked(screen, *keys[len(times) % len(keys)]))
    return times


def made(table: Table, rate: int, seconds: float, size: tuple[int, int], connections: int = 1) -> None:
    """A flood of made-up events, then nothing."""
    table.part(f"{rate:,} made-up events a second, {connections:,} connection{'s' * (connections != 1)}")
    with Terminal(partial(flood, rate, seconds * 2 + 4, connections), size) as screen:
        table.row("first paint, from fork, imports included", 1000 * screen.until("flood"), "ms", 1000)
        screen.stay(2.5)
        table.frames(screen.stay(seconds), 15)
        table.keys("key to frame in the flood", pressed(screen, seconds))
        screen.stay(5.0 if connections == 1 else 10.0)  # the flood has ended, and been taken in
        table.row("idle live, processor", 100 * screen.stay(6.0).share, "% of one", 1.0)
        if connections == 1:
            screen.press(HOME)
            scrolled(table, screen, "pages of that connection", BACK_AND_FORTH)
        table.row("memory, most", memory(screen.pid), "MB")


@contextmanager
def loaded(rate: int) -> Iterator[list[str]]:
    """Processes that make so many events a second, as words that select them."""
    import ring

    with ring.workers(rate / ring._events_per_echo()) as pids:
        yield [word for pid in pids for word in ("--pid", str(pid))]


def live(table: Table, rate: int, seconds: float, size: tuple[int, int]) -> None:
    """Probes, a real load, the screen on it."""
    table.part(f"{rate:,} events a second from probes")
    with loaded(rate) as chosen, Terminal(partial(synfin, "trace", *chosen), size) as screen:
        table.row("first events drawn", 1000 * screen.until("lost"), "ms")
        screen.stay(2.0)
        table.frames(screen.stay(seconds), 15)
        table.keys("key to frame in the flood", pressed(screen, seconds))
        told = re.findall(r"([\d,]+) ev/s\s+([\d,]+) lost", bare(screen.seen))
        rates, lost = zip(*((int(a.replace(",", "")), int(b.replace(",", ""))) for a, b in told), strict=True)
        table.row("events, by the header", statistics.median(rates), "a second", 0.9 * rate, least=True)
        table.row("events lost", max(lost), "", 0)
        table.row("memory, most", memory(screen.pid), "MB")


def idle(table: Table, size: tuple[int, int]) -> None:
    """Probes on, and nothing happens."""
    table.part("a live trace of a port that nobody uses")
    with Terminal(partial(synfin, "trace", "--port", "1"), size) as screen:
        screen.until("lost")
        screen.stay(16.0)  # it rests
        table.row("idle live, processor", 100 * screen.stay(15.0).share, "% of one", 1.0)


def scrolled(table: Table, screen: Terminal, name: str, keys: Sequence[str]) -> None:
    """Keys as fast as they are answered, then thirty a second."""
    times = [asked(screen, keys[i % len(keys)]) for i in range(PAGES)]
    table.keys(f"{name}: key to frame", times)
    stay = screen.stay(4.0, keys, 1 / 30)
    table.row(f"{name}: frames at 30 keys a second", stay.rate, "a second", 28.5, least=True)
    table.row(f"{name}: processor for a frame", 1000 * stay.cpu / max(stay.frames, 1), "ms", 1000 / 30)


def recording(table: Table, rate: int, size: tuple[int, int]) -> None:
    """Record a million events of a real load, open and scroll them."""
    with tempfile.TemporaryDirectory(prefix="synfin-bench-") as folder:
        file = Path(folder) / "load.pcapng"
        with loaded(rate) as chosen:
            words = [sys.executable, "-m", "tui.cli", "record", "-w", str(file), *chosen]
            words += ["--duration", f"{1.05 * EVENTS / rate + 1:.1f}"]
            subprocess.run(words, check=True, cwd=ROOT, capture_output=True)
        events = _events(file)
        table.part(f"a recording of {events:,} events, {file.stat().st_size / 1e6:,.0f} MB")
        with Terminal(partial(synfin, "replay", str(file)), size) as screen:
            table.row("first screen, from exec", 1000 * screen.until("synfin"), "ms", 1000)
            opened(table, screen)
            for _ in range(4):  # the first connections had begun before the recording, and soon ended
                screen.press("]")
            scrolled(table, screen, "pages", BACK_AND_FORTH)
            scrolled(table, screen, "connections", ["]", "["])
            table.row("idle, processor", 100 * screen.stay(5.0).share, "% of one", 1.0)
            table.row("memory, most", memory(screen.pid), "MB")


def _events(file: Path) -> int:
    from tracer.recording.writer import JOURNAL, PACKET

    events = 0
    with file.open("rb", 1 << 20) as blocks:
        while head := blocks.read(8):
            kind, length = struct.unpack("<II", head)
            blocks.seek(length - 8, 1)
            events += kind in (JOURNAL, PACKET)
    return events


def opened(table: Table, screen: Terminal) -> None:
    """Wait until all has been read."""
    screen.until("REPLAY", 300)
    while screen.stay(2.0).frames > 2:  # rows are merged, connections listed
        pass
    table.row("all of it read", time.monotonic() - screen.began - 2, "s")
    table.row("all of it read, processor", cpu(screen.pid), "s")


def capture(table: Table, file: Path | None, size: tuple[int, int]) -> None:
    """Ten million packets, by connection."""
    with tempfile.TemporaryDirectory(prefix="synfin-bench-") as folder:
        if file is None:
            file = Path(folder) / "mixed-x11.pcap"
            subprocess.run(
                [sys.executable, str(ROOT / "bench/replay.py"), "--packets", "10", "--multiply", str(file)], check=True
            )
        table.part(f"a capture of {file.stat().st_size / 1e6:,.0f} MB")
        with Terminal(partial(synfin, "replay", str(file)), size) as screen:
            table.row("first screen, from exec", 1000 * screen.until("SYN"), "ms", 1000)
            opened(table, screen)
            scrolled(table, screen, "connections", ["]"])
            screen.press("o")
            scrolled(table, screen, "overview alone, pages", [PAGE_DOWN])
            table.row("idle, processor", 100 * screen.stay(5.0).share, "% of one", 1.0)
            table.row("memory, most", memory(screen.pid), "MB")


def main() -> None:
    """Run the parts that were asked for; exit code 1 where a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*")
    parser.add_argument("--rate", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--size", default="160x48")
    parser.add_argument("--capture", type=Path)
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    size, table = (width, height), Table()
    known: dict[str, Callable[[], None]] = {
        "made": partial(made, table, given.rate, given.seconds, size),
        "many": partial(made, table, given.rate, given.seconds, size, MANY),
        "live": partial(live, table, given.rate, given.seconds, size),
        "idle": partial(idle, table, size),
        "recording": partial(recording, table, given.rate, size),
        "capture": partial(capture, table, given.capture, size),
    }
    rights = os.geteuid() == 0
    for part in given.parts or [name for name in known if rights or name not in ("live", "idle", "recording")]:
        known[part]()
    print(f"\n{table.missed} targets missed" if table.missed else "\nall targets met")
    sys.exit(table.missed > 0)


if __name__ == "__main__":
    main()
