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
        self._held += [row if "".join(row).isprintable() else [clean(cell) for cell in row] for row in rows]
        if len(self._held) >= HELD or self._begun:
            self.flush()

    def flush(self) -> None:
        """Print what is held."""
        if self._held:
            longest = [max(map(len, column)) for column in zip(*self._held, strict=True)]
            self._widths = [max(pair) for pair in zip(self._widths, longest, strict=True)]
        rows = self._held if self._begun else [self._names, *self._held]
        self._begun, self._held = True, []
        line = "  ".join(
            f"%{'' if right else '-'}{width}s" for width, right in zip(self._widths, self._right, strict=True)
        )
        self._out.write("".join([(line % tuple(row)).rstrip() + "\n" for row in rows]))
        self._out.flush()
