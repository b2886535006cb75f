"""What all server models have in common: the protocol, the options, the door, the counters and the way to stop.

The protocol is length-prefixed echo: four bytes of length in network order, so many bytes of payload, and the same
back. Nothing in the payload can be mistaken for an end, and a reader always knows how much is still to come.

Stopping is the same for all models, and is done with two system calls that wake everybody without any flag to poll:
shutdown() of the listener makes accept() fail and every selector report it, and shutdown(SHUT_RD) of a connection makes
its reader see the end of input once it has read what had arrived. So each model answers what was asked, closes as it
always does, and only connections whose client does not read are left: these are reset when the grace is over.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import mmap
import os
import resource
import signal
import socket
import struct
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Final, Generic, TypeVar

Key = TypeVar("Key")
LENGTH: Final = struct.Struct("!I")
MAX_MESSAGE: Final = 1 << 20
"""Bytes; a longer announcement is not our protocol (or an attack on our memory)."""
COUNTERS: Final = (
    "accepted",
    "closed",
    "messages",
    "bytes",
    "turned_away",
    "emfile",
    "timeouts",
    "errors",
    "tasks",
    "queued",
)
"""What a model counts. Open now: accepted minus closed. Now: `tasks` (threads, greenlets or coroutines that serve) and
`queued` (connections that wait for a thread)."""
_PLACE: Final = {name: place for place, name in enumerate(COUNTERS)}
RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER, on, for no seconds: close() sends an RST."""
OUT_OF_DESCRIPTORS: Final = (errno.EMFILE, errno.ENFILE)


class ProtocolError(Exception):
    """The client does not speak our protocol."""


class Options(argparse.Namespace):
    """The options of every model; a model reads those that mean something to it."""

    host: str
    port: int
    backlog: int
    buffer: int
    deadline: float
    work: float
    workers: int
    queue: int
    when_full: str
    slice: float
    grace: float
    counters: str
    row: int
    reuse_port: bool
    report: bool


