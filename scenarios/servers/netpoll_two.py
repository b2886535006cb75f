"""Netpoller, two tasks per connection: one that only reads, one that only writes, and a channel between them.

How it works. The reader puts answers into the channel and reads on without waiting for them to go out; the writer takes
them out and sends. So both directions move at the same time, and a client that sends a lot before it reads is no
deadlock, as long as the channel has room: it is bounded, or that client would fill our memory.

What it costs. Twice the tasks, and two switches more for each message: reader to writer and back.

When to use it. When both sides may speak at any time (chat, push); not for question and answer, where one task does.
"""

from __future__ import annotations

import time
from collections import deque

from scenarios.servers.netpoller import Connection, Netpoller, Task
from scenarios.servers.netpoller_told import observer
from scenarios.servers.service import ProtocolError, Service, messages

ROOM = 64
"""Answers that may wait in a channel."""


class Channel:
    """A bounded queue between two tasks; whoever finds it full or empty parks."""

    def __init__(self, poller: Netpoller) -> None:
        self._poller = poller
        self._held: deque[bytes] = deque()
        self._parked: Task | None = None
        self.closed = False

    def put(self, item: bytes) -> bool:
        """False when nobody will ever take it."""
        while len(self._held) >= ROOM and not self.closed:
            self._park()
        if not self.closed:
            self._held.append(item)
            self._wake()
        return not self.closed

    def get(self) -> bytes:
        """The oldest item; empty when the channel is closed and nothing is left."""
        while not self._held and not self.closed:
            self._park()
        self._wake()
        return self._held.popleft() if self._held else b""

    def close(self) -> None:
        """No more items."""
        self.closed = True
        self._wake()

    def _park(self) -> None:
        self._parked = self._poller.current
        self._poller.park("channel")

    def _wake(self) -> None:
        if self._parked is not None:
            self._poller.unpark(self._parked)
            self._parked = None


def reads(service: Service, client: Connection, answers: Channel) -> None:
    """The reading half: it also closes the channel, and the writer then closes the connection."""
    inbox, deadline = bytearray(), service.options.deadline
    try:
        client.read_by(time.monotonic() + deadline if deadline else 0)
        while data := client.read(service.options.buffer):
            inbox += data
            for payload in messages(inbox):
                if not answers.put(service.answer(payload)):
                    return
                if deadline:
                    client.read_by(time.monotonic() + deadline)
    except TimeoutError:
        service.counters.add(timeouts=1)
    except ConnectionAbortedError:
        pass  # the writer has given up and counted it
    except (OSError, ProtocolError):
        service.counters.add(errors=1)
    finally:
        service.counters.add(tasks=-1)
        answers.close()


def writes(service: Service, client: Connection, answers: Channel) -> None:
    """The writing half."""
    try:
        while answer := answers.get():
            client.write(answer)
    except OSError:
        service.counters.add(errors=1)
    finally:
        service.counters.add(tasks=-1)
        answers.close()
        service.close(client.release())


def accept(service: Service, poller: Netpoller) -> None:
    """The task at the door."""
    door = Connection(poller, service.listener)
    while not service.stopping:
        connection = service.accept()
        if connection is None:
            poller.block(door.described, "r")  # EAGAIN: park until a client is there, or the door is shut
            continue
        client, answers = Connection(poller, connection), Channel(poller)
        service.counters.add(tasks=2)
        poller.go(reads, service, client, answers)
        poller.go(writes, service, client, answers)
    door.release()


def main() -> None:
    """Serve until told to stop."""
    service = Service(__doc__, blocking=False)
    poller = Netpoller()
    if service.options.report:
        poller.observer = observer(poller)
    poller.go(accept, service, poller)
    poller.run_until(lambda: service.stopping)
    service.farewell(poller.turn)


if __name__ == "__main__":
    main()
