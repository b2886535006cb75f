"""The socket table as a source of events: read in a thread of its own, often while things happen, seldom when not.

A reading costs about a tenth of a millisecond and as much again for every hundred sockets. So the table is read every
millisecond or two for a while after anything has changed or somebody has called `hurry`, then less and less often; and
never for more than a part of the time, however large the table. On a busy machine the thread may get no turn for longer
than that, so whoever knows when something is about to happen calls `look` before: a scenario does at each of its steps,
and what is so between two steps is seen for certain.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable
from typing import Final

from tracer.batch import Batch, BatchBuilder
from tracer.kinds import Evidence, Source
from tracer.session import Losses
from tracer.tables import diag, owners
from tracer.tables.changes import Changes, Owner, Pair
from tracer.tables.destroyed import Destroyed

FAST: Final = 0.0015
"""Seconds between two readings while things happen."""
SLOW: Final = 0.05
"""Seconds between two readings when nothing does."""
YOUNG: Final = 0.25
"""Seconds after a change for which it is read fast."""
SHARE: Final = 0.2
"""Part of the time that may go into reading."""


class TableSource:
    """Samples the TCP sockets of one network."""

    rests = True  # a thread of its own reads; here it is only handed on

    def __init__(
        self, netlink: socket.socket, netns: int = 0, ports: Collection[int] = (), pids: Collection[int] = (),
        owner: Callable[[int], Owner | None] | None = None, chosen: Callable[[bytes], bool] | None = None,
        destroyed: Destroyed | None = None,
    ) -> None:  # fmt: skip
        """Take over a NETLINK_SOCK_DIAG socket of the network whose inode is `netns` and begin.

        `ports`: only sockets with one of them, all when empty; `pids`: processes that may own them, or `owner` tells;
        `chosen`: which sockets are looked for (tracer.tables.changes); `destroyed`: the kernel's notices of ends. The
        first reading is made here, so that what is there already is known before anything else happens. Raises OSError.
        """
        self._netlink = netlink
        self._destroyed = destroyed
        self._builder = BatchBuilder(Source.TABLE, Evidence.SAMPLED)
        self._changes = Changes(self._builder, netns, ports, owner or (lambda inode: owners.find(inode, pids)), chosen)
        self.read_until = 0
        """All that had happened by then (ns since the Unix epoch) has been looked at."""
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        """Held by whoever reads: one request at a time may be under way on a netlink socket."""
        self._written = 0
        self._hurry = threading.Event()
        self._stopping = False
        self.failure: OSError | None = None
        """Why sampling ended early, None when it did not."""
        self._read()
        self._thread = threading.Thread(target=self._run, name="synfin-tables", daemon=True)
        self._thread.start()

    def hurry(self) -> None:
        """Something is about to happen: read at once, and often for a while."""
        self._hurry.set()

    def look(self) -> None:
        """Read here and now, before something happens, and often for a while."""
        if self._stopping or self.failure is not None:
            return
        try:
            self._read()
        except OSError as failure:
            self.failure = failure
        self.hurry()

    def _read(self) -> int:
        with self._turn:
            began = time.time_ns()
            messages = diag.dump(self._netlink)
            # Notices after the table: what is freed in between is missing there and will be named here or next time.
            freed = self._destroyed.take() if self._destroyed is not None else []
            # Stamped after the reading: all it shows was true by then.
            with self._lock:
                count = self._changes.feed(messages, time.time_ns(), freed)
                self.read_until = began
            return count

    def knows(self, pairs: Iterable[Pair]) -> list[bool]:
        """Of each pair, whether a connection of it was among the sockets that are looked for, either way round."""
        with self._lock:
            known = self._changes.pairs
            return [pair in known or (pair[1], pair[0]) in known for pair in pairs]

    def _run(self) -> None:
        changed, pause = time.monotonic(), FAST
        while not self._stopping:
            began = time.thread_time()  # what it costs, not how long others kept it waiting
            try:
                if self._read():
                    changed = time.monotonic()
            except OSError as failure:
                self.failure = failure
                return
            cost = time.thread_time() - began
            pause = FAST if time.monotonic() - changed < YOUNG else min(pause * 1.5, SLOW)
            if self._hurry.wait(max(pause, cost * (1 / SHARE - 1))):
                self._hurry.clear()
                changed = time.monotonic()

    def drain(self) -> Batch:
        """The changes since the last call."""
        with self._lock:
            batch = self._builder.take()
        self._written += len(batch)
        return batch

    def losses(self) -> Losses:
        """What was delivered. Nothing is lost here that was read; what was never read is not counted."""
        return Losses(self._written, self._destroyed.lost if self._destroyed is not None else 0)

    def stop(self) -> None:
        """Read a last time and end."""
        self._stopping = True
        self._hurry.set()
        self._thread.join()
        if self._destroyed is not None:
            self._destroyed.stop()
        if self.failure is None:
            try:
                self._read()
            except OSError as failure:
                self.failure = failure
        with self._turn:
            self._netlink.close()
