"""Rows of a table as text, thousands at a time: by machine code where it pays and is there, else column by column.

A table is begun with matrices of bytes (``cells``). Once it turns out to be large, the compiled loop of ``row_loop``
takes over, or a child process compiles it meanwhile. Both write the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.export.cells import Cells, always, joined, packed
from tracer.export.row_loop import DIGITS
from tracer.export.table_cells import Form, column_cells
from tracer.filter_columns import Words
from tracer.filter_rows import Rows
from tracer.filter_tables import Column

if TYPE_CHECKING:
    from tracer.machine_code import Background

WORTH: Final = 20_000
"""Rows of a table from which on machine code is worth loading."""
TOGETHER: Final = 4096
"""Rows written at a time: they are in memory as matrices of text."""
MORE: Final = 16_384
"""The same for the loop, which needs less of it."""


MOST_WORDS: Final = 1 << 16
"""Words remembered: there may be as many addresses as packets."""


class Layout(NamedTuple):
    """What a row is made of."""

    columns: Sequence[Column]
    form: Form
    before: Sequence[str]
    """In front of each column."""
    behind: str
    """Behind the last."""


class RowText:
    """Rows of one table as text. ``loop``: write them by this function (``row_loop.write_rows``) from the first on."""

    def __init__(self, loop: Callable[..., int] | None = None) -> None:
        self._loop = loop
        self._rows = 0
        self._loading: Background | None = None
        self._octets: dict[Any, bytes] = {}
        """Words that were spelled before, of which there are few."""
        self._room = np.empty(0, np.uint8)

    def parts(self, rows: Rows, layout: Layout) -> Iterator[bytes]:
        """The rows in UTF-8, a few thousand at a time. All calls must be for the same columns and form."""
        self._rows += len(rows)
        if self._loop is None and self._rows >= WORTH:
            self._loop = self._compiled()
        loop = self._loop
        for part in rows.parts(TOGETHER if loop is None else MORE):
            yield self._by_cells(part, layout) if loop is None else self._by_loop(loop, part, layout)

    def _compiled(self) -> Callable[..., int] | None:
        """The loop as machine code; None where it is not there (yet)."""
        if self._loading is None:
            from tracer.export.rows_compiled import CODE  # late: a short table does without
            from tracer.machine_code import Background

            self._loading = Background(CODE)
        return self._loading.functions["write_rows"] if self._loading.functions is not None else None

    @staticmethod
    def _by_cells(rows: Rows, layout: Layout) -> bytes:
        cells: list[Cells] = []
        for column, before in zip(layout.columns, layout.before, strict=True):
            cells += (always(before, len(rows)), column_cells(rows.export(column.name), column, layout.form))
        return packed(joined(*cells, always(layout.behind, len(rows))))

    def _by_loop(self, loop: Callable[..., int], rows: Rows, layout: Layout) -> bytes:
        pool = _Pool()
        fixed = pool.words([word.encode() for word in (*layout.before, layout.form.nothing, layout.behind)])
        between = len("".join((*layout.before, layout.behind)).encode())
        nothing, behind = fixed + len(layout.before), fixed + len(layout.before) + 1
        values = np.zeros((len(layout.columns), len(rows)), np.int64)
        plan: list[int] = []
        for number, column in enumerate(layout.columns):
            plan.append(fixed + number)
            exported = rows.export(column.name)
            if isinstance(exported, Words):
                plan += (pool.words([self._spelled(kind, layout.form) for kind in exported.kinds]), 0, -1)
                values[number] = exported.codes
            elif isinstance(exported, np.ndarray) and exported.dtype.kind != "S":
                plan += (-1, 0, -1) if column.unknown is None else (-1, column.unknown, nothing)
                values[number] = exported
            else:  # every row has a word of its own
                plan += (pool.rows(column_cells(exported, column, layout.form)), 0, -1)
                values[number] = np.arange(len(rows))
        plan.append(behind)
        starts, octets = pool.whole()
        most = len(rows) * (between + pool.longest + DIGITS * len(layout.columns))
        if len(self._room) < most:
            self._room = np.empty(most, np.uint8)
        size = loop(len(rows), np.array(plan, np.int64), values.reshape(-1), starts, octets, self._room)
        return self._room[:size].tobytes()

    def _spelled(self, kind: Any, form: Form) -> bytes:
        key = tuple(kind) if isinstance(kind, list) else kind
        found = self._octets.get(key)
        if found is None:
            if len(self._octets) >= MOST_WORDS:
                self._octets.clear()
            found = self._octets[key] = form.word(kind).encode()
        return found


class _Pool:
    """Words behind one another."""

    def __init__(self) -> None:
        self._octets: list[bytes] = []
        self._sizes: list[Sequence[int] | NDArray[np.int64]] = []
        self._count = 0
        self.longest = 0
        """Bytes of the longest word of each call together."""

    def words(self, found: Sequence[bytes]) -> int:
        """Add words; the number of the first."""
        return self._add(b"".join(found), [len(word) for word in found])

    def rows(self, cells: Cells) -> int:
        """Add the text of each row."""
        return self._add(packed(cells), np.count_nonzero(cells, axis=1))

    def _add(self, octets: bytes, sizes: Sequence[int] | NDArray[np.int64]) -> int:
        self._octets.append(octets)
        self._sizes.append(sizes)
        self.longest += int(max(sizes, default=0))
        first, self._count = self._count, self._count + len(sizes)
        return first

    def whole(self) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Where each word begins, and where the last one ends; the words."""
        starts = np.zeros(self._count + 1, np.int64)
        np.cumsum(np.concatenate([np.asarray(sizes, np.int64) for sizes in self._sizes]), out=starts[1:])
        return starts, np.frombuffer(b"".join(self._octets), np.uint8)
