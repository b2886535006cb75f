"""Event loop with a dispatcher: readiness is collected for a time slice, then handed to a bounded pool of workers.

How it works. One thread sleeps in epoll_wait. What becomes ready within a time slice is gathered into one batch, and
the connections of the batch go to the workers. A connection is *in flight* from then until its worker is done: what
becomes ready meanwhile is only noted, so that never two workers read from one connection, and answers stay in order.
Here the kernel keeps the flag (EPOLLONESHOT): after one notice a descriptor is mute until it is armed again.

What it costs. As many threads as there are workers, whether there are ten clients or fifty thousand: O(1) tasks. Each
message waits for its slice and passes through a queue, so the best latency is worse than a loop's; a slow answer holds
up one worker, not everybody.

When to use it. For very many connections whose answers may block (a database, a disk).
"""

from __future__ import annotations

import queue
import select
import threading
import time

from scenarios.servers.conversation import Conversation
from scenarios.servers.service import Deadlines, ProtocolError, Service

IDLE = 1.0
"""Seconds to wait at most when there is no deadline."""
READ = select.EPOLLIN | select.EPOLLONESHOT
WRITE = select.EPOLLOUT | select.EPOLLONESHOT


class Dispatcher:
    """The loop, its clients, and the queue to the workers."""

    def __init__(self) -> None:
        self.service = Service(__doc__, blocking=False)
        self.door = self.service.listener.fileno()
        self.clients: dict[int, Conversation] = {}
        self.in_flight: set[int] = set()
        self.done: queue.SimpleQueue[tuple[int, bool, bool]] = queue.SimpleQueue()
        self.work: queue.SimpleQueue[Conversation] = queue.SimpleQueue()
        self.deadlines: Deadlines[int] = Deadlines(self.service.options.deadline)
        self.epoll = select.epoll()
        self.epoll.register(self.door, select.EPOLLIN)
        for _ in range(self.service.options.workers):
            self.service.counters.add(tasks=1)
            threading.Thread(target=self.worker, daemon=True).start()

    def turn(self) -> bool:
        """Gather one slice, dispatch it, take back what the workers have finished."""
        slice_ = self.service.options.slice
        for fd, _ in self.epoll.poll(slice_ if self.in_flight else self.deadlines.wait(IDLE)):
            if fd == self.door:
                self.let_in()
            elif fd in self.clients:
                self.in_flight.add(fd)
                self.work.put(self.clients[fd])
        time.sleep(slice_)  # what comes now is in the next batch; workers run meanwhile
        while not self.done.empty():
            fd, goes_on, answered = self.done.get()
            self.in_flight.discard(fd)
            if not goes_on:
                self.end(fd)
                continue
            if answered:
                self.deadlines.begin(fd)
            self.epoll.modify(fd, WRITE if self.clients[fd].outbox else READ)
        for fd in self.deadlines.lapsed():
            if fd in self.in_flight:
                self.deadlines.begin(fd)
                continue
            self.service.counters.add(timeouts=1)
            self.end(fd)
        return bool(self.clients)

    def let_in(self) -> None:
        """Take all clients that wait at the door."""
        while connection := self.service.accept():
            fd = connection.fileno()
            self.clients[fd] = Conversation(connection)
            self.deadlines.begin(fd)
            self.epoll.register(fd, READ)
        if self.service.stopping:
            self.epoll.unregister(self.door)

    def worker(self) -> None:
        """One of the pool: a connection at a time, each only as far as it goes without waiting for the client."""
        while True:
            client = self.work.get()
            answered = goes_on = False
            try:
                came = None if client.outbox else client.receive(self.service.options.buffer)
                answered = client.answer(self.service)
                client.flush()
                goes_on = came != 0
            except (OSError, ProtocolError):
                self.service.counters.add(errors=1)
            self.done.put((client.fileno(), goes_on, answered))

    def end(self, fd: int) -> None:
        """Say goodbye."""
        self.deadlines.forget(fd)
        self.service.close(self.clients.pop(fd).connection)


def main() -> None:
    """Serve until told to stop."""
    dispatcher = Dispatcher()
    while not dispatcher.service.stopping:
        dispatcher.turn()
    dispatcher.service.farewell(dispatcher.turn)


if __name__ == "__main__":
    main()
