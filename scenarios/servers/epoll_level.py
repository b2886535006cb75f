"""epoll, level-triggered: the kernel keeps the list, and returns only who is ready, as long as it is ready.

How it works. Each connection is told to the kernel once (epoll_ctl). From then on the socket itself calls back when
something arrives, and puts its entry on a list of the ready; epoll_wait() hands over that list and nothing else. Level-
triggered means that an entry is put back as long as there is something left to read: who reads only part of it is told
again.

What it costs. Work per wake-up does not depend on the number of idle connections. A system call for every change of
what is wanted (reading or writing), and one more wake-up when data are left over.

When to use it. Nearly always when an event loop is wanted on Linux: it forgives a reader that stops early.
"""

from __future__ import annotations

import select

from scenarios.servers.conversation import Conversation
from scenarios.servers.service import Deadlines, ProtocolError, Service

IDLE = 1.0
"""Seconds to wait at most when there is no deadline."""


class Loop:
    """All clients of the server; the kernel knows what is wanted of each."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.door = self.service.listener.fileno()
        self.clients: dict[int, Conversation] = {}
        self.deadlines: Deadlines[int] = Deadlines(self.service.options.deadline)
        self.epoll = select.epoll()
        self.epoll.register(self.door, select.EPOLLIN)

    def turn(self) -> bool:
        """Wait once and serve whoever is ready."""
        for fd, _ in self.epoll.poll(self.deadlines.wait(IDLE)):
            if fd == self.door:
                self.let_in()
            elif not self.serve(fd):
                self.end(fd)
        for fd in self.deadlines.lapsed():
            self.service.counters.add(timeouts=1)
            self.end(fd)
        return bool(self.clients)

    def let_in(self) -> None:
        """Take all clients that wait at the door."""
        while connection := self.service.accept():
            fd = connection.fileno()
            self.clients[fd] = Conversation(connection)
            self.deadlines.begin(fd)
            self.epoll.register(fd, select.EPOLLIN)
        if self.service.stopping:
            self.epoll.unregister(self.door)

    def serve(self, fd: int) -> bool:
        """Read once, answer, write as far as it goes; False when it is over."""
        client = self.clients[fd]
        waited = bool(client.outbox)
        try:
            came = None if waited else client.receive(self.service.options.buffer)
            if client.answer(self.service):
                self.deadlines.begin(fd)
            waits = not client.flush()
        except (OSError, ProtocolError):
            self.service.counters.add(errors=1)
            return False
        if waits != waited:
            # Who still has to be answered is not read from: it would fill our memory instead of its own send buffer.
            self.epoll.modify(fd, select.EPOLLOUT if waits else select.EPOLLIN)
        return came != 0

    def end(self, fd: int) -> None:
        """Say goodbye; closing the last descriptor of a socket takes it off the kernel's list."""
        self.deadlines.forget(fd)
        self.service.close(self.clients.pop(fd).connection)


def run(service: Service) -> None:
    """Serve until told to stop."""
    loop = Loop(service)
    while not service.stopping:
        loop.turn()
    service.farewell(loop.turn)


def main() -> None:
    """The whole program."""
    run(Service(__doc__, blocking=False))


if __name__ == "__main__":
    main()
