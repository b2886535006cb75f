"""A dict whose copies are cheap: keys lie in pages, and a copy shares every page until one of the two writes to it.

The worlds of a long timeline (tracer.history) are copied hundreds of times, and each copy differs from the last by the
few sockets that something happened to. Connections that live at the same time have numbers that lie close together, so
what happens between two copies touches few pages. Copying costs one step a page, not one a key.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any, Final, Generic, TypeVar

K = TypeVar("K", int, tuple[int, int])
V = TypeVar("V")

PAGE_BITS: Final = 6
"""64 neighbours to a page: a page is copied in a microsecond, and a million keys are 16,000 pages."""


class Pages(MutableMapping[K, V], Generic[K, V]):
    """A mapping from ints, or from pairs of which the second int counts. Iterates by page, within one as inserted."""

    __slots__ = ("_bits", "_count", "_mine", "_pages")

    def __init__(self, bits: int = PAGE_BITS) -> None:
        """Keys that are equal but for their lowest ``bits`` share a page."""
        self._bits = bits
        self._pages: dict[Any, dict[K, V]] = {}
        self._mine: set[Any] = set()
        self._count = 0

    def copy(self) -> Pages[K, V]:
        """A mapping of its own: what either writes from now on the other does not see."""
        other: Pages[K, V] = Pages(self._bits)
        other._pages, other._count = self._pages.copy(), self._count
        self._mine = set()  # every page has two owners now
        return other

    def _place(self, key: Any) -> Any:
        return (key[0], key[1] >> self._bits) if isinstance(key, tuple) else key >> self._bits

    def __getitem__(self, key: K) -> V:
        return self._pages[self._place(key)][key]

    def get(self, key: K, default: Any = None) -> Any:
        """The value, or ``default``. Said again because Mapping asks by exception, which takes ten times as long."""
        page = self._pages.get(self._place(key))
        return default if page is None else page.get(key, default)

    def __setitem__(self, key: K, value: V) -> None:
        page = self._own(self._place(key))
        before = len(page)
        page[key] = value
        self._count += len(page) - before

    def __delitem__(self, key: K) -> None:
        if key not in self:
            raise KeyError(key)
        del self._own(self._place(key))[key]
        self._count -= 1

    def _own(self, place: Any) -> dict[K, V]:
        """A page that may be written to."""
        if place not in self._mine:
            self._pages[place] = self._pages.get(place, {}).copy()
            self._mine.add(place)
        return self._pages[place]

    def __contains__(self, key: object) -> bool:
        return key in self._pages.get(self._place(key), ())

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[K]:
        for page in self._pages.values():
            yield from page

    def __repr__(self) -> str:
        return f"Pages({dict(self)!r})"
