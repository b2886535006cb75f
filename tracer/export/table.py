"""Tables for other programs: JSON lines and csv, row after row as the analysis goes on.

Which columns there are, and what they mean, is said in tracer.filter_tables. JSON is ASCII only, so no terminal or log
is surprised by it; csv has the control characters of names from outside replaced. Nothing known is null, or an empty
field.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol, TextIO

import numpy as np

from tracer.export.row_text import Layout, RowText
from tracer.export.table_cells import CSV, JSON
from tracer.filter_rows import Rows
from tracer.filter_tables import Column

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


class _Lines:
    """A line a row."""

    def __init__(self, out: TextIO, columns: Sequence[Column], *, with_file: bool) -> None:
        self._out, self._columns, self._with_file = out, columns, with_file
        self._text = RowText()
        self._put: Callable[[bytes], object] | None = None

    def write(self, rows: Rows, file: str) -> None:
        """Write them as they come."""
        if self._put is None:
            self._begin()
            self._put = _octets_into(self._out)
        for part in self._text.parts(rows, self._layout(file)):
            self._put(part)

    def _begin(self) -> None:
        """Write what comes before the first row."""

    def _layout(self, file: str) -> Layout:
        """What a row of this file looks like."""
        raise NotImplementedError


class JsonLines(_Lines):
    """One object a line."""

    def _layout(self, file: str) -> Layout:
        lead = f'{{"file":{JSON.word(file)},' if self._with_file else "{"
        before = [f'{"," if number else lead}"{column.name}":' for number, column in enumerate(self._columns)]
        return Layout(self._columns, JSON, before, "}\n")

    def close(self) -> None:
        """Whole lines are there already."""
        self._out.flush()

    abandon = close


class Csv(_Lines):
    """A header, then a line a row; lists are joined by ``;``."""

    def _begin(self) -> None:
        names = [column.name for column in self._columns]
        self._out.write(",".join(["file", *names] if self._with_file else names) + "\n")

    def _layout(self, file: str) -> Layout:
        lead = f"{CSV.word(file)}," if self._with_file else ""
        return Layout(self._columns, CSV, [lead, *[","] * (len(self._columns) - 1)], "\n")

    def close(self) -> None:
        """Whole lines are there already; without any, the names of the columns."""
        if self._put is None:
            self._begin()
        self._out.flush()

    def abandon(self) -> None:
        """Whole lines are there already."""


def _octets_into(out: TextIO) -> Callable[[bytes], object]:
    """What takes UTF-8 for ``out``: straight to what is under it, where that is UTF-8 anyway."""
    if isinstance(out, io.TextIOWrapper) and codecs.lookup(out.encoding).name == "utf-8":
        out.flush()
        under: Callable[[bytes], object] = out.buffer.write
        return under
    return lambda octets: out.write(octets.decode())
