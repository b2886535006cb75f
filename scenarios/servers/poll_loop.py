"""poll(): one thread again, with a list that has no upper limit but is handed over whole at every wait.

How it works. The loop keeps one entry for each connection: the descriptor and what is wanted of it. poll() takes all
entries, sleeps until one is ready, and returns.

What it costs. No limit of 1,024, but the same growth: the kernel asks every single socket at every call, ready or not,
and Python's poll object copies its list each time. Ten thousand idle connections make every wake-up slow.

When to use it. For tens or hundreds of descriptors on any Unix, and for a single descriptor with a timeout, where epoll
would need three system calls to save one.
"""

from __future__ import annotations

import select

from scenarios.servers.conversation import Conversation
from scenarios.servers.service import Deadlines, ProtocolError, Service

IDLE = 1.0
"""Seconds to wait at most when there is no deadline."""


class Loop:
    """All clients of the server, and the kernel's list of what is wanted of each."""

    def __init__(self) -> None:
        self.service = Service(__doc__, blocking=False)
        self.door = self.service.listener.fileno()
        self.clients: dict[int, Conversation] = {}
        self.deadlines: Deadlines[int] = Deadlines(self.service.options.deadline)
        self.wanted = select.poll()
        self.wanted.register(self.door, select.POLLIN)

    def turn(self) -> bool:
        """Wait once and serve whoever is ready."""
        for fd, _ in self.wanted.poll(self.deadlines.wait(IDLE) * 1000):
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
            self.wanted.register(fd, select.POLLIN)
        if self.service.stopping:
            self.wanted.unregister(self.door)

    def serve(self, fd: int) -> bool:
        """Read, answer, write, as far as it goes; False when it is over."""
        client = self.clients[fd]
        try:
            came = None if client.outbox else client.receive(self.service.options.buffer)
            if client.answer(self.service):
                self.deadlines.begin(fd)
            # Who still has to be answered is not read from: it would fill our memory instead of its own send buffer.
            self.wanted.modify(fd, select.POLLIN if client.flush() else select.POLLOUT)
        except (OSError, ProtocolError):
            self.service.counters.add(errors=1)
            return False
        return came != 0

    def end(self, fd: int) -> None:
        """Say goodbye."""
        self.wanted.unregister(fd)
        self.deadlines.forget(fd)
        self.service.close(self.clients.pop(fd).connection)


def main() -> None:
    """Serve until told to stop."""
    loop = Loop()
    while not loop.service.stopping:
        loop.turn()
    loop.service.farewell(loop.turn)


if __name__ == "__main__":
    main()
