"""What /proc tells about an actor's process: does it sleep, does it listen, which program is it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

TCP_LISTEN: Final = "0A"
_FRAME: Final = re.compile(r'File "(?P<file>.*)", line (?P<line>\d+) in (?P<function>\S+)')


def thread_state(pid: int) -> str:
    """The scheduler's letter for a process's first thread (proc_pid_stat(5)), empty when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return ""
    return stat[stat.rindex(b")") + 2 :][:1].decode()


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
