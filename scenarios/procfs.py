"""What /proc tells about an actor's process: does it sleep, does it listen, which program is it."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Final

TCP_LISTEN: Final = "0A"
REST_SECONDS: Final = 0.02
"""How long all threads must be asleep to count as being at rest."""
TICK: Final = 1
"""Turns on a processor between two looks that are no work: a runtime's clock (Go's sysmon). Work that passes from one
thread to another takes more."""
_FRAME: Final = re.compile(r'File "(?P<file>.*)", line (?P<line>\d+) in (?P<function>\S+)')


def thread_state(pid: int) -> str:
    """The scheduler's letter for a process's first thread (proc_pid_stat(5)), empty when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return ""
    return stat[stat.rindex(b")") + 2 :][:1].decode()


def turns(pid: int) -> int | None:
    """How often the threads of a process have been on a processor, all together; None unless every one is asleep."""
    total = 0
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            stat = (thread / "stat").read_bytes()
            if stat[stat.rindex(b")") + 2 :][:1] != b"S":
                return None
            total += int((thread / "schedstat").read_bytes().split()[2])  # time on a processor, time waiting, turns
    except OSError:
        return None
    return total


class AtRest:
    """Asked again and again: has a process come to rest? All threads asleep for a while, and hardly one has run."""

    def __init__(self, pid: int) -> None:
        self._pid, self._since = pid, time.monotonic()
        self._before: int | None = None

    def __call__(self) -> bool:
        """Look once more."""
        now, before = turns(self._pid), self._before
        if now is None or before is None or now - before > TICK:
            self._since = time.monotonic()
        self._before = now
        return now is not None and time.monotonic() - self._since >= REST_SECONDS


def listens(pid: int, port: int) -> bool:
    """Whether somebody listens on a port in the network of a process."""
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if words[3] == TCP_LISTEN and int(words[1].rpartition(":")[2], 16) == port:
                return True
    return False


def runs(pid: int, argv: list[str]) -> bool:
    """Whether a process is that program by now."""
    try:
        found = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return False
    return found[1:] == [word.encode() for word in argv[1:]]


def place_of(trace: list[str], script: str) -> str:
    """Where a process is, from faulthandler's lines (innermost first): the call, and the line of the script."""
    frames = [match for match in map(_FRAME.search, trace) if match]
    line = next((frame["line"] for frame in frames if frame["file"] == script), "")
    call = ""
    for frame in frames:
        if frame["file"] == script:
            break
        if "/scenarios/calls/" in frame["file"] or frame["file"].endswith("/scenarios/peer.py"):
            call = frame["function"]
    return " in ".join(filter(None, (call, f"line {line} of the script" if line else "")))
