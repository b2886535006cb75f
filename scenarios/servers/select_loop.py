"""select(): one thread, which hands the kernel the whole list of its connections each time it waits.

How it works. Before each wait the loop makes two lists: whom it wants to hear from, and to whom it still has something
to say. select() sleeps until one of them is ready, and returns those that are.

What it costs. The lists are handed over, looked through by the kernel and looked through again by us at every call,
however few are ready: work per wake-up grows with the number of *idle* connections. And an fd_set has 1,024 bits
(FD_SETSIZE, select(2)): a descriptor with a higher number cannot be waited for at all. This server turns clients away
when it gets there, and counts them.

When to use it. For a handful of descriptors, and where nothing else is to be had: select() is the same everywhere.
"""

from __future__ import annotations

import select

from scenarios.servers.conversation import Conversation
from scenarios.servers.service import Deadlines, ProtocolError, Service

FD_SETSIZE = 1024
IDLE = 1.0
"""Seconds to wait at most when there is no deadline."""


class Loop:
    """All clients of the server, and what is wanted of each."""

    def __init__(self) -> None:
        self.service = Service(__doc__, blocking=False)
        self.clients: dict[int, Conversation] = {}
        self.deadlines: Deadlines[int] = Deadlines(self.service.options.deadline)

    def turn(self) -> bool:
        """Wait once and serve whoever is ready."""
        # Who still has to be answered is not read from: it would fill our memory instead of its own send buffer.
        readers: list[int] = [fd for fd, client in self.clients.items() if not client.outbox]
        writers: list[int] = [fd for fd, client in self.clients.items() if client.outbox]
        if not self.service.stopping:
            readers.append(self.service.listener.fileno())
        readable, writable, _ = select.select(readers, writers, [], self.deadlines.wait(IDLE))
        for fd in readable + writable:
            if fd not in self.clients:
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
            if fd >= FD_SETSIZE:
                self.service.counters.add(turned_away=1)
                self.service.close(connection, reset=True)
                continue
            self.clients[fd] = Conversation(connection)
            self.deadlines.begin(fd)

    def serve(self, fd: int) -> bool:
        """Read, answer, write, as far as it goes; False when it is over."""
        client = self.clients[fd]
        try:
            came = None if client.outbox else client.receive(self.service.options.buffer)
            if client.answer(self.service):
                self.deadlines.begin(fd)
            client.flush()
        except (OSError, ProtocolError):
            self.service.counters.add(errors=1)
            return False
        return came != 0

    def end(self, fd: int) -> None:
        """Say goodbye."""
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
