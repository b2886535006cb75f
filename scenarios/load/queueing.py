"""Clients that wait for a thread of a full pool: where they wait, and in which order they come to be served."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from typing import Final, NamedTuple

from scenarios.load.measure import AcceptQueue
from scenarios.load.plan import Plan
from scenarios.load.report import LoadFailed
from scenarios.load.run import Server

MESSAGE: Final = b"\0\0\0\1x"
PATIENCE: Final = 10.0


class Waited(NamedTuple):
    """What came of it."""

    order: list[int]
    """Clients by the number of their connect(), in the order of their answers."""
    in_program: int
    """The most that waited in the program's queue."""
    in_kernel: int
    """The most that waited in the kernel's accept queue."""
    seconds: list[float]
    """Of each, from connect() to the answer."""


def full_pool(clients: int = 20, queue: int = 4, hold: float = 0.01) -> Waited:
    """One thread, a queue of so many places; each client is served for `hold` seconds at least. Raises LoadFailed."""
    with contextlib.ExitStack() as undo:
        server = Server("pool", Plan(clients), ["--workers", "1", "--queue", str(queue)])
        undo.callback(server.end)
        waiting = AcceptQueue(server.address[1])
        undo.callback(waiting.close)
        began: list[float] = []
        sockets: dict[socket.socket, int] = {}
        for number in range(clients):
            began.append(time.monotonic())
            raw = undo.enter_context(socket.create_connection(server.address, PATIENCE))
            raw.sendall(MESSAGE)
            sockets[raw] = number
        until = time.monotonic() + PATIENCE
        while server.counted()["queued"] < min(queue, clients - 2) and time.monotonic() < until:
            time.sleep(0.01)
        in_program, in_kernel = server.counted()["queued"], waiting.look()
        order: list[int] = []
        seconds: list[float] = []
        while sockets:
            ready, _, _ = select.select(list(sockets), [], [], PATIENCE)
            if not ready:
                raise LoadFailed(f"{len(sockets)} clients of a full pool were never answered")
            for raw in ready:
                order.append(sockets.pop(raw))
                seconds.append(time.monotonic() - began[order[-1]])
                time.sleep(hold)
                raw.close()
        return Waited(order, in_program, in_kernel, seconds)
