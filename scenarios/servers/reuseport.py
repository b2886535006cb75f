"""SO_REUSEPORT workers: several processes, each with its own listener on the same port and its own event loop.

How it works. Every worker opens a socket of its own, sets SO_REUSEPORT and binds the same address. The kernel picks the
listener for each new connection by a hash over addresses and ports, so each worker has an accept queue of its own and
nothing is shared: no lock, no thundering herd, and in Python no common interpreter lock.

What it costs. A process for each worker. The hash spreads connections, not work: one worker may have the talkative
clients and another be idle. When a worker dies, the connections in *its* accept queue are reset.

When to use it. To use all cores for many alike connections.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from types import FrameType

from scenarios.load.ties import go_with_the_parent
from scenarios.servers import epoll_level
from scenarios.servers.service import Service


def work(row: int, port: int, ready: int) -> None:
    """One worker: the loop of epoll_level.py on a listener of its own; `ready` is told when it is open."""
    service = Service(__doc__, blocking=False, listen=False, row=row)
    service.options.port, service.options.reuse_port = port, True
    service.listen(False, announce=False)
    service.counters.add(tasks=1)
    os.write(ready, b".")
    epoll_level.run(service)


def main() -> None:
    """Start the workers, and end when they have ended."""
    service = Service(__doc__, blocking=False, listen=False)
    family = socket.AF_INET6 if ":" in service.options.host else socket.AF_INET
    place = socket.socket(family, socket.SOCK_STREAM)  # bound, not listening: keeps the port, gets no connection
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    place.bind((service.options.host, service.options.port))
    port = place.getsockname()[1]
    opened, ready = os.pipe()
    workers = []
    for row in range(service.options.workers):
        worker = os.fork()
        if worker == 0:
            go_with_the_parent(signal.SIGTERM)
            work(row, port, ready)
            os._exit(0)
        workers.append(worker)

    def pass_on(number: int, frame: FrameType | None) -> None:
        for worker in workers:
            os.kill(worker, signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    for _ in workers:
        os.read(opened, 1)
    print(f"listening on {service.options.host} port {port}", flush=True)
    sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) for worker in workers))


if __name__ == "__main__":
    main()
