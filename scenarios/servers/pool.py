"""Thread pool: a fixed number of threads takes connections from a bounded first-in first-out queue.

How it works. The main thread accepts and puts each connection at the end of the queue. A thread of the pool takes the
one that has waited longest and serves it to its end; only then does it take another. When the queue is full the main
thread either waits, and then the kernel's accept queue fills up behind it (`--when-full wait`), or it turns the client
away at once with a reset (`--when-full reject`), so that the client knows and may go elsewhere.

What it costs. Memory and threads are bounded, whatever comes. But a thread is bound to a connection, not to work: as
many silent clients as there are threads, and nobody else is served. Deadlines (`--deadline`) are not optional here.

When to use it. For short conversations: one request, one answer, close.
"""

from __future__ import annotations

import queue
import socket
import threading

from scenarios.servers.service import Service
from scenarios.servers.threads import serve


def work(service: Service, waiting: queue.Queue[socket.socket]) -> None:
    """A thread of the pool: one connection after the other."""
    while True:
        connection = waiting.get()
        service.counters.add(tasks=1, queued=-1)
        serve(service, connection)
        service.counters.add(tasks=-1)


def main() -> None:
    """Serve until told to stop."""
    service = Service(__doc__, blocking=True)
    waiting: queue.Queue[socket.socket] = queue.Queue(service.options.queue)
    for _ in range(service.options.workers):
        threading.Thread(target=work, args=(service, waiting), daemon=True).start()
    while connection := service.accept():
        service.counters.add(queued=1)
        try:
            waiting.put(connection, block=service.options.when_full == "wait")
        except queue.Full:
            service.counters.add(queued=-1, turned_away=1)
            service.close(connection, reset=True)
    service.farewell()


if __name__ == "__main__":
    main()
