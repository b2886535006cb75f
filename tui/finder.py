"""What is looked for on a timeline: a display filter, or plain words, and the events that meet it.

The user writes one line. If there is an operator or a parenthesis in it, it is a filter (tracer.filter); else each word
is looked for in the events' text, so that `shutdown` needs no grammar. Events are judged one by one in Python, some
microseconds each, so a long timeline is gone through a part at a time, between two frames; whatever the heads alone can
rule out (another process, another kind) is ruled out in bulk first.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.batch import Table
from tracer.events import NUMBER
from tracer.filter import Condition, Either, Every, FilterError, Node, compile_filter
from tracer.filter_events import event_predicate, own_name
from tracer.kinds import KINDS
from tracer.timeline import Event, Timeline
from tracer.words import clean

AT_ONCE: Final = 1 << 14
"""Events looked at in one part."""
JUDGED: Final = 1500
"""Events judged one by one in one part: about ten milliseconds."""
_HEADS: Final = frozenset({"kind", "evidence", "source", "side", "conn", "sock", "pid", "tid", "fd", "cpu"})
_NAMING: Final = np.array([NUMBER[kind.name] for kind in KINDS if "comm" in {field.name for field in kind.fields}])
_OPERATOR: Final = re.compile(r"[:=<>()!]|&&|\|\|")
Orders = NDArray[np.int64]


def meaning(text: str) -> str:
    """The filter that a line of the user's stands for."""
    if not text.strip() or _OPERATOR.search(text):
        return text
    try:
        words = shlex.split(text)
    except ValueError:  # a quotation mark without its other half is looked for as it is
        words = text.split()
    quoted = (word.replace("\\", "\\\\").replace('"', '\\"') for word in words)
    return " ".join(f'text:"{word}"' for word in quoted)


class Finder:
    """The events of a timeline that meet a filter, found a part at a time."""

    def __init__(self, timeline: Timeline, text: str) -> None:
        """`text` as the user wrote it. Raises FilterError, one sentence."""
        self.text = text
        self.scanned = 0
        """Events that have been looked at: of those behind it is not known yet."""
        self.conns: set[int] = set()
        """Connections with a match."""
        filter_text = meaning(text)
        compiled = compile_filter(filter_text, "events")
        self._timeline = timeline
        self._node = compiled.node
        self._names: dict[int, str] | None = {} if "process" in compiled.keys else None
        start = timeline[0].time if len(timeline) else 0
        self._passes: Callable[[Event], bool] = event_predicate(filter_text, start, self._process)
        self._found: Orders = np.zeros(0, np.int64)
        self._count = 0

    def __len__(self) -> int:
        """Matches so far."""
        return self._count

    @property
    def orders(self) -> Orders:
        """Of all matches so far, ascending; a view."""
        return self._found[: self._count]

    @property
    def complete(self) -> bool:
        """All that is on the timeline has been looked at."""
        return self.scanned >= len(self._timeline)

    def scan(self, judged: int = JUDGED) -> bool:
        """Look at the next events, judging at most `judged` of them one by one; True when a match came up."""
        before, stop = self._count, min(len(self._timeline), self.scanned + AT_ONCE)
        for heads in self._timeline.heads(self.scanned, stop):
            if self._names is not None:
                self._learn(heads)
            likely = shortlist(self._node, heads)
            places = np.arange(len(heads)) if likely is None else np.flatnonzero(likely)
            for place in places[:judged].tolist():
                event = self._timeline[self.scanned + place]
                if self._passes(event):
                    self._add(event)
            if len(places) > judged:
                self.scanned += int(places[judged])
                break
            judged -= len(places)
            self.scanned += len(heads)
        return self._count > before

    def scan_to(self, order: int) -> None:
        """Look at everything below `order` now."""
        while self.scanned < min(order, len(self._timeline)):
            self.scan(1 << 30)

    def among(self, orders: tuple[int, ...]) -> bool:
        """Is any of these a match? Asked of the events of one row, which are judged now if they have not been."""
        mine = self.orders
        for order in orders:
            if order >= self.scanned:
                if self._passes(self._timeline[order]):
                    return True
            else:
                at = int(np.searchsorted(mine, order))
                if at < len(mine) and mine[at] == order:
                    return True
        return False

    def near(self, order: int, by: int) -> int | None:
        """The next match behind `order` (`by` > 0) or the last one before it; None where there is none."""
        if by < 0:
            self.scan_to(order)
            at = int(np.searchsorted(self.orders, order)) - 1
            return int(self.orders[at]) if at >= 0 else None
        while True:
            at = int(np.searchsorted(self.orders, order, side="right"))
            if at < self._count:
                return int(self.orders[at])
            if self.complete:
                return None
            self.scan(1 << 30)

    def _add(self, event: Event) -> None:
        if self._count == len(self._found):
            grown = np.zeros(max(256, 2 * self._count), np.int64)
            grown[: self._count] = self._found
            self._found = grown
        self._found[self._count] = event.order
        self._count += 1
        if event.conn:
            self.conns.add(event.conn)

    def _learn(self, heads: Table) -> None:
        """Who is who: threads say their names when they are put on a processor and taken off it."""
        assert self._names is not None
        telling = np.flatnonzero(np.isin(heads["kind"], _NAMING))
        for first in np.unique(heads["tid"][telling], return_index=True)[1].tolist():
            event = self._timeline[self.scanned + int(telling[first])]
            self._names[event.tid] = clean(event["comm"])

    def _process(self, event: Event) -> str:
        name = own_name(event)
        if name or not self._names or event.ctx:  # in a softirq the process is whoever happened to be there
            return name
        return self._names.get(event.tid) or self._names.get(event.pid, "")


def shortlist(node: Node, heads: Table) -> NDArray[np.bool_] | None:
    """Which events can meet the filter as far as their heads tell; None where heads tell nothing of it."""
    if isinstance(node, Condition):
        if not set(node.names) <= _HEADS:
            return None
        columns: Any = heads
        return node.mask(columns, len(heads))
    if isinstance(node, Every | Either):
        parts = [shortlist(part, heads) for part in node.parts]
        known = [part for part in parts if part is not None]
        if not known or (isinstance(node, Either) and len(known) < len(parts)):
            return None
        join = np.logical_and if isinstance(node, Every) else np.logical_or
        return np.asarray(join.reduce(known), np.bool_)
    return None


__all__ = ["FilterError", "Finder", "meaning", "shortlist"]
