"""From one reading of the socket table to the next: what must have happened in between, as events.

A table shows states, not changes. A socket that is there for the first time was born or had been there before the
trace began; one that is gone has ended; one whose message differs has changed its state or its queues. What came and
went between two readings leaves no trace, and a state passed through in microseconds (FIN_WAIT1 on loopback) is
usually not seen: that is why these events are marked `sampled`, and why two states that follow one another here need
not be neighbours in RFC 9293's diagram.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

from tracer.batch import BatchBuilder
from tracer.states import State
from tracer.tables import diag
from tracer.tables.diag import Row

EXPIRY_SLACK_MS: Final = 100
"""A TIME_WAIT object with at most this left when last seen (and counted down since) has run out, not been cut short."""

Owner = tuple[int, int]
"""Process number and descriptor."""
Pair = tuple[tuple[tuple[int, int], int], tuple[tuple[int, int], int]]
"""Local and peer's (address, port)."""
PAIRS: Final = 65536
Notice = tuple[bytes, int]
"""A message about a socket that is freed, and when it came (ns since the Unix epoch)."""


@dataclass
class _Known:
    """A socket of the last reading."""

    message: bytes
    row: Row
    """As decoded when it last changed."""
    seen_ns: int


class Changes:
    """Compares each reading with the one before."""

    def __init__(
        self,
        builder: BatchBuilder,
        netns: int = 0,
        ports: Collection[int] = (),
        owner: Callable[[int], Owner | None] = lambda inode: None,
        chosen: Callable[[bytes], bool] | None = None,
    ) -> None:
        """Events go to `builder`.

        `ports`: only sockets with one of them at either end, all when empty. `owner` tells whose a socket is by the
        inode of its file. `chosen` tells of a message whether its socket is looked for; once is enough.
        """
        self._builder = builder
        self._netns = netns
        self._ports = frozenset(port.to_bytes(2, "big") for port in ports)
        self._owner = owner
        self._chosen = chosen
        self.pairs: dict[Pair, None] = {}
        """Both ends (as the socket has them) of all connections seen, the latest PAIRS of them."""
        self._known: dict[bytes, _Known] = {}
        self._owners: dict[int, Owner] = {}
        self._listeners: dict[int, list[Row]] = {}
        self._requests: Counter[int] = Counter()
        self._taken: list[Row] = []
        self._told: dict[int, int] = {}
        self._early: dict[bytes, Notice] = {}
        """Notices about sockets that the reading still had: it was made before."""
        self._past: dict[bytes, None] = {}
        """The latest PAIRS that were gone before a notice came: the kernel sends them by a work queue."""

    def __len__(self) -> int:
        """How many sockets the last reading had."""
        return len(self._known)

    def feed(self, messages: list[bytes], now: int, freed: Iterable[Notice] = ()) -> int:
        """Take one reading, made at `now` (ns since the Unix epoch); how many events came of it.

        `freed`: the kernel's notices since the reading before.
        """
        found = {message[diag.COOKIE]: message for message in messages if self._mine(message)}
        born: list[Row] = []
        changed: list[tuple[Row, Row]] = []
        rearmed: list[Row] = []
        for cookie, message in found.items():
            known = self._known.get(cookie)
            if known is None:
                row = diag.decode(message)
                born.append(row)
                self._known[cookie] = _Known(message, row, now)
            elif diag.signature(message) != diag.signature(known.message):
                row = diag.decode(message)
                changed.append((known.row, row))
                self._known[cookie] = _Known(message, row, now)
            else:
                later = diag.expires_ms(message) > diag.expires_ms(known.message) + EXPIRY_SLACK_MS
                known.message, known.seen_ns = message, now
                if later and known.row.is_timewait:
                    rearmed.append(diag.decode(message))
        ended = self._early | {message[diag.COOKIE]: (message, when) for message, when in freed}
        self._early = {
            cookie: notice
            for cookie, notice in ended.items()
            if cookie in found and found[cookie][2] != diag.TIMER_TIMEWAIT
        }
        gone = {cookie: self._known.pop(cookie) for cookie in list(self._known) if cookie not in found}
        passed = [
            (diag.decode(message), when)
            for cookie, (message, when) in ended.items()
            if not (cookie in gone or cookie in found or cookie in self._past)
            and any(message[diag.DPORT])
            and self._mine(message)
        ]
        if not (born or changed or rearmed or gone or passed):
            return 0
        before = len(self._builder)
        self._count()
        for row, when in sorted(passed, key=lambda end: end[1]):  # came and went between two readings
            self._ended(row, State.UNKNOWN, when)
        for cookie in [cookie for cookie in ended if cookie in gone and not gone[cookie].row.is_timewait]:
            self._gone(gone.pop(cookie), ended[cookie][1])
        # The order within a reading is that of a life: listeners, those they begot, what that did to the queues, ends.
        taken = [row for old, row in changed if not old.inode and row.inode and not row.is_timewait]
        # The kernel walks its tables while the world goes on: a listener may have been read before the accept() that
        # its child, read after, already shows. So those of the reading before count too.
        self._taken, taken = taken, self._taken + taken
        for row in sorted(born, key=lambda row: row.state != State.LISTEN):
            self._born(row, now)
        for old, row in sorted(changed, key=lambda pair: pair[1].state == State.LISTEN):
            self._changed(old, row, now, taken)
        for row in rearmed:
            self._add("timewait:rearmed", now, row, **_timewait(row))
        for cookie, known in gone.items():
            self._gone(known, now)
            self._past[cookie] = None
            if len(self._past) > PAIRS:
                del self._past[next(iter(self._past))]
        self._syn_queues(now)
        return len(self._builder) - before

    def _syn_queues(self, now: int) -> None:
        """A SYN queue's length is not in the listener's own message: it is told when its request socks have changed."""
        for row in itertools.chain.from_iterable(self._listeners.values()):
            if self._requests[row.local[1]] != self._told.get(row.cookie, 0):
                self._add("socket:queues", now, row, **self._snapshot(row))

    def _mine(self, message: bytes) -> bool:
        if self._ports and message[diag.SPORT] not in self._ports and message[diag.DPORT] not in self._ports:
            return False
        return self._chosen is None or message[diag.COOKIE] in self._known or self._chosen(message)

    def _count(self) -> None:
        """Who listens where, and how many request socks each port's SYN queue has."""
        self._listeners, self._requests = {}, Counter()
        for each in self._known.values():
            if each.row.state == State.LISTEN:
                self._listeners.setdefault(each.row.local[1], []).append(each.row)
            elif each.row.is_request:
                self._requests[each.row.local[1]] += 1

    def _listener(self, row: Row) -> Row | None:
        """The listener on a socket's local port; rather the one on its very address than one on any."""
        found = self._listeners.get(row.local[1], [])
        return next((each for each in found if each.local[0] == row.local[0]), found[0] if found else None)

    def _add(self, kind: str, now: int, row: Row, **fields: Any) -> None:
        values: dict[str, Any] = {
            "saddr": row.local[0],
            "sport": row.local[1],
            "daddr": row.peer[0],
            "dport": row.peer[1],
            "netns": self._netns,
            "family": row.family,
        }
        if row.peer[1]:
            self.pairs[row.local, row.peer] = None
            if len(self.pairs) > PAIRS:
                del self.pairs[next(iter(self.pairs))]
        pid, fd = self._whose(row)
        self._builder.add(kind, now, values | fields, cookie=row.cookie, pid=pid, tid=pid, fd=fd)

    def _whose(self, row: Row) -> Owner:
        if row.inode and row.inode not in self._owners:
            owner = self._owner(row.inode)
            if owner is not None:
                self._owners[row.inode] = owner
        return self._owners.get(row.inode, (0, -1))

    def _born(self, row: Row, now: int) -> None:
        if row.is_timewait:
            self._add("timewait:born", now, row, **_timewait(row))
        elif row.is_request:
            self._add("request:born", now, row, **self._request(row))
        else:
            # Only a listener's child has a listener's port for its own: it was born from LISTEN.
            old = State.LISTEN if row.state != State.LISTEN and self._listener(row) else State.UNKNOWN
            self._add("socket:state", now, row, **self._snapshot(row), old=old, new=row.state)

    def _changed(self, old: Row, row: Row, now: int, taken: list[Row]) -> None:
        if row.is_timewait:
            kind = "timewait:rearmed" if old.is_timewait else "timewait:born"
            self._add(kind, now, row, **_timewait(row))
        elif row.is_request:
            self._add("request:timer", now, row, **self._request(row))
        elif old.is_request:
            self._add("request:gone", now, old, **self._request(old))
            self._add("socket:state", now, row, **self._snapshot(row), old=State.LISTEN, new=row.state)
        elif row.state != old.state:
            self._add("socket:state", now, row, **self._snapshot(row), old=old.state, new=row.state)
        elif row.state != State.LISTEN or row.rqueue == old.rqueue:
            self._add("socket:queues", now, row, **self._snapshot(row))
        elif row.rqueue > old.rqueue:
            self._add("accept:queued", now, row, **self._snapshot(row))
        else:
            self._accepted(row, now, taken)

    def _accepted(self, listener: Row, now: int, taken: list[Row]) -> None:
        """An accept queue is shorter: which connection was taken shows in its having a file now."""
        children = [row for row in taken if self._listener(row) == listener]
        child: dict[str, int] = {"child_fd": -1}
        if len(children) == 1:
            self._taken = []
            child = {"child_cookie": children[0].cookie, "child_fd": self._whose(children[0])[1]}
        self._add("accept:taken", now, listener, **self._snapshot(listener), **child)

    def _gone(self, known: _Known, now: int) -> None:
        row = known.row
        if row.is_timewait:
            left = diag.expires_ms(known.message) - (now - known.seen_ns) // 1_000_000
            kind = "timewait:expired" if left <= EXPIRY_SLACK_MS else "timewait:cancelled"
            self._add(kind, now, row, left=0, substate=row.state)
        elif row.is_request:
            self._add("request:gone", now, row, **self._request(row))
        else:
            self._ended(row, row.state, now)
        self._owners.pop(row.inode, None)
        self._told.pop(row.cookie, None)

    def _ended(self, row: Row, old: State, now: int) -> None:
        values = self._snapshot(row) | {"state": State.CLOSE}
        self._add("socket:state", now, row, **values, old=old, new=State.CLOSE)
        self._add("socket:destroy", now, row, **values)

    def _snapshot(self, row: Row) -> dict[str, int]:
        values = diag.snapshot(row)
        if row.state == State.LISTEN:
            values["qlen"] = self._told[row.cookie] = self._requests[row.local[1]]
        return values

    def _request(self, row: Row) -> dict[str, int]:
        listener = self._listener(row)
        limits = {"ack_backlog": listener.rqueue, "max_ack_backlog": listener.wqueue} if listener else {}
        return {"timeouts": row.retransmits, "qlen": self._requests[row.local[1]]} | limits


def _timewait(row: Row) -> dict[str, int]:
    return {"left": row.expires_ms * 1_000_000, "substate": row.state}
