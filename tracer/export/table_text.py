"""Tables for people: aligned columns, as wide as what is in them, without waiting for the last row.

The first rows are held to learn how wide the columns are; later ones may widen a column from there on, but what is
printed stands. Text from outside is cleaned.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TextIO

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
        self._begun = False

    def write(self, rows: Iterable[Sequence[str]]) -> None:
        """Add rows; the first ones are printed when there are enough, or by ``flush``."""
        self._held += [[cell if cell.isprintable() else clean(cell) for cell in row] for row in rows]
        if len(self._held) >= HELD or self._begun:
            self.flush()

    def flush(self) -> None:
        """Print what is held."""
        for row in self._held:
            self._widths = [max(width, len(cell)) for width, cell in zip(self._widths, row, strict=True)]
        lines = [] if self._begun else [self._line(self._names)]
        lines += [self._line(row) for row in self._held]
        self._begun, self._held = True, []
        self._out.write("".join(lines))
        self._out.flush()

    def _line(self, cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, self._widths, self._right, strict=True)
        ]
        return "  ".join(padded).rstrip() + "\n"
