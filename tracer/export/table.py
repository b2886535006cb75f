"""Tables for other programs: JSON lines and csv, row after row as the analysis goes on.

Which columns there are, and what they mean, is said in tracer.filter_tables. JSON is ASCII only, so no terminal or log
is surprised by it; csv has the control characters of names from outside replaced. Nothing known is null, or an empty
field.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol, TextIO

import numpy as np

from tracer.export.cells import Cells, always, joined, text
from tracer.export.table_cells import CSV, JSON, column_cells
from tracer.filter_rows import Rows
from tracer.filter_tables import Column

TOGETHER: Final = 4096
"""Rows written at a time: they are in memory as text."""
EMPTY: Final[dict[str, Any]] = {"int": 0, "text": "", "texts": [], "times": {}}
"""What each type of column is where there is nothing."""


class TableWriter(Protocol):
    """Where rows go."""

    def write(self, rows: Rows, file: str) -> None:
        """Write some rows that come from ``file``. Raises OSError where they cannot be written."""
        ...

    def close(self) -> None:
        """All rows are written."""
        ...

    def abandon(self) -> None:
        """The rest will not come: leave nothing that looks whole."""
        ...


def values(rows: Rows, column: Column) -> list[Any]:
    """A column as plain data, None where nothing is known."""
    exported = rows.export(column.name)
    if not isinstance(exported, np.ndarray):
        return list(exported)
    plain: list[Any] = exported.tolist()
    if exported.dtype.kind == "S":
        return [word.decode() for word in plain]
    if column.unknown is not None and (exported == column.unknown).any():
        return [None if value == column.unknown else value for value in plain]
    return plain


def records(rows: Rows, columns: Sequence[Column], file: str | None = None) -> Iterator[tuple[Any, ...]]:
    """The rows as tuples of plain data, one item a column; ``file`` goes in front where it is given."""
    parts = [values(rows, column) for column in columns]
    if file is not None:
        parts.insert(0, [file] * len(rows))
    return zip(*parts, strict=True)


class JsonLines:
    """One object a line."""

    def __init__(self, out: TextIO, columns: Sequence[Column], *, with_file: bool) -> None:
        self._out, self._columns, self._with_file = out, columns, with_file

    def write(self, rows: Rows, file: str) -> None:
        """Write them as they come."""
        lead = f'{{"file":{JSON.word(file)},' if self._with_file else "{"
        for part in rows.parts(TOGETHER):
            cells: list[Cells] = []
            for column in self._columns:
                cells.append(always(f'{"," if cells else lead}"{column.name}":', len(part)))
                cells.append(column_cells(part.export(column.name), column, JSON))
            self._out.write(text(joined(*cells, always("}\n", len(part)))))

    def close(self) -> None:
        """Whole lines are there already."""
        self._out.flush()

    abandon = close


class Csv:
    """A header, then a line a row; lists are joined by ``;``."""

    def __init__(self, out: TextIO, columns: Sequence[Column], *, with_file: bool) -> None:
        self._out, self._columns, self._with_file = out, columns, with_file
        self._begun = False

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            names = [column.name for column in self._columns]
            self._out.write(",".join(["file", *names] if self._with_file else names) + "\n")

    def write(self, rows: Rows, file: str) -> None:
        """Write them as they come."""
        self._begin()
        lead = f"{CSV.word(file)}," if self._with_file else ""
        for part in rows.parts(TOGETHER):
            cells = [always(lead, len(part))]
            for column in self._columns:
                cells += (column_cells(part.export(column.name), column, CSV), always(",", len(part)))
            self._out.write(text(joined(*cells[:-1], always("\n", len(part)))))

    def close(self) -> None:
        """Whole lines are there already; without any, the names of the columns."""
        self._begin()
        self._out.flush()

    def abandon(self) -> None:
        """Whole lines are there already."""
