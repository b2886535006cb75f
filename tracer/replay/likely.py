"""Which connections of a catalogue can have events that meet a filter, as far as the catalogue's columns tell.

A large capture's packets are not held, only a row for each connection (tracer.replay.catalogue). A row rules a
connection out where no event of it could meet the filter: other ports, no segment that was lost, never in that state.
What the rows do not know (a window, a text) rules nothing out, so none that has a match is missed; whether there is
one is said by the events, once the connection has been read again.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tracer.filter import Condition, Either, Every, Node
from tracer.filter_judges import Bits, OneOf
from tracer.filter_rows import pairs
from tracer.filter_values import ANOMALY, LOST
from tracer.segments import RST
from tracer.states import State

Mask = NDArray[np.bool_]


class Table(Protocol):
    """What is known of all connections (tracer.replay.catalogue.Catalogue)."""

    @property
    def rows(self) -> NDArray[Any]:
        """A row each, by stream."""
        ...

    def troubled(self, name: str) -> NDArray[Any]:
        """Streams with a reset ("reset") or a loss ("loss")."""
        ...

    def entered(self, states: Collection[int]) -> NDArray[Any]:
        """Streams of which an end came into one of these states."""
        ...


def likely(node: Node, table: Table) -> Mask | None:
    """For each connection whether it may have a match; None where the rows tell nothing of what is looked for."""
    if isinstance(node, Condition):
        return _one(node, table)
    if isinstance(node, Every | Either):
        parts = [likely(part, table) for part in node.parts]
        known = [part for part in parts if part is not None]
        if not known or (isinstance(node, Either) and len(known) < len(parts)):
            return None
        join = np.logical_and if isinstance(node, Every) else np.logical_or
        shortest = min(map(len, known))  # another thread may have added connections meanwhile
        return np.asarray(join.reduce([part[:shortest] for part in known]), np.bool_)
    return None  # not: that some event may meet the part says nothing of the others


def _one(condition: Condition, table: Table) -> Mask | None:
    rows: Any = table.rows
    names, value = set(condition.names), condition.value
    if names <= {"sport", "dport"}:  # packets go both ways, so either port may be the sender's
        return value.many(rows["cport"]) | value.many(rows["sport"])
    if names <= {"src", "dst"}:
        return value.many(pairs(rows, "client")) | value.many(pairs(rows, "server"))
    if names == {"conn"}:
        return value.many(np.arange(1, len(rows) + 1))
    if names == {"findings"} and isinstance(value, Bits) and not value.nothing and not value.mask & (ANOMALY | LOST):
        return value.many(rows["findings"])
    if names == {"flags"} and isinstance(value, Bits) and value.every and value.mask & RST:
        return _those(table.troubled("reset"), len(rows))
    if names == {"state"} and isinstance(value, OneOf):
        states = set(value.numbers)
        if State.CLOSE in states:
            states.add(State.TIME_WAIT)  # its end is worked out when the connection is read again
        return _those(table.entered(states), len(rows))
    return None


def _those(streams: NDArray[Any], count: int) -> Mask:
    found = np.zeros(count, np.bool_)
    found[streams[streams < count]] = True
    return found
