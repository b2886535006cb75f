"""How the screen bears a flood, and what it costs when nothing happens.

The screen runs as a process of its own on a pseudo terminal, as for a user, and is measured from outside: a frame is a
burst of output (Textual brackets each by the synchronized-output mode, DEC private mode 2026), processor time comes
from /proc. A thread in that process appends events of one connection at a steady rate (first phase), then nothing
(second phase). Pilot is no frame timer, hence the terminal.

    python bench/tui_load.py [--rate 100000] [--seconds 5] [--size 160x48]
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

FRAME = b"\x1b[?2026h"
PERIOD = 0.01
"""Seconds between two batches, as a live session pumps."""


def flood(rate: int, seconds: float) -> None:
    """The process under test: the screen over a timeline that a thread fills."""
    import numpy as np

    from tests.tui.stories import START, C, Story, V, half_close
    from tracer.batch import Batch
    from tracer.segments import ACK, PSH
    from tui.app import SynfinApp
    from tui.feed import StillFeed

    story = Story()
    half_close(story, 1)
    timeline = story.onto()
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
                timeline.append(Batch(heads, unit.tables, unit.strings))
                sent += len(heads)
            time.sleep(PERIOD)

    threading.Thread(target=fill, daemon=True).start()
    SynfinApp(feed, title="flood").run()


def cpu(pid: int) -> float:
    """Processor seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> int:
    """Resident memory in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


def watch(fd: int, pid: int, seconds: float, keys: bytes = b"") -> tuple[int, float, float]:
    """Frames, processor seconds and the longest time without a frame (s) within `seconds`."""
    begin, used, frames = time.monotonic(), cpu(pid), 0
    last, longest = begin, 0.0
    if keys:
        os.write(fd, keys)
    while (rest := begin + seconds - time.monotonic()) > 0:
        if select.select([fd], [], [], rest)[0]:
            found = os.read(fd, 1 << 20).count(FRAME)
            if found:
                now = time.monotonic()
                longest, last = max(longest, now - last), now
                frames += found
    return frames, cpu(pid) - used, longest


def main() -> None:
    """Run both phases and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--size", default="160x48")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    began = time.monotonic()
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
        time.sleep(0.05)
        flood(options.rate, options.seconds)
        os._exit(0)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    try:
        seen = b""
        while b"flood" not in seen:
            seen += os.read(fd, 1 << 16)
            if b"2026$p" in seen:
                os.write(fd, b"\x1b[?2026;2$y")  # yes, this terminal can synchronize output
                seen = seen.replace(b"2026$p", b"")
        print(f"first paint      {time.monotonic() - began:5.2f} s from fork (imports included)")
        watch(fd, pid, 1.5)
        frames, used, longest = watch(fd, pid, options.seconds - 1.0)
        span = options.seconds - 1.0
        print(f"{options.rate:,} events/s  {frames / span:5.1f} frames/s, longest wait {longest * 1000:.0f} ms,"
              f" {100 * used / span:.0f} % of a core (source included), {memory(pid)} MB")  # fmt: skip
        watch(fd, pid, 2.0)
        frames, used, _ = watch(fd, pid, 5.0)
        print(f"idle live        {frames / 5:5.1f} frames/s, {100 * used / 5:.1f} % of a core")
        watch(fd, pid, 0.5, b" ")
        frames, used, _ = watch(fd, pid, 5.0)
        print(f"paused           {frames / 5:5.1f} frames/s, {100 * used / 5:.1f} % of a core")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
