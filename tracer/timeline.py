"""The timeline: all events, in one order, in columns that only grow.

One thread appends batches; any number of threads read. Heads lie in chunks that never move once written, and a reader
takes the count first: everything below it is complete, so nobody locks. Memory is what the events need and no more:
a head is 72 bytes, each kind's fields lie in a table of their own.

An event's *order* is its position here. Time is a column like any other: two events may share a nanosecond, and a
capture file may even step back; the order stands.
"""

from __future__ import annotations

import functools
import ipaddress
import itertools
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.batch import Batch, Table, shift_text
from tracer.events import HEAD, NUMBER, PAYLOAD
from tracer.index import PLACE_BITS, ColumnIndex
from tracer.kinds import KINDS, SYSCALLS, TYPES, Evidence, Kind, Side, Source
from tracer.segments import V4_MAPPED

CHUNK: Final = 1 << PLACE_BITS
"""Events to a chunk of heads."""


class _Growing:
    """Rows of one dtype in chunks that never move."""

    def __init__(self, dtype: np.dtype[np.void]) -> None:
        self.dtype = dtype
        self.chunks: list[Table] = []
        self.count = 0

    def append(self, rows: Table) -> None:
        done = 0
        while done < len(rows):
            at = self.count % CHUNK
            if at == 0 and self.count == len(self.chunks) * CHUNK:
                self.chunks.append(np.zeros(CHUNK, self.dtype))
            take = min(CHUNK - at, len(rows) - done)
            self.chunks[self.count // CHUNK][at : at + take] = rows[done : done + take]
            self.count += take
            done += take

    def row(self, i: int) -> Any:
        return self.chunks[i // CHUNK][i % CHUNK]

    def slices(self, start: int, stop: int) -> Iterator[Table]:
        """Views on rows start..stop, in order."""
        while start < stop:
            at = start % CHUNK
            take = min(CHUNK - at, stop - start)
            yield self.chunks[start // CHUNK][at : at + take]
            start += take


_HEAD_NAMES: Final = tuple(HEAD.names or ())
_FIELD_TYPES: Final = {number: {f.name: f.type for f in kind.fields} for number, kind in enumerate(KINDS, 1)}


class Event:
    """One event, read from the timeline. Immutable; ``event["field"]`` reads one of the kind's own fields."""

    __slots__ = ("_row", "_strings", "addr", "conn", "cookie", "cpu", "ctx", "evidence", "fd", "number", "order", "pid",
                 "probe_time", "row", "side", "sock", "source", "tid", "time")  # fmt: skip

    order: int
    """Position on the timeline."""
    time: int
    """ns since the Unix epoch."""
    number: int
    """Of the kind (tracer.events.NUMBER)."""

    def __init__(self, order: int, head: Any, row: Any, strings: list[str]) -> None:
        self.order = order
        (self.time, self.ctx, self.addr, self.cookie, self.pid, self.tid, self.fd, self.number, self.cpu,
         self.probe_time, self.sock, self.conn, self.row, source, evidence, side) = head.item()  # fmt: skip
        self.source, self.evidence, self.side = Source(source), Evidence(evidence), Side(side)
        self._row, self._strings = row, strings

    @property
    def kind(self) -> Kind:
        """Its row in the table of kinds."""
        return KINDS[self.number - 1]

    @property
    def name(self) -> str:
        """``category:event``."""
        return KINDS[self.number - 1].name

    def __getitem__(self, name: str) -> Any:
        """One of the kind's own fields as a plain Python value: int, str, bytes, or a list of ints (arrays).

        Text and thread names come as str, addresses as a pair of ints (see ``ip``). KeyError if the kind
        has no such field.
        """
        shown = TYPES[_FIELD_TYPES[self.number][name]].shown
        value = self._row[name]
        if shown == "text":
            if isinstance(value, bytes):
                return value.decode("utf-8", "replace")
            return self._strings[int(value)]
        if shown == "bytes":
            return value.tobytes()
        return value.tolist()

    def get(self, name: str, default: Any = None) -> Any:
        """The field, or ``default`` where the kind does not have it."""
        return self[name] if name in _FIELD_TYPES[self.number] else default

    def __contains__(self, name: str) -> bool:
        return name in _FIELD_TYPES[self.number]

    def fields(self) -> dict[str, Any]:
        """All of the kind's own fields."""
        return {name: self[name] for name in _FIELD_TYPES[self.number]}

    def ip(self, name: str) -> str:
        """An address field as people write it; a v4-mapped one as IPv4."""
        return address(*self[name])

    @property
    def ends(self) -> str:
        """Local end and peer: 127.0.0.1:40000 → 127.0.0.1:8080; only the first where no peer is known."""
        local, peer = endpoint(self["saddr"], self["sport"]), endpoint(self["daddr"], self["dport"])
        return f"{local} → {peer}" if self["dport"] else local

    @property
    def call(self) -> str:
        """Name of the system call, "?" for one that the table does not have; "" where the kind is not a call."""
        if "call" not in self:
            return ""
        number = self["call"]
        return SYSCALLS[number] if number < len(SYSCALLS) else SYSCALLS[0]

    def __eq__(self, other: object) -> bool:
        """The same place, moment and kind: one event read twice."""
        return isinstance(other, Event) and (self.order, self.time, self.number, self.row) == (
            other.order, other.time, other.number, other.row
        )  # fmt: skip

    def __hash__(self) -> int:
        return hash((self.order, self.time, self.number))

    def __repr__(self) -> str:
        return f"<{self.order} {self.name} conn={self.conn} sock={self.sock} side={self.side.name}>"


@functools.lru_cache(4096)
def address(hi: int, lo: int) -> str:
    """The address that two big-endian halves spell; v4-mapped ones in dotted form."""
    if hi == 0 and lo >> 32 == V4_MAPPED >> 32:
        return str(ipaddress.IPv4Address(lo & 0xFFFF_FFFF))
    return str(ipaddress.IPv6Address(hi << 64 | lo))


def endpoint(pair: list[int] | tuple[int, int], port: int) -> str:
    """Address and port: 127.0.0.1:8080, [::1]:8080; `*` for a port that is not chosen yet."""
    text = address(*pair)
    return f"{f'[{text}]' if ':' in text else text}:{port or '*'}"


class _Found(NamedTuple):
    """Where a value was found so far. Replaced, never changed, so that nobody locks."""

    done: int
    """Events that were looked at."""
    orders: NDArray[np.int64]
    """With room behind ``size``: it grows by doubling, so that to ask again costs only what has come."""
    size: int

    def more(self, done: int, orders: NDArray[np.int64]) -> _Found:
        """These too. Two threads at once write the same at the same places."""
        need, kept = self.size + len(orders), self.orders
        if need > len(kept):
            kept = np.zeros(max(need, 2 * self.size), np.int64)
            kept[: self.size] = self.orders[: self.size]
        kept[self.size : need] = orders
        return _Found(done, kept, need)


_NOWHERE: Final = _Found(0, np.zeros(0, np.int64), 0)


class Timeline:
    """All events of a run, a recording or a capture."""

    def __init__(self) -> None:
        self._heads = _Growing(HEAD)
        self._tables: dict[int, _Growing] = {}
        self.strings: list[str] = [""]
        self._count = 0
        self._index: dict[str, ColumnIndex] = {}
        self._known: dict[tuple[str, int], _Found] = {}

    def __len__(self) -> int:
        """How many events are complete; everything below may be read."""
        return self._count

    def append(self, batch: Batch) -> int:
        """Take a batch over; returns the order of its first event. One writer only. The batch is not changed."""
        first = self._count
        heads = batch.heads.copy()
        shift = len(self.strings) - 1
        self.strings += batch.strings[1:]
        for number, rows in batch.tables.items():
            table = self._tables.setdefault(number, _Growing(PAYLOAD[number]))
            heads["row"][heads["kind"] == number] += table.count
            table.append(shift_text(number, rows, shift))
        self._heads.append(heads)
        self._count = self._heads.count  # last: readers see whole events only
        return first

    def __getitem__(self, order: int) -> Event:
        if not 0 <= order < self._count:
            raise IndexError(f"no event {order} on a timeline of {self._count}")
        head = self._heads.row(order)
        return Event(order, head, self._tables[int(head["kind"])].row(int(head["row"])), self.strings)

    def events(self, start: int = 0, stop: int | None = None) -> Iterator[Event]:
        """Events start..stop in order; stop defaults to what is complete now."""
        for order in range(start, self._count if stop is None else min(stop, self._count)):
            yield self[order]

    def column(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """One column of the heads, start..stop, as a new array."""
        if name not in _HEAD_NAMES:
            raise KeyError(f"heads have no column {name!r}")
        parts = [part[name] for part in self.heads(start, stop)]
        return np.concatenate(parts) if parts else np.zeros(0, HEAD[name])

    def heads(self, start: int = 0, stop: int | None = None) -> Iterator[Table]:
        """Views on the heads start..stop, in order, chunk by chunk; do not write to them."""
        return self._heads.slices(start, self._count if stop is None else min(stop, self._count))

    def at(self, name: str, orders: NDArray[np.int64]) -> NDArray[Any]:
        """One column of the heads at these orders, which ascend, as a new array."""
        if not len(orders):
            return np.zeros(0, HEAD[name])
        bounds = np.searchsorted(orders, np.arange(int(orders[0]) // CHUNK, int(orders[-1]) // CHUNK + 2) * CHUNK)
        first, parts = int(orders[0]) // CHUNK, []
        for number, (low, high) in enumerate(itertools.pairwise(bounds.tolist()), first):
            if high > low:
                parts.append(self._heads.chunks[number][name][orders[low:high] - number * CHUNK])
        return np.concatenate(parts)

    def table(self, kind: str) -> Table:
        """All rows of one kind's fields, as a new array (a head's ``row`` is the position in it)."""
        table = self._tables.get(NUMBER[kind])
        if table is None:
            return np.zeros(0, PAYLOAD[NUMBER[kind]])
        return np.concatenate([np.zeros(0, table.dtype), *table.slices(0, table.count)])

    def field(self, kind: str, name: str, start: int = 0, count: int | None = None) -> NDArray[Any]:
        """One field of the events of a kind from the ``start``-th of them on, ``count`` or all, as a new array."""
        table = self._tables.get(NUMBER[kind])
        empty = np.zeros(0, PAYLOAD[NUMBER[kind]])[name]
        if table is None:
            return empty
        stop = table.count if count is None else min(start + count, table.count)
        return np.concatenate([empty, *(part[name] for part in table.slices(start, stop))])

    def batch(self, start: int, stop: int) -> Batch:
        """Events start..stop as a batch of their own (text indices stay the timeline's: its pool is shared)."""
        stop = min(stop, self._count)
        heads = np.concatenate([np.zeros(0, HEAD), *self._heads.slices(start, stop)])
        tables: dict[int, Table] = {}
        for number in np.unique(heads["kind"]).tolist():
            mine = heads["kind"] == number
            rows = heads["row"][mine]
            table = self._tables[number]
            lo, hi = int(rows[0]), int(rows[-1]) + 1
            tables[number] = np.concatenate(list(table.slices(lo, hi)))
            heads["row"][mine] = rows - lo
        return Batch(heads, tables, self.strings)

    def indices(self, column: str, value: int, start: int = 0) -> NDArray[np.int64]:
        """Orders from ``start`` of all events whose head has ``value`` in ``column`` (conn, kind, ...), ascending.

        Cheap for any value (tracer.index), and for one that is asked for again, since what was found is kept and only
        extended. A view: do not write to it.
        """
        known, count = self._known.get((column, value), _NOWHERE), self._count
        if known.done < count:
            index = self._index.setdefault(column, ColumnIndex(self._heads.chunks, column))
            known = self._known[column, value] = known.more(count, index.find(value, known.done, count))
        found = known.orders[: known.size]
        return found[np.searchsorted(found, start) :] if start else found
