"""An echo client on the netpoller: many tasks, each a conversation written from top to bottom.

How it works. A task dials, says something, reads the echo, and says the next thing; after its last word it shuts its
direction (a FIN goes out, the connection is half-closed) and reads until the server closes, too. None of it blocks
the thread: a task that connects is parked in `wg` of its descriptor, one that waits for an echo in `rg`.

What it costs. As netpoll_one: one thread, a few kilobytes for each conversation.

When to use it. Against any of the models; with `--report` it tells of its tasks as the servers do.
"""

from __future__ import annotations

import argparse
import socket

from scenarios.servers.netpoller import Connection, Netpoller
from scenarios.servers.netpoller_told import observer
from scenarios.servers.service import LENGTH, messages


def talk(poller: Netpoller, address: tuple[str, int], said: list[bytes], heard: list[bytes]) -> None:
    """One conversation: every word is echoed before the next is said, the last one against the closed direction."""
    connection = Connection.dial(poller, address)
    inbox = bytearray()
    for number, word in enumerate(said, 1):
        connection.write(LENGTH.pack(len(word)) + word)
        if number == len(said):
            connection.raw.shutdown(socket.SHUT_WR)
        echo: list[bytes] = []
        while not echo and (data := connection.read()):
            inbox += data
            echo = list(messages(inbox))
        heard += echo
    while connection.read():
        pass  # nothing more should come, but the end
    connection.release().close()


def main() -> None:
    """Hold all conversations; exit code 1 when an echo is missing or wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--tasks", type=int, default=1, help="conversations at the same time")
    parser.add_argument("--words", type=int, default=3, help="in each of them")
    parser.add_argument("--report", action="store_true", help="tell of tasks and poll descriptors, for a timeline")
    options = parser.parse_args()
    poller = Netpoller()
    if options.report:
        poller.observer = observer(poller)
    said = [b"word %d" % number for number in range(1, options.words + 1)]
    echoes: list[list[bytes]] = [[] for _ in range(options.tasks)]
    for heard in echoes:
        poller.go(talk, poller, (options.host, options.port), said, heard)
    try:
        poller.run()
    except OSError as failure:  # of the first task that could not go on
        raise SystemExit(f"{options.host} port {options.port}: {failure.strerror or failure}") from None
    poller.observer("idle")  # what is kept back is said now
    right = sum(heard == said for heard in echoes)
    print(f"{right} of {options.tasks} conversations echoed word by word", flush=True)
    raise SystemExit(right != options.tasks)


if __name__ == "__main__":
    main()
