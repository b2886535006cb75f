"""A client process of a load: many connections driven by one event loop.

It is told by lines on standard input what to do next, `connect`, `talk` and `close`, so that several of them act at the
same time, and answers each with a line of JSON. Messages are offered at the rate of the plan, by the clock and not by
the answers: when the server falls behind, the next messages wait and their latency is counted from the moment at which
they *should* have gone out. (A client that waits for the answer before it counts again measures a slow server less
often than a fast one.)

Each connection has at most one message under way. Sources are spread over 127.0.0.0/8, ten thousand connections an
address: one pair of addresses has 28,232 ports, and connect() takes one half of them first and searches ever longer.
"""

from __future__ import annotations

import errno
import json
import math
import random
import resource
import select
import socket
import struct
import sys
import time
from collections import deque
from typing import Any, Final

from scenarios.load.plan import Outcome, Plan
from scenarios.load.ties import go_with_the_parent

PORTS_EACH: Final = 10_000
CONNECT_SECONDS: Final = 30.0
"""A connect() that takes longer counts as timed out."""
ANSWER_SECONDS: Final = 5.0
"""What is not answered so long after the last message was sent counts as an error."""
DRIP_SECONDS: Final = 0.5
IP_BIND_ADDRESS_NO_PORT: Final = 24
"""linux/in.h: leave the choice of the port to connect(), which may use one for several destinations."""
BATCH: Final = 4096
RESET: Final = struct.pack("ii", 1, 0)


class Peer:
    """One connection."""

    __slots__ = ("due", "missing", "rest", "socket", "standing", "started")

    def __init__(self, raw: socket.socket) -> None:
        self.socket = raw
        self.started = time.monotonic()
        self.standing = False
        self.due = 0.0
        """When the message under way should have gone out; 0: none is."""
        self.missing = 0
        self.rest = b""
        """What of the message is still to be sent."""


