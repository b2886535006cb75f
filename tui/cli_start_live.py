"""What the start page offers to trace: ports and processes that have TCP sockets now, and what these rights allow.

All of it is read from /proc, where a plain user sees the ports of everybody and the descriptors of his own processes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tui.plain import plain
from tui.screens.start import Entry

_LISTEN: Final = "0A"
_SYSLOG, _PERFMON, _BPF, _SYS_ADMIN, _NET_RAW = 34, 38, 39, 21, 13
"""Numbers of capabilities (include/uapi/linux/capability.h)."""
MOST: Final = 100
"""Processes, and ports, that are listed; `synfin trace --pid` and `--port` take any."""


def rights(proc: Path = Path("/proc")) -> str:
    """What these rights let one see of a live trace, and what is missing, in a sentence."""
    held = 0
    with contextlib.suppress(OSError, ValueError):
        for line in (proc / "self" / "status").read_text().splitlines():
            if line.startswith("CapEff:"):
                held = int(line.split()[1], 16)

    def has(number: int) -> bool:
        return bool(held >> number & 1)

    probes = has(_SYS_ADMIN) or (has(_BPF) and has(_PERFMON))
    if probes and has(_SYSLOG):
        return "These rights are enough for kernel probes: every state, packet, queue and call."
    if probes:
        return "Kernel probes, but without CAP_SYSLOG no request socks, TIME_WAIT objects, timers, epoll readiness."
    if has(_NET_RAW):
        return "No kernel probes (CAP_BPF and CAP_PERFMON are missing): packets captured, sockets sampled."
    return "No rights for probes or packets: sockets are sampled. With sudo everything is seen."


def live(proc: Path = Path("/proc")) -> Iterator[Entry]:
    """The whole machine, then the ports that are listened on, then the processes with TCP sockets."""
    allowed = rights(proc)
    yield Entry("Live", allowed, "this machine", "all TCP, of every process", ("trace", "--all"), allowed)
    sockets = _sockets(proc)
    owners = _owners(proc, {inode for _, _, inode in sockets})
    listening: dict[int, set[str]] = {}
    holding: dict[tuple[int, str], int] = {}
    using: dict[int, int] = {}
    for port, state, inode in sockets:
        who = owners.get(inode)
        if who is not None:
            holding[who] = holding.get(who, 0) + 1
        if state == _LISTEN:
            listening.setdefault(port, set()).update([who[1]] if who else [])
        else:
            using[port] = using.get(port, 0) + 1
    for port in sorted(listening)[:MOST]:
        names = ", ".join(sorted(listening[port])) or "somebody else's process"
        line = f"{names} listens; {using.get(port, 0)} connections"
        yield Entry("Live", allowed, f"port {port}", line, ("trace", "--port", str(port)), allowed)
    for (pid, name), count in sorted(holding.items())[:MOST]:
        line = f"{name}, {count} TCP socket{'s' * (count != 1)}"
        yield Entry("Live", allowed, f"process {pid}", line, ("trace", "--pid", str(pid)), allowed)


def _sockets(proc: Path) -> list[tuple[int, str, int]]:
    """(local port, state in hexadecimal, inode) of the TCP sockets of this network."""
    found = []
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (proc / "self" / "net" / name).read_text().splitlines()[1:]:
                words = line.split()
                found.append((int(words[1].rpartition(":")[2], 16), words[3], int(words[9])))
    return found


def _owners(proc: Path, inodes: set[int]) -> dict[int, tuple[int, str]]:
    """Which process holds each socket (one of them), with its name; those that may not be looked into are left out."""
    found: dict[int, tuple[int, str]] = {}
    for process in proc.iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            for entry in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    target = str(entry.readlink())
                    if target.startswith("socket:[") and int(target[8:-1]) in inodes:
                        name = plain((process / "comm").read_text(errors="replace").strip())
                        found[int(target[8:-1])] = (int(process.name), name)
    return found
