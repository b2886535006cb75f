"""Which rows of a ladder are in sight while something is looked for, and which of them are what was looked for.

A filter may dim what does not meet it, or hide it. Hidden rows keep their places in the model: a *line* is a place
among the rows in sight, a row's place is the model's. Without a filter, or while nothing is hidden, both are the same.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Protocol

from tui.ladder.model import Model


class Found(Protocol):
    """What is looked for (tui.finder.Finder)."""

    def among(self, orders: tuple[int, ...]) -> bool:
        """Is any of these events a match?"""
        ...

    def __len__(self) -> int: ...


class Sight:
    """The rows of a model that are shown, in order."""

    def __init__(self) -> None:
        self.found: Found | None = None
        self.hide = False
        self._rows: list[int] = []
        self._key: tuple[object, ...] = ()

    @property
    def hides(self) -> bool:
        """Rows may be hidden."""
        return self.hide and self.found is not None

    def look(self, model: Model) -> None:
        """The model, or what is looked for, may have changed."""
        found = self.found
        if found is None or not self.hide:
            self._key = ()
            return
        key = (id(model), id(found), len(model), len(found), model.key(len(model) - 1) if len(model) else None)
        if key != self._key:
            self._key = key
            self._rows = [at for at in range(len(model)) if found.among(model.orders(at))]

    def count(self, model: Model) -> int:
        """How many lines there are."""
        return len(self._rows) if self._key else len(model)

    def row(self, line: int) -> int:
        """The row in a line."""
        return self._rows[line] if self._key else line

    def line(self, row: int) -> int:
        """The line of a row, or of the last one in sight before it; -1 where there is none."""
        return bisect_right(self._rows, row) - 1 if self._key else row

    def meets(self, model: Model, row: int) -> bool | None:
        """Is the row what is looked for? None where nothing is, and for gaps."""
        if self.found is None:
            return None
        orders = model.orders(row)
        return self.found.among(orders) if orders else None
