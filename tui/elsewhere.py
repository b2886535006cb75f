"""Where a filter may have matches that are not on the timeline yet, in a capture too large to be held.

The feed knows all connections and rules out those that cannot have a match; of the others some have been looked at, so
that their matches are known, and the rest is what one may go to next. Without this a search would only ever find what
was looked at before.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Set
from typing import Final

from tui.feed import Partial

MOST: Final = 5_000
"""Connections that are listed while something is looked for; of more the first."""


class Elsewhere:
    """The connections that may have a match, one filter long."""

    def __init__(self, part: Partial, text: str) -> None:
        """Raises FilterError."""
        self._part, self._text = part, text
        self._known = -1
        self._likely: list[int] = []
        self._key: tuple[int, ...] = ()
        self._among: set[int] = set()
        self.count = 0
        """Connections that may have a match, in the whole capture as far as it has been read."""
        self.refresh()

    def refresh(self) -> None:
        """More of the capture may have been read."""
        read = self._part.written
        if read != self._known:
            self._known = read
            found = self._part.likely(self._text)
            self.count = len(found)
            self._likely = found[:MOST].tolist()

    def among(self, matched: Set[int]) -> set[int]:
        """Connections to list: with a match, and those that may have one and were not looked at."""
        visited = self._part.visited
        key = (self._known, len(visited), len(matched))
        if key != self._key:
            self._key = key
            self._among = {*matched, *(set(self._likely) - visited)}
        return self._among

    def looked_at(self) -> int:
        """How many of those that may have a match were looked at."""
        visited = self._part.visited
        return sum(number in visited for number in self._likely)

    def there(self, number: int) -> bool:
        """All events of the connection have come."""
        return number in self._part.visited

    def next(self, number: int) -> int | None:
        """The next connection behind this one that was not looked at; None where there is none."""
        visited = self._part.visited
        places = self._likely[bisect_right(self._likely, number) :]
        return next((each for each in places if each not in visited), None)
