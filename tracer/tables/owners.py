"""Whose socket is it: from the inode of a socket's file to a process and a descriptor.

The table names a socket's inode; /proc/PID/fd/N of its owner is a link to `socket:[inode]`. One has to look through the
descriptors of all processes that may be it, as ss -p does, and may look into one's own only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def find(inode: int, pids: Iterable[int], proc: Path = Path("/proc")) -> tuple[int, int] | None:
    """(process, descriptor) of the first of `pids` that has the socket, None when none has or may be asked."""
    wanted = f"socket:[{inode}]"
    for pid in pids:
        try:
            descriptors = sorted(int(name) for name in os.listdir(proc / str(pid) / "fd"))  # noqa: PTH208 - names only
        except OSError:
            continue
        for fd in descriptors:
            try:
                if os.readlink(proc / str(pid) / "fd" / str(fd)) == wanted:  # noqa: PTH115 - a link to no path
                    return pid, fd
            except OSError:
                continue
    return None
