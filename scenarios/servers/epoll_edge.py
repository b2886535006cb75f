"""epoll, edge-triggered: the kernel tells of a change once, and what is left over is ours to remember.

How it works. A connection is registered once, for reading and writing at the same time, and never changed again. An
entry comes when something *arrives* (or room is *made* in the send buffer), not while it is there. So a reader has to
go on until recv() says EAGAIN: who stops early is not told again, and data that no further packet follows lie there for
ever.

What it costs. The fewest system calls: no epoll_ctl after the first, no second notice. One recv() more each time, to
see the EAGAIN; and a client that sends without pause could keep the loop to itself, so each gets a share, and who has
not finished waits in a queue of our own.

When to use it. Where every system call counts, and under runtimes that hide it (Go's netpoller is edge-triggered).
"""

from __future__ import annotations

import select
from collections import deque

from scenarios.servers.conversation import Conversation
from scenarios.servers.service import Deadlines, ProtocolError, Service

IDLE = 1.0
"""Seconds to wait at most when there is no deadline."""
SHARE = 16
"""recv() calls for one client before the next one has its turn."""


class Loop:
    """All clients of the server, and those we know to be ready although the kernel will not say so again."""

    def __init__(self) -> None:
        self.service = Service(__doc__, blocking=False)
        self.door = self.service.listener.fileno()
        self.clients: dict[int, Conversation] = {}
        self.ready: deque[int] = deque()
        self.deadlines: Deadlines[int] = Deadlines(self.service.options.deadline)
        self.epoll = select.epoll()
        self.epoll.register(self.door, select.EPOLLIN | select.EPOLLET)

    def turn(self) -> bool:
        """Wait once, but not while somebody is known to be ready, and give everybody a share."""
        for fd, _ in self.epoll.poll(0 if self.ready else self.deadlines.wait(IDLE)):
            if fd == self.door:
                self.let_in()
            elif fd not in self.ready:
                self.ready.append(fd)
        for _ in range(len(self.ready)):
            fd = self.ready.popleft()
            if fd in self.clients:
                self.serve(fd)
        for fd in self.deadlines.lapsed():
            self.service.counters.add(timeouts=1)
            self.end(fd)
        return bool(self.clients)

    def let_in(self) -> None:
        """Take all clients that wait at the door, until there is none: we are not told of them again."""
        while connection := self.service.accept():
            fd = connection.fileno()
            self.clients[fd] = Conversation(connection)
            self.deadlines.begin(fd)
            self.epoll.register(fd, select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET)
        if self.service.stopping:
            self.epoll.unregister(self.door)

    def serve(self, fd: int) -> None:
        """Read and answer until EAGAIN, or until the answers do not go out, or until the share is used up."""
        client = self.clients[fd]
        try:
            for _ in range(SHARE):
                if not client.flush():
                    return  # an edge will come when there is room
                came = client.receive(self.service.options.buffer)
                if client.answer(self.service):
                    self.deadlines.begin(fd)
                if came is None:
                    return  # an edge will come with the next data
                if came == 0:
                    client.flush()
                    break
            else:
                self.ready.append(fd)
                return
        except (OSError, ProtocolError):
            self.service.counters.add(errors=1)
        self.end(fd)

    def end(self, fd: int) -> None:
        """Say goodbye; closing the last descriptor of a socket takes it off the kernel's list."""
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
