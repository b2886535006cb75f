"""What a filter's value judges by: ranges, bits, networks, patterns.

A value is read once, when the filter is compiled (``filter_values``), into one of these small objects, which can judge
one value (an event on a screen) or a whole column (a capture of millions of packets). Both ways give the same answer; a
test holds one against the other. Comparisons of whole numbers are ranges: ``>10`` is from 11 on. Times are nanoseconds,
so they are whole too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tracer.segments import V4_MAPPED

Mask = NDArray[np.bool_]


class Value(Protocol):
    """A value that has been understood."""

    def one(self, value: Any) -> bool:
        """Whether a single value meets the condition."""
        ...

    def many(self, values: Any) -> Mask:
        """Which values of a column do."""
        ...


@dataclass(frozen=True)
class Spans:
    """Whole numbers in any of some ranges, both ends included."""

    spans: tuple[tuple[int, int], ...]

    def one(self, value: Any) -> bool:
        return any(low <= value <= high for low, high in self.spans)

    def many(self, values: Any) -> Mask:
        return _any(len(values), ((values >= low) & (values <= high) for low, high in self.spans))


@dataclass(frozen=True)
class OneOf:
    """A number that stands for a name, among some."""

    numbers: frozenset[int]

    def one(self, value: Any) -> bool:
        return value in self.numbers

    def many(self, values: Any) -> Mask:
        return np.isin(values, sorted(self.numbers))


@dataclass(frozen=True)
class Bits:
    """Bits that are set: every one of ``mask``, or any."""

    mask: int
    every: bool
    nothing: bool = False
    """Or none at all is set."""

    def one(self, value: Any) -> bool:
        if self.nothing:
            return bool(value == 0)
        return bool(value & self.mask == self.mask if self.every else value & self.mask)

    def many(self, values: Any) -> Mask:
        found: Mask
        if self.nothing:
            found = values == 0
        else:
            found = values & self.mask == self.mask if self.every else values & self.mask != 0
        return found


@dataclass(frozen=True)
class Networks:
    """Addresses as two halves (tracer.segments) in any of some networks: (mask, bits) of each half."""

    networks: tuple[tuple[int, int, int, int, bool], ...]
    """Mask and bits of the high half, of the low half, and whether v4-mapped addresses count."""

    def one(self, value: Any) -> bool:
        high, low = value
        mapped = high == 0 and low >> 32 == V4_MAPPED >> 32
        return any(
            high & mask_hi == hi and low & mask_lo == lo and (v4 or not mapped)
            for mask_hi, hi, mask_lo, lo, v4 in self.networks
        )

    def many(self, values: Any) -> Mask:
        high, low = values[:, 0], values[:, 1]
        mapped = (high == 0) & (low >> np.uint64(32) == np.uint64(V4_MAPPED >> 32))
        return _any(
            len(values),
            (
                (high & np.uint64(mask_hi) == hi) & (low & np.uint64(mask_lo) == lo) & (v4 | ~mapped)
                for mask_hi, hi, mask_lo, lo, v4 in self.networks
            ),
        )


@dataclass(frozen=True)
class Texts:
    """Text, in any case, that is like one of some patterns; ``*`` stands for anything."""

    patterns: tuple[tuple[str, ...], ...]
    """Each pattern, lower case, split at its stars."""
    inside: bool
    """It is enough that the pattern is somewhere in the text."""

    def one(self, value: Any) -> bool:
        text = value.lower()
        return any(like(text, pattern, self.inside) for pattern in self.patterns)

    def many(self, values: Any) -> Mask:
        return np.fromiter((self.one(value) for value in values), np.bool_, len(values))


def like(text: str, parts: tuple[str, ...], inside: bool) -> bool:
    """Stars matched from the left, each as short as it can be: linear, whatever the pattern."""
    if len(parts) == 1:
        return parts[0] in text if inside else parts[0] == text
    first, *middle, last = parts
    if inside:
        middle, first, last = [first, *middle, last], "", ""
    if not text.startswith(first) or len(text) < len(first) + len(last) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def _any(count: int, masks: Iterable[Mask]) -> Mask:
    found = np.zeros(count, np.bool_)
    for mask in masks:
        found |= mask
    return found
