"""How long a person waits: from exec of the command to its first event on an 80x24 terminal, in seconds.

    python bench/first_event.py [RUNS] [COMMAND ...]      default: 5 runs of `run half-close`

A pseudo-terminal stands in for the person's; the clock starts before exec and stops when the text of the scenario's
first step has arrived. The median and the range are printed, and beside them the same for `python -c "import textual"`:
what any Textual program pays at least on this machine at this moment.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import statistics
import struct
import subprocess
import sys
import termios
import time
from typing import Final

GIVE_UP: Final = 15.0
FIRST: Final = b"opens its door"


def wait_for(text: bytes, command: list[str]) -> float:
    """Seconds until ``text`` is on the terminal of ``command``."""
    began = time.monotonic()
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
        os.execv(sys.executable, [sys.executable, "-m", "tui.cli", *command])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    seen = b""
    try:
        while time.monotonic() - began < GIVE_UP:
            if select.select([terminal], [], [], 0.05)[0]:
                seen += os.read(terminal, 65536)
                if text in seen:
                    return time.monotonic() - began
        raise TimeoutError(f"nothing after {GIVE_UP} s; the terminal shows {seen[-200:]!r}")
    finally:
        os.kill(pid, signal.SIGTERM)
        while select.select([terminal], [], [], 1.0)[0]:  # let it say good-bye, or it would block on a full terminal
            try:
                if not os.read(terminal, 65536):
                    break
            except OSError:
                break
        os.waitpid(pid, 0)
        os.close(terminal)


def importing() -> float:
    """Seconds that a bare import of textual's App takes, interpreter included."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import textual.app"], check=True)
    return time.monotonic() - began


def main() -> None:
    """Run and print."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    command = sys.argv[2:] or ["run", "half-close"]
    ours, theirs = [], []
    for _ in range(runs):
        theirs.append(importing())
        ours.append(wait_for(FIRST, command))
    for name, times in ((f"synfin {' '.join(command)}", ours), ("import textual.app", theirs)):
        print(f"{name:<40} median {statistics.median(times):.2f} s  range {min(times):.2f}-{max(times):.2f} s")
    print(f"{'ratio of medians':<40} {statistics.median(ours) / statistics.median(theirs):.1f}")


if __name__ == "__main__":
    main()
