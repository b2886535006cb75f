"""The kernel's own notices of sockets that are gone: the multicast groups SKNLGRP_INET(6)_TCP_DESTROY of sock_diag.

A table that is read again and again misses what came and went between two readings. But the kernel tells everybody who
listens, a plain user too, when a TCP socket is freed, with its addresses and its last counters (sock_diag_broadcast_
destroy()). So every end has its own time, and a connection shorter than a reading is at least known to have been. A
socket that leaves a TIME_WAIT object behind is freed as well: the object is in the table. One that was aborted by its
own program (SO_LINGER 0) has no addresses any more when it is freed: tcp_disconnect().
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque
from typing import Final

from tracer.tables import diag

GROUPS: Final = 1 << 0 | 1 << 2
"""SKNLGRP_INET_TCP_DESTROY is group 1, SKNLGRP_INET6_TCP_DESTROY group 3."""
BUFFER: Final = 4 << 20


class Destroyed:
    """Collects the notices of one network in a thread of its own, each with the time at which it came."""

    def __init__(self, netlink: socket.socket) -> None:
        """Take over a NETLINK_SOCK_DIAG socket and subscribe. Raises OSError; the socket is closed then."""
        self._netlink = netlink
        self._came: deque[tuple[bytes, int]] = deque()
        self.lost = 0
        """How often the kernel said that notices found no room (ENOBUFS does not say how many)."""
        self._stopping = False
        try:
            with contextlib.suppress(OSError):
                netlink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            netlink.bind((0, GROUPS))
            netlink.settimeout(0.1)
        except OSError:
            netlink.close()
            raise
        self._thread = threading.Thread(target=self._run, name="synfin-destroyed", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping:
            try:
                answer = self._netlink.recv(diag.RECEIVE_BYTES)
            except TimeoutError:
                continue
            except OSError:
                if self._netlink.fileno() < 0:
                    return
                self.lost += 1  # ENOBUFS: the reading goes on
                continue
            now = time.time_ns()
            self._came.extend((message, now) for message in diag.messages(answer))

    def take(self) -> list[tuple[bytes, int]]:
        """The notices since the last call, each with its time (ns since the Unix epoch)."""
        found = []
        while self._came:
            found.append(self._came.popleft())
        return found

    def stop(self) -> None:
        """Unsubscribe. Twice is allowed."""
        self._stopping = True
        self._thread.join()
        self._netlink.close()
