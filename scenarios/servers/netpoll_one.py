"""Netpoller, one task per connection: it reads as if it blocked, and costs what an event loop costs.

How it works. As with a thread per connection, each client gets a task that reads, answers and reads again; but the task
is a greenlet, parked in the netpoller's table while it waits (see netpoller.py). One task is enough for an echo, since
it never has to read and write at the same time.

What it costs. A few kilobytes for each connection and a switch of a fraction of a microsecond, in user space. What
computes for long holds up everybody: there is one thread.

When to use it. For very many connections whose protocol one would like to write down from top to bottom.
"""

from __future__ import annotations

import time

from scenarios.servers.netpoller import Connection, Netpoller
from scenarios.servers.netpoller_told import observer
from scenarios.servers.service import ProtocolError, Service, messages


def serve(service: Service, client: Connection) -> None:
    """One client, from its first message to its last."""
    inbox, deadline = bytearray(), service.options.deadline
    try:
        client.read_by(time.monotonic() + deadline if deadline else 0)
        while data := client.read(service.options.buffer):
            inbox += data
            for payload in messages(inbox):
                client.write(service.answer(payload))
                if deadline:
                    client.read_by(time.monotonic() + deadline)
    except TimeoutError:
        service.counters.add(timeouts=1)
    except (OSError, ProtocolError):
        service.counters.add(errors=1)
    finally:
        service.counters.add(tasks=-1)
        service.close(client.release())


def accept(service: Service, poller: Netpoller) -> None:
    """The task at the door."""
    door = Connection(poller, service.listener)
    while not service.stopping:
        connection = service.accept()
        if connection is None:
            poller.block(door.described, "r")  # EAGAIN: park until a client is there, or the door is shut
            continue
        service.counters.add(tasks=1)
        poller.go(serve, service, Connection(poller, connection))
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
