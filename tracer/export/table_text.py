"""Tables for people: aligned columns, as wide as what is in them, without waiting for the last row.

The first rows are held to learn how wide the columns are; later ones may widen a column from there on, but what is
printed stands. Text from outside is cleaned.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TextIO

from tracer.export.cells import Cells, lines, widths
from tracer.words import clean

HELD: Final = 200
"""Rows looked at before the first is printed."""


class TextTable:
    """Writes rows of cells. ``columns`` are headings; one that begins with ``>`` is aligned to the right."""

    def __init__(self, out: TextIO, columns: Sequence[str]) -> None:
        self._out = out
        self._right = [name.startswith(">") for name in columns]
        self._names = [name.removeprefix(">") for name in columns]
        self._widths = [len(name) for name in self._names]
        self._held: list[Sequence[str]] = []
        self._waiting: list[Sequence[Cells]] = []
        self._waits = 0
        self._begun = False

    def write(self, rows: Iterable[Sequence[str]]) -> None:
        """Add rows; the first ones are printed when there are enough, or by ``flush``."""
        self._held += [row if "".join(row).isprintable() else [clean(cell) for cell in row] for row in rows]
        if len(self._held) >= HELD or self._begun:
            self.flush()

    def write_columns(self, columns: Sequence[Cells]) -> None:
        """Add rows that are columns of bytes without control characters. Of one table either all or none are."""
        self._waiting.append(columns)
        self._waits += len(columns[0])
        if self._waits >= HELD or self._begun:
            self.flush()

    def flush(self) -> None:
        """Print what is held."""
        found: list[list[int]] = [list(map(len, row)) for row in self._held]
        sizes = [[widths(cells) for cells in columns] for columns in self._waiting]
        found += [[int(size.max(initial=0)) for size in row] for row in sizes]
        self._widths = [max(column) for column in zip(self._widths, *found, strict=True)]
        line = "  ".join(
            f"%{'' if right else '-'}{width}s" for width, right in zip(self._widths, self._right, strict=True)
        )
        rows = self._held if self._begun else [self._names, *self._held]
        parts = [(line % tuple(row)).rstrip() + "\n" for row in rows]
        for columns, size in zip(self._waiting, sizes, strict=True):
            parts.append(lines(columns, self._right, self._widths, size))
        self._begun, self._held, self._waiting, self._waits = True, [], [], 0
        self._out.write("".join(parts))
        self._out.flush()