def options(story: str, arguments: list[str] | None = None) -> Options:
    """Read the command line; `story` is the model's own docstring."""
    parser = argparse.ArgumentParser(description=story.split("\n", 1)[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one (printed)")
    parser.add_argument("--backlog", type=int, default=4096, help="connections that may wait for accept()")
    parser.add_argument("--buffer", type=int, default=32768, metavar="BYTES", help="asked of each recv()")
    parser.add_argument("--deadline", type=float, default=0.0, metavar="S", help="for a whole message; 0: none")
    parser.add_argument("--work", type=float, default=0.0, metavar="S", help="what answering one message takes")
    parser.add_argument("--workers", type=int, default=8, help="size of a pool of threads or processes")
    parser.add_argument("--queue", type=int, default=64, help="connections that may wait for a thread of the pool")
    parser.add_argument("--when-full", choices=("wait", "reject"), default="wait")
    parser.add_argument("--slice", type=float, default=0.005, metavar="S", help="the dispatcher's time slice")
    parser.add_argument("--grace", type=float, default=2.0, metavar="S", help="for clients that do not read")
    parser.add_argument("--counters", default="", metavar="FILE", help="where to count, for a monitor")
    parser.add_argument("--row", type=int, default=0, help="which row of that file")
    parser.add_argument("--reuse-port", action="store_true", help="others may listen on the same port (SO_REUSEPORT)")
    parser.add_argument("--report", action="store_true", help="tell of tasks and poll descriptors, for a timeline")
    return parser.parse_args(arguments, namespace=Options())


class Counters:
    """Numbers that another process may read while we count: one row of u64 for each worker, in a mapped file."""

    def __init__(self, path: str = "", row: int = 0) -> None:
        size = 8 * len(COUNTERS)
        self._lock = threading.Lock()
        if path:
            with Path(path).open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, (row + 1) * size)  # grows, and never shrinks what others have
                self._cells = memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")[row * len(COUNTERS) :]
        else:
            self._cells = memoryview(bytearray(size)).cast("Q")

    def add(self, **changes: int) -> None:
        """Add to counters. Adding is reading and writing: another thread must not come in between."""
        with self._lock:
            for name, change in changes.items():
                self._cells[_PLACE[name]] += change

    def __getitem__(self, name: str) -> int:
        return self._cells[_PLACE[name]]

    @staticmethod
    def read(path: str) -> dict[str, int]:
        """The sums over all workers."""
        cells = memoryview(Path(path).read_bytes()).cast("Q")
        return {name: sum(cells[place :: len(COUNTERS)]) for name, place in _PLACE.items()}


def messages(inbox: bytearray) -> Iterator[bytes]:
    """Take the whole messages out of what has been received. Raises ProtocolError."""
    while len(inbox) >= LENGTH.size:
        (length,) = LENGTH.unpack_from(inbox)
        if length > MAX_MESSAGE:
            raise ProtocolError(f"a message of {length} bytes was announced")
        if len(inbox) < LENGTH.size + length:
            return
        payload = bytes(inbox[LENGTH.size : LENGTH.size + length])
        del inbox[: LENGTH.size + length]
        yield payload


class Service:
    """A running server: its options, its door, the connections it has, its counters, and its end."""

    def __init__(self, story: str, *, blocking: bool, listen: bool = True, row: int = 0) -> None:
        self.options = options(story)
        self.counters = Counters(self.options.counters, self.options.row + row)
        self.connections: set[socket.socket] = set()
        self.stopping = False
        self.cut_off = 0
        """Connections that a model has reset itself at its end."""
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        if listen:
            self.listen(blocking)

    def listen(self, blocking: bool, *, announce: bool = True) -> None:
        """Open the door and say where it is."""
        family = socket.AF_INET6 if ":" in self.options.host else socket.AF_INET
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.options.reuse_port:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.listener.bind((self.options.host, self.options.port))
        self.options.port = self.listener.getsockname()[1]
        self.listener.listen(self.options.backlog)
        self.listener.setblocking(blocking)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked_to_stop)
        if announce:
            print(f"listening on {self.options.host} port {self.options.port}", flush=True)

    def _asked_to_stop(self, number: int, frame: FrameType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Let nobody in any more; whoever waits for a client or for input is woken."""
        self.stopping = True
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        for connection in tuple(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)

    def accept(self) -> socket.socket | None:
        """The next client; None when there is none now (a non-blocking door), or no more at all (`stopping`)."""
        while not self.stopping:
            try:
                connection = self._accept()
            except ConnectionAbortedError:
                continue
            except OSError:
                return None  # EAGAIN: nobody there; EINVAL: the door was shut while we waited
            if connection is not None:
                self.welcome(connection)
                return connection
        return None

    def _accept(self) -> socket.socket | None:
        """accept(), or None when somebody had to be turned away.

        Out of descriptors, accept() fails and the client stays in the queue: a selector would report it for ever. So
        one descriptor is kept in reserve, to let the client in and show it out. (accept() takes its descriptor before
        it looks into the queue: EMFILE does not say that somebody is there.)
        """
        try:
            return self.listener.accept()[0]
        except OSError as failure:
            if failure.errno not in OUT_OF_DESCRIPTORS:
                raise
        self.counters.add(emfile=1)
        os.close(self._spare)
        try:
            connection = self.listener.accept()[0]
        except OSError:
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            raise
        try:
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self.reset(connection)
            self.counters.add(turned_away=1)
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            return None
        return connection  # a descriptor has become free in the meantime

    def welcome(self, connection: socket.socket) -> None:
        """Take note of a client that was let in."""
        self.connections.add(connection)
        self.counters.add(accepted=1)
        if self.stopping:  # it came in beside the signal
            connection.shutdown(socket.SHUT_RD)

    def close(self, connection: socket.socket, reset: bool = False) -> None:
        """Close in good order (an RST goes out if there is input we have not read, RFC 2525), or with a reset."""
        self.connections.discard(connection)
        self.counters.add(closed=1)
        if reset:
            self.reset(connection)
        else:
            connection.close()

    @staticmethod
    def reset(connection: socket.socket) -> None:
        """Close with an RST: nothing of it stays, no TIME_WAIT."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connection.close()

    def answer(self, payload: bytes) -> bytes:
        """What the client gets for a message: the message, after as much work as the options say."""
        if self.options.work:
            time.sleep(self.options.work)
        return self.answered(payload)

    def answered(self, payload: bytes) -> bytes:
        """Count a message; its answer on the wire."""
        self.counters.add(messages=1, bytes=len(payload))
        return LENGTH.pack(len(payload)) + payload

    def farewell(self, wait: Callable[[], object] = lambda: time.sleep(0.01)) -> None:
        """The end: what is still open gets `grace`, then an RST. `wait` serves on meanwhile; threads do so anyhow."""
        over = time.monotonic() + self.options.grace
        while self.connections and time.monotonic() < over:
            wait()
        self.listener.close()
        left = len(self.connections) + self.cut_off
        for connection in tuple(self.connections):
            with contextlib.suppress(OSError):
                self.reset(connection)
        drained = self.counters["closed"] - self.cut_off
        print(f"stopped: {drained} connections closed after their last answer, {left} reset", file=sys.stderr)


class Deadlines(Generic[Key]):
    """Who must have sent a whole message by when. All have the same time, so they lapse in the order they were set."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due: OrderedDict[Key, float] = OrderedDict()

    def begin(self, key: Key) -> None:
        """A new message is awaited from now on."""
        if self._seconds:
            self._due[key] = time.monotonic() + self._seconds
            self._due.move_to_end(key)

    def forget(self, key: Key) -> None:
        """Nothing more is awaited."""
        self._due.pop(key, None)

    def lapsed(self) -> Iterator[Key]:
        """Those whose time is over; they are forgotten."""
        now = time.monotonic()
        while self._due and next(iter(self._due.values())) <= now:
            yield self._due.popitem(last=False)[0]

    def wait(self, most: float) -> float:
        """Seconds until the next one lapses, at most so many."""
        if not self._due:
            return most
        return min(most, max(next(iter(self._due.values())) - time.monotonic(), 0.0))
