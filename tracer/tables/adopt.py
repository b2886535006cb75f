"""Sockets that were there before the trace: what the socket table said of them when the probes came.

A probe meets a socket when something happens to it; until then the table is all there is to know. The table is read
just before the probes are put on and once more when they are: a socket that is in the same state in both readings was
in it when the probes began, so whatever they tell of it later begins there. Only those are adopted; one that moved in
between will move again under the probes' eyes. The events carry the evidence `sampled` and the time of the first
reading, so that every observed event comes after them.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from tracer.batch import Batch, BatchBuilder
from tracer.kinds import Evidence, Source
from tracer.session import Losses
from tracer.tables import diag
from tracer.tables.changes import Changes, Owner


def owners(pids: Iterable[int] | None = None, proc: Path = Path("/proc")) -> dict[int, Owner]:
    """Inode of every socket file of these processes (None: of all) -> (process, descriptor), the lowest of several."""
    found: dict[int, Owner] = {}
    every = (int(name) for name in os.listdir(proc) if name.isdigit()) if pids is None else pids  # noqa: PTH208
    for pid in sorted(every):
        with contextlib.suppress(OSError):
            for link in sorted((proc / str(pid) / "fd").iterdir(), key=lambda path: int(path.name)):
                with contextlib.suppress(OSError):
                    target = str(link.readlink())
                    if target.startswith("socket:["):
                        found.setdefault(int(target[8:-1]), (pid, int(link.name)))
    return found


class Adopted:
    """A source that brings the sockets of one network that stayed as they were while the probes were put on, once.

    Make it before the probes (the first reading), call `confirm` when they are on (the second).
    """

    def __init__(
        self,
        netlink: socket.socket,
        netns: int,
        ports: Collection[int] = (),
        pids: Collection[int] | None = None,
        chosen: Callable[[bytes], bool] | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Take over a NETLINK_SOCK_DIAG socket of the network whose inode is `netns` and read.

        `ports`: only sockets with one of them, all when empty; `pids`: only sockets of these processes, None for all;
        `chosen`: only those of which it says so. Raises OSError.
        """
        self._netlink = netlink
        self._netns, self._ports, self._pids, self._chosen = netns, ports, pids, chosen
        self.count = 0
        """Events of sockets adopted."""
        self.owners: set[int] = set()
        """Processes that hold one of the sockets adopted."""
        self._first = {message[diag.COOKIE]: message for message in diag.dump(netlink)}
        self._time = clock()
        self._builder = BatchBuilder(Source.TABLE, Evidence.SAMPLED)
        self._written = 0

    def confirm(self) -> int:
        """Read again and adopt what has kept its state; how many events that gives. Raises OSError."""
        whose = owners(self._pids)
        stayed = []
        for message in diag.dump(self._netlink):
            before = self._first.get(message[diag.COOKIE])
            if before is None:
                continue
            was, row = diag.decode(before), diag.decode(message)
            if was.state == row.state and (self._pids is None or row.inode in whose):
                stayed.append(before)
        self._netlink.close()

        def owner(inode: int) -> Owner | None:
            found = whose.get(inode)
            if found is not None:
                self.owners.add(found[0])
            return found

        self.count = Changes(self._builder, self._netns, self._ports, owner, self._chosen).feed(stayed, self._time)
        return self.count

    rests = True

    def drain(self) -> Batch:
        """What was adopted, in the first call; then nothing."""
        batch = self._builder.take()
        self._written += len(batch)
        return batch

    def losses(self) -> Losses:
        """What was delivered."""
        return Losses(self._written, 0)

    def stop(self) -> None:
        """Let go of the netlink socket. Twice is allowed."""
        self._netlink.close()