class Client:
    """The event loop and what it drives."""

    def __init__(self, plan: Plan, address: tuple[str, int], place: int) -> None:
        self.plan, self.address, self.place = plan, address, place
        self.peers: dict[int, Peer] = {}
        self.idle: deque[int] = deque()
        self.slow: list[socket.socket] = []
        self.outcome = Outcome()
        self.epoll = select.epoll()
        self.message = struct.pack("!I", plan.size) + random.Random(plan.seed).randbytes(plan.size)
        self._made = 0
        self._pending = 0
        self._under_way = 0

    # The three acts

    def connect(self) -> None:
        """Open all connections at the plan's rate, and wait until each stands or has failed."""
        if self.plan.per_request:
            self.slow = [slow for _ in range(self.plan.slow) if (slow := self._slow()) is not None]
            return
        began = time.monotonic()
        over = began + self.plan.connections / self.plan.rate + CONNECT_SECONDS
        while (now := time.monotonic()) < over:
            allowed = min(self.plan.connections, int((now - began) * self.plan.rate) + 1)
            while self._made < allowed and self._pending < BATCH:
                self._open()
            if self._made >= self.plan.connections and not self._pending:
                break
            self._turn(0.002)
        for fd in [fd for fd, peer in self.peers.items() if not peer.standing]:
            self._fail(fd, "connect timed out")
        self.slow = [slow for _ in range(self.plan.slow) if (slow := self._slow()) is not None]

    def talk(self) -> None:
        """Let messages flow for the plan's duration."""
        plan = self.plan
        began = time.monotonic()
        sent = resets = 0
        dripped = began
        while (now := time.monotonic()) < began + plan.duration:
            offered = math.inf if math.isinf(plan.messages) else math.ceil((now - began) * plan.messages)
            while sent < offered and self._offer(now if math.isinf(plan.messages) else began + sent / plan.messages):
                sent += 1
            if now > dripped + DRIP_SECONDS:
                dripped = now
                self._drip()
            while resets < plan.resets * (now - began) / plan.duration and self._cut_one():
                resets += 1
            self._turn(
                min(0.001, max(began + sent / plan.messages - now, 0)) if 0 < plan.messages < math.inf else 0.001
            )
        while resets < plan.resets and self._cut_one():  # held up: a busy machine
            resets += 1
        over = time.monotonic() + ANSWER_SECONDS
        while self._under_way and time.monotonic() < over:  # what was asked may still be answered
            self._turn(0.01)
        if self._under_way:
            self.outcome.errors["not answered"] += self._under_way
        self.outcome.seconds = plan.duration
        self.outcome.held = sum(peer.standing for peer in self.peers.values()) if not plan.per_request else 0

    def close(self) -> None:
        """Close everything."""
        for peer in self.peers.values():
            peer.socket.close()
        for raw in self.slow:
            raw.close()

    # Steps

    def _open(self) -> int:
        """Begin a connection; its descriptor, or -1."""
        self._made += 1
        try:
            family = socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET
            raw = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            if self.address[0].startswith("127."):
                number = self._made // PORTS_EACH % 250
                raw.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
                raw.bind((f"127.{1 + self.place}.{number}.1", 0))
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            failed = raw.connect_ex(self.address)
        except OSError as failure:
            self.outcome.errors[_name(failure.errno)] += 1
            return -1
        if failed not in (0, errno.EINPROGRESS):
            raw.close()
            self.outcome.errors[_name(failed)] += 1
            return -1
        self.peers[raw.fileno()] = Peer(raw)
        self.epoll.register(raw.fileno(), select.EPOLLIN | select.EPOLLOUT)
        self._pending += 1
        return raw.fileno()

    def _offer(self, due: float) -> bool:
        """Send a message that was due at a moment, if there is a connection for it."""
        if self.plan.per_request:
            if self._under_way >= self.plan.connections:
                return False
            fd = self._open()
            if fd >= 0:
                self.peers[fd].due, self._under_way = due, self._under_way + 1
            return True
        while self.idle:
            fd = self.idle.popleft()
            if fd in self.peers:
                self._under_way += 1
                self.peers[fd].due = due
                self._send(fd)
                return True
        return False

    def _send(self, fd: int) -> None:
        peer = self.peers[fd]
        if not peer.missing:
            peer.missing, peer.rest = len(self.message), self.message
        try:
            sent = peer.socket.send(peer.rest)
        except BlockingIOError:
            sent = 0
        except OSError as failure:
            self._fail(fd, _name(failure.errno))
            return
        waits = sent < len(peer.rest)
        if waits or sent < len(self.message):
            self.epoll.modify(fd, select.EPOLLIN | (select.EPOLLOUT if waits else 0))
        peer.rest = peer.rest[sent:]

    def _turn(self, timeout: float) -> None:
        select.select([self.epoll], (), (), timeout)  # epoll_wait takes whole milliseconds
        for fd, events in self.epoll.poll(0, BATCH):
            peer = self.peers.get(fd)
            if peer is None:
                continue
            if not peer.standing:
                self._connected(fd, peer)
            elif events & select.EPOLLOUT and peer.rest:
                self._send(fd)
            elif events & ~select.EPOLLOUT:
                self._receive(fd, peer)

    def _connected(self, fd: int, peer: Peer) -> None:
        self._pending -= 1
        if failed := peer.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._fail(fd, _name(failed))
            return
        peer.standing = True
        self.outcome.connected += 1
        self.outcome.connect.add(time.monotonic() - peer.started)
        self.outcome.connect_seconds = max(self.outcome.connect_seconds, time.monotonic() - _BEGAN)
        self.epoll.modify(fd, select.EPOLLIN)
        if self.plan.per_request:
            self._send(fd)
        else:
            self.idle.append(fd)

    def _receive(self, fd: int, peer: Peer) -> None:
        try:
            data = peer.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError as failure:
            self._fail(fd, _name(failure.errno))
            return
        if not data:
            self._fail(fd, "closed by the server")
            return
        peer.missing -= len(data)
        if peer.missing > 0 or not peer.due:
            return
        self.outcome.round_trip.add(time.monotonic() - peer.due)
        self.outcome.messages += 1
        self._under_way -= 1
        peer.due = 0.0
        if self.plan.per_request:
            self._drop(fd)
        else:
            self.idle.append(fd)

    def _slow(self) -> socket.socket | None:
        try:
            raw = socket.create_connection(self.address, CONNECT_SECONDS)
            raw.sendall(self.message[:4])
            raw.setblocking(False)
        except OSError as failure:
            self.outcome.errors[f"slow client: {_name(failure.errno)}"] += 1
            return None
        return raw

    def _drip(self) -> None:
        for raw in tuple(self.slow):
            try:
                raw.send(b".")
            except BlockingIOError:
                continue
            except OSError as failure:
                self.outcome.errors[f"slow client: {_name(failure.errno)}"] += 1
                self.slow.remove(raw)

    def _cut_one(self) -> bool:
        """End a connection with an RST."""
        fd = next((fd for fd in self.idle if fd in self.peers), -1)
        if fd < 0:
            return False
        self.peers[fd].socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._drop(fd)
        return True

    def _fail(self, fd: int, why: str) -> None:
        peer = self.peers[fd]
        self.outcome.errors[why] += 1
        self._pending -= not peer.standing and why == "connect timed out"
        self._under_way -= bool(peer.due)
        self._drop(fd)

    def _drop(self, fd: int) -> None:
        self.peers.pop(fd).socket.close()  # and epoll forgets it


def _name(number: int | None) -> str:
    return errno.errorcode.get(number or 0, str(number))


_BEGAN = time.monotonic()


def main() -> None:
    """`client.py PLAN(JSON) HOST PORT PLACE`, then commands on standard input."""
    go_with_the_parent()
    plan, host, port, place = sys.argv[1:5]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    client = Client(Plan(**_numbers(json.loads(plan))), (host, int(port)), int(place))
    global _BEGAN
    for line in sys.stdin:
        _BEGAN = time.monotonic()
        {"connect": client.connect, "talk": client.talk, "close": client.close}[line.strip()]()
        print(json.dumps(client.outcome.told()), flush=True)


def _numbers(told: dict[str, Any]) -> dict[str, Any]:
    return {name: float("inf") if value == "inf" else value for name, value in told.items()}


if __name__ == "__main__":
    main()
