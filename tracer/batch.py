"""A batch: some events in order, before or after they are on a timeline.

Sources hand over batches, never single events: a ring drain is one batch, so are a few hundred packets of a file or
one reading of a table. A batch is the heads in order, and for each kind a table of that kind's own fields; ``row`` of a
head is the position in its kind's table. Strings are kept once, in the batch's own pool, and text fields are indices
into it. The timeline takes a batch over by copying arrays and shifting two columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.events import HEAD, NUMBER, PAYLOAD
from tracer.kinds import KINDS, Evidence, Source

Table = NDArray[np.void]
TEXT_FIELDS: Final[dict[int, tuple[str, ...]]] = {
    NUMBER[kind.name]: names
    for kind in KINDS
    if (names := tuple(f.name for f in kind.fields if f.type == "text"))
}
"""The text fields of each kind that has any, by number."""


@dataclass
class Batch:
    """Events in order."""

    heads: Table
    """dtype HEAD, shape (n,)."""
    tables: dict[int, Table]
    """Per kind number its fields, dtype PAYLOAD[number], in the order of the heads of that kind."""
    strings: list[str] = field(default_factory=lambda: [""])
    """What text fields index; 0 is the empty string."""

    def __len__(self) -> int:
        return len(self.heads)


class BatchBuilder:
    """Makes a batch event by event: for sources that are not in bulk (actors, tables, journals of a recording)."""

    def __init__(self, source: Source, evidence: Evidence) -> None:
        self._source, self._evidence = source, evidence
        self._heads: list[Table] = []
        self._rows: dict[int, list[Table]] = {}
        self._strings: list[str] = [""]

    def __len__(self) -> int:
        return len(self._heads)

    def add(self, kind: str, time: int, fields: Mapping[str, Any] | None = None, **head: Any) -> None:
        """Append one event.

        ``kind`` is ``category:event``, ``time`` ns since the Unix epoch; ``fields`` are the kind's own (missing ones
        are 0), ``head`` any of the head's (fd is -1 unless given). Raises KeyError or ValueError on a name that the
        table does not have.
        """
        number = NUMBER[kind]
        record = np.zeros((), HEAD)
        record["fd"] = -1
        record["source"], record["evidence"] = self._source, self._evidence
        record["time"], record["kind"] = time, number
        for name, value in head.items():
            record[name] = value
        rows = self._rows.setdefault(number, [])
        record["row"] = len(rows)
        row = np.zeros((), PAYLOAD[number])
        texts = TEXT_FIELDS.get(number, ())
        for name, value in (fields or {}).items():
            row[name] = self._text(value) if name in texts else value
        rows.append(row)
        self._heads.append(record)

    def _text(self, value: str) -> int:
        self._strings.append(value)
        return len(self._strings) - 1

    def take(self) -> Batch:
        """The events so far; the builder is empty again."""
        heads = np.array(self._heads, HEAD) if self._heads else np.zeros(0, HEAD)
        tables = {number: np.array(rows, PAYLOAD[number]) for number, rows in self._rows.items()}
        batch = Batch(heads, tables, self._strings)
        self._heads, self._rows, self._strings = [], {}, [""]
        return batch


def merge(batches: list[Batch]) -> Batch:
    """One batch of several, ordered by time; equal times keep the order given, and each batch's own order is kept.

    A batch whose times step back (two processors stamped within nanoseconds of each other) keeps its order: the key
    is the running maximum.
    """
    batches = [batch for batch in batches if len(batch)]
    if len(batches) == 1:
        return batches[0]
    if not batches:
        return Batch(np.zeros(0, HEAD), {})
    if all(a.heads["time"].max() <= b.heads["time"].min() for a, b in itertools.pairwise(batches)):
        return interleave(batches, None)  # each as it is, one behind the other
    return interleave(batches, [np.maximum.accumulate(part.heads["time"]) for part in batches])


def interleave(batches: list[Batch], keys: list[NDArray[np.uint64]] | None) -> Batch:
    """One batch of one or more, ordered by the events' keys; None: one behind the other."""
    strings: list[str] = [""]
    tables: dict[int, list[Table]] = {}
    heads: list[Table] = []
    for batch in batches:
        shifted = batch.heads.copy()
        for number, rows in batch.tables.items():
            before = tables.setdefault(number, [])
            shifted["row"][shifted["kind"] == number] += sum(len(part) for part in before)
            before.append(shift_text(number, rows, len(strings) - 1))
        strings += batch.strings[1:]
        heads.append(shifted)
    if keys is None:
        return Batch(np.concatenate(heads), {number: np.concatenate(rows) for number, rows in tables.items()}, strings)
    order = np.argsort(np.concatenate(keys), kind="stable")
    merged = np.concatenate(heads)[order]
    out: dict[int, Table] = {}
    for number, parts in tables.items():
        # Rows follow the heads of their kind, so that a kind's table is itself in order.
        mine = merged["kind"] == number
        out[number] = np.concatenate(parts)[merged["row"][mine]]
        merged["row"][mine] = np.arange(int(mine.sum()), dtype=np.uint32)
    return Batch(merged, out, strings)


def only(batch: Batch, kinds: Collection[int]) -> Batch:
    """The events of these kinds."""
    heads = batch.heads[np.isin(batch.heads["kind"], list(kinds))]
    return Batch(heads, {number: rows for number, rows in batch.tables.items() if number in kinds}, batch.strings)


def shift_text(number: int, rows: Table, by: int) -> Table:
    """``rows`` with every text index (but 0, the empty string) moved by ``by``; the same array if none is."""
    names = TEXT_FIELDS.get(number, ())
    if not names or not by:
        return rows
    rows = rows.copy()
    for name in names:
        column = rows[name]
        column[column > 0] += by
    return rows


def split(batch: Batch, at: int) -> tuple[Batch, Batch]:
    """The first ``at`` events and the rest. Rows must follow the heads of their kind, as ``merge`` leaves them."""
    first, rest = batch.heads[:at], batch.heads[at:].copy()
    before: dict[int, Table] = {}
    after: dict[int, Table] = {}
    for number, rows in batch.tables.items():
        count = int((first["kind"] == number).sum())
        before[number], after[number] = rows[:count], rows[count:]
        rest["row"][rest["kind"] == number] -= count
    return Batch(first, before, batch.strings), Batch(rest, after, batch.strings)
