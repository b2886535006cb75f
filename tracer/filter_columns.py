"""Columns that are not plain numbers: words, of which few are different, and times by state.

A table of a million rows has some dozen states, a few hundred addresses and a few hundred combinations of flags. So
each different word is made once and a row holds its number; who wants the words one by one has them as a sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, overload

import numpy as np
from numpy.typing import NDArray

from tracer.states import State

NAMES: Final = tuple(state.name for state in State)
"""The kernel's names of states, by number."""

_FEW: Final = 1 << 16
"""Numbers below this are counted by place, not sorted."""


class _Column(Sequence[Any]):
    """One item a row, made when asked for."""

    @overload
    def __getitem__(self, at: int) -> Any: ...
    @overload
    def __getitem__(self, at: slice) -> list[Any]: ...
    def __getitem__(self, at: int | slice) -> Any:
        """What stands in the row, or a list for a slice."""
        return [self.item(row) for row in range(len(self))[at]] if isinstance(at, slice) else self.item(at)

    def item(self, row: int) -> Any:
        """What stands in the row."""
        raise NotImplementedError


class Words(_Column):
    """Words, or lists of words."""

    def __init__(self, kinds: list[Any], codes: NDArray[Any]) -> None:
        self.kinds = kinds
        """Each different one."""
        self.codes = codes
        """Which of them stands in each row."""

    def __len__(self) -> int:
        return len(self.codes)

    def item(self, row: int) -> Any:
        """What stands in the row."""
        return self.kinds[self.codes[row]]


class Times(_Column):
    """Of each row, ns by state: a dict with the kernel's names."""

    def __init__(self, counts: NDArray[Any], which: NDArray[Any], spent: NDArray[Any]) -> None:
        """``which`` states and the ns ``spent``, shape (rows, most); of each row the first of ``counts`` are meant."""
        self.counts, self.which, self.spent = counts, which, spent

    def __len__(self) -> int:
        return len(self.counts)

    def item(self, row: int) -> dict[str, int]:
        """What stands in the row."""
        count = self.counts[row]
        states, times = self.which[row, :count].tolist(), self.spent[row, :count].tolist()
        return {NAMES[state]: ns for state, ns in zip(states, times, strict=True)}


def words(numbers: NDArray[Any], word: Callable[..., Any]) -> Words:
    """The words of numbers, shape (n,), or of pairs of numbers, shape (n, 2), which ``word`` takes as two."""
    if numbers.ndim == 1:
        kinds, codes = _different(numbers)
        return Words([word(number) for number in kinds.tolist()], codes)
    (firsts, one), (seconds, two) = _different(numbers[:, 0]), _different(numbers[:, 1])
    both, codes = _different(one * len(seconds) + two)
    halves = firsts[both // max(len(seconds), 1)].tolist(), seconds[both % max(len(seconds), 1)].tolist()
    return Words([word(*pair) for pair in zip(*halves, strict=True)], codes)


def _different(numbers: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The different numbers, ascending, none of which is negative, and which of them each is."""
    if len(numbers) and int(numbers.max()) < _FEW:
        there = np.zeros(int(numbers.max()) + 1, np.bool_)
        there[numbers] = True
        kinds = np.flatnonzero(there)
        place = np.zeros(len(there), np.int64)
        place[kinds] = np.arange(len(kinds))
        return kinds, place[numbers]
    # np.unique would order the rows' numbers as well, which takes longer than looking up each of few kinds.
    kinds = np.sort(numbers)
    kinds = kinds[np.concatenate((np.ones(min(len(kinds), 1), np.bool_), kinds[1:] != kinds[:-1]))]
    return kinds, np.searchsorted(kinds, numbers)
