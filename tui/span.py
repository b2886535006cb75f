"""Which part of time the overview shows: all of it, or what was zoomed into.

Zooming keeps the moment of interest where it is, panning goes by quarters, and neither leaves what there is. All of it
is not a part but a wish: it grows with a live run, where a part stays as it is.
"""

from __future__ import annotations

from typing import Final

CLOSEST: Final = 1_000
"""ns: closer than that nothing is to be seen, since a bucket would be less than the clock tells apart."""
FACTOR: Final = 2


class Span:
    """A part of time, or all of it."""

    def __init__(self) -> None:
        self._part: tuple[int, int] | None = None

    @property
    def whole(self) -> bool:
        """Nothing was zoomed into."""
        return self._part is None

    def of(self, start: int, stop: int) -> tuple[int, int]:
        """What is in sight of ``start``..``stop``, all there is (ns): begin and end, the end later."""
        return self._part or (start, max(stop, start + 1))

    def zoom(self, by: int, start: int, stop: int, at: int) -> None:
        """Closer for ``by`` > 0, back for less, around the moment ``at`` or, where that is not in sight, the middle."""
        first, last = self.of(start, stop)
        if not first <= at <= last:
            at = (first + last) // 2
        factor = FACTOR**-by
        wide = max(round((last - first) * factor), CLOSEST)
        first = at - round((at - first) * wide / (last - first))
        self._keep(first, wide, start, stop)

    def pan(self, by: int, start: int, stop: int) -> None:
        """By so many quarters of what is in sight, later for ``by`` > 0."""
        first, last = self.of(start, stop)
        self._keep(first + by * (last - first) // 4, last - first, start, stop)

    def select(self, one: int, other: int) -> None:
        """From the earlier to the later of two moments (ns)."""
        first, last = sorted((one, other))
        self._part = (first, max(last, first + CLOSEST))

    def fit(self) -> None:
        """All of it."""
        self._part = None

    def _keep(self, first: int, wide: int, start: int, stop: int) -> None:
        if wide >= stop - start:
            self._part = None
            return
        first = max(start, min(first, stop - wide))
        self._part = (first, first + wide)
