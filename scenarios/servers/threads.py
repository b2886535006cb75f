"""Thread per connection: every client gets a thread of its own, which does nothing but wait for it.

How it works. The main thread sleeps in accept() and starts a thread for each connection. That thread reads, answers and
reads again, in the order in which one would say it; where it has to wait, it sleeps in recv() or send(), and the kernel
keeps its place in the program on its stack.

What it costs. A thread is a kernel object with a stack (8 MB of address space by default on Linux; touched pages only
are memory), and every wake-up is a switch through the scheduler. In CPython only one thread at a time runs Python.

When to use it. For hundreds of clients, and wherever the answer itself takes longer than a thread switch: nothing is
simpler to write, to read and to debug.
"""

from __future__ import annotations

import socket
import threading
import time

from scenarios.servers.service import ProtocolError, Service, messages

STACK = 256 * 1024
"""Bytes of address space for each thread: ten thousand of the default 8 MB would be 80 GB."""


def serve(service: Service, connection: socket.socket) -> None:
    """One client, from its first message to its last."""
    inbox, deadline = bytearray(), service.options.deadline
    due = time.monotonic() + deadline
    try:
        while True:
            if deadline:  # runs from the last answer on, however many single bytes a slow client sends meanwhile
                connection.settimeout(max(due - time.monotonic(), 1e-6))
            data = connection.recv(service.options.buffer)
            if not data:
                break
            inbox += data
            for payload in messages(inbox):
                connection.sendall(service.answer(payload))
                due = time.monotonic() + deadline
    except TimeoutError:
        service.counters.add(timeouts=1)
    except (OSError, ProtocolError):
        service.counters.add(errors=1)
    finally:
        service.close(connection)


def main() -> None:
    """Serve until told to stop."""
    service = Service(__doc__, blocking=True)
    threading.stack_size(STACK)

    def live(connection: socket.socket) -> None:
        serve(service, connection)
        service.counters.add(tasks=-1)

    while connection := service.accept():
        service.counters.add(tasks=1)
        threading.Thread(target=live, args=(connection,), daemon=True).start()
    service.farewell()


if __name__ == "__main__":
    main()
