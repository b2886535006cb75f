"""One client of an event loop: what came in and is not a whole message yet, what is to go out and did not fit.

A thread may wait in the middle of a message; an event loop may not, so what a thread keeps on its stack is kept here.
While answers wait to be sent nothing more is read: otherwise a client that only writes would fill our memory instead
of its own send buffer.
"""

from __future__ import annotations

import socket

from scenarios.servers.service import Service, messages


class Conversation:
    """A non-blocking connection with its two unfinished ends."""

    __slots__ = ("connection", "inbox", "outbox")

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.inbox = bytearray()
        self.outbox = bytearray()

    def fileno(self) -> int:
        """So that select() takes it for what it stands for."""
        return self.connection.fileno()

    def receive(self, most: int) -> int | None:
        """One recv(): bytes that came; 0: the end of input; None: nothing there now. Raises ConnectionError."""
        try:
            data = self.connection.recv(most)
        except BlockingIOError:
            return None
        self.inbox += data
        return len(data)

    def answer(self, service: Service) -> bool:
        """Answer the whole messages there are; True when there was one. Raises ProtocolError."""
        before = len(self.inbox)
        for payload in messages(self.inbox):
            self.outbox += service.answer(payload)
        return len(self.inbox) < before

    def flush(self) -> bool:
        """Send what goes; True when nothing is left. Raises ConnectionError."""
        try:
            while self.outbox:
                del self.outbox[: self.connection.send(self.outbox)]
        except BlockingIOError:
            return False
        return True
