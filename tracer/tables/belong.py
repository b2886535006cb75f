"""Which sockets of a table belong to whom: to processes and what they fork, to cgroups.

The table names the inode of a socket's file and the cgroup it was made in, but no process. So the descriptors of the
processes are looked through, again whenever the table shows an inode that is not known yet. A socket without a file is
not accepted yet (its listener's port tells whose it is), or closed by its process and known from before; one that
nobody has seen with a file belongs to nobody here.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Final

from tracer.states import State
from tracer.tables import diag
from tracer.tables.adopt import owners
from tracer.tables.changes import Owner

CGROUP_ID: Final = 21
"""INET_DIAG_CGROUP_ID, since Linux 5.9."""
_PROC: Final = Path("/proc")


class Family:
    """Processes and their descendants, those included whose parent has ended since they were met."""

    def __init__(self, roots: Iterable[int], *, themselves: bool = True) -> None:
        """`themselves` False: only what the roots fork, not they themselves."""
        self._roots = frozenset(roots)
        self._themselves = themselves
        self._met: set[int] = set(self._roots)

    def __call__(self) -> set[int]:
        """Those alive now."""
        parents: dict[int, int] = {}
        for name in os.listdir(_PROC):  # noqa: PTH208 - names only
            if name.isdigit():
                with contextlib.suppress(OSError, ValueError):
                    after = (_PROC / name / "stat").read_text().rsplit(")", 1)[1].split()
                    if after[0] not in "ZX":
                        parents[int(name)] = int(after[1])
        self._met &= parents.keys() | self._roots
        fresh = {0}
        while fresh:
            fresh = {pid for pid, parent in parents.items() if parent in self._met and pid not in self._met}
            self._met |= fresh
        alive = self._met & parents.keys()
        return alive if self._themselves else alive - self._roots


class Holders:
    """Whose descriptor a socket's file is."""

    def __init__(self, pids: Callable[[], Collection[int]] | None = None, pause: float = 0.002) -> None:
        """`pids` tells the processes to look through, None: all that may be looked into. `pause`: seconds between two
        searches at least."""
        self._pids, self._pause = pids, pause
        self._found: dict[int, Owner] = {}
        self._searched = 0.0

    def owner(self, inode: int) -> Owner | None:
        """(process, descriptor) of the first that has it; None when none has."""
        if inode not in self._found and time.monotonic() - self._searched >= self._pause:
            self._found = owners(None if self._pids is None else self._pids())
            self._searched = time.monotonic()
        return self._found.get(inode)


class OfProcesses:
    """Chooses the sockets that certain processes hold, and those that wait in their listeners' queues."""

    def __init__(self, holders: Holders) -> None:
        self._holders = holders
        self._listening: set[bytes] = set()

    def __call__(self, message: bytes) -> bool:
        """Whether a socket that is seen for the first time, or was not chosen before, is theirs."""
        inode = int.from_bytes(message[diag.INODE], sys.byteorder)
        if not inode:
            return message[diag.SPORT] in self._listening
        if self._holders.owner(inode) is None:
            return False
        if message[1] == State.LISTEN:
            self._listening.add(message[diag.SPORT])
        return True


class OfCgroup:
    """Chooses the sockets that were made in a cgroup (version 2) or in one inside it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ids: dict[int, bool] = {}

    def __call__(self, message: bytes) -> bool:
        """Whether the socket was."""
        told = diag.attributes(message).get(CGROUP_ID, b"")
        if len(told) < 8:
            return False
        (number,) = struct.unpack_from("=Q", told)
        if number not in self._ids:
            here = {Path(folder).stat().st_ino for folder, _, _ in os.walk(self._folder)}
            self._ids[number] = number in here
        return self._ids[number]
