"""Columns of text made thousands of rows at a time: matrices of bytes instead of strings.

A column is an array of bytes (UTF-8) of shape (rows, width) in which 0 stands for no byte, wherever it is: numbers
leave out their leading zeros, addresses are put together from parts of different lengths, and what is left when all
zeros are dropped is the text. A row costs some hundredths of the time that its strings would take.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Cells = NDArray[np.uint8]
"""Shape (rows, width)."""

_ZERO, _MINUS, _POINT = b"0-."
_CONTINUATION: Final = 0x80
_KIND: Final = 0xC0
"""The bits of a byte of UTF-8 that say whether it continues a character."""
_UNITS: Final = ((1_000_000_000, " s"), (1_000_000, " ms"), (1_000, " µs"), (1, " ns"))


def joined(*parts: Cells) -> Cells:
    """Parts side by side."""
    return np.concatenate(parts, axis=1)


def texts(found: Sequence[str]) -> Cells:
    """Strings, none of which has a character 0."""
    return octets(np.array([text.encode() for text in found], np.bytes_))


def octets(found: NDArray[np.bytes_]) -> Cells:
    """An array of byte strings."""
    whole = np.ascontiguousarray(found)
    return whole.view(np.uint8).reshape(len(whole), whole.itemsize)


def where(mask: NDArray[np.bool_], cells: Cells) -> Cells:
    """The cells where ``mask`` is true, else nothing."""
    return cells * mask[:, None]


def always(text: str, rows: int) -> Cells:
    """The same text in every row."""
    return np.broadcast_to(np.frombuffer(text.encode(), np.uint8), (rows, len(text.encode())))


def numbers(values: NDArray[Any], least: int = 1) -> Cells:
    """Integers that an int64 can hold; ``least``: digits that are written even if they are zeros in front."""
    values = values.astype(np.int64)
    negative = values < 0
    if negative.any():
        sign = where(negative, always("-", len(values)))
        return joined(sign, numbers(np.abs(values), least))
    largest = int(values.max(initial=0))
    width = max(len(str(largest)), least)
    rest = values.astype(np.uint32) if largest < 1 << 32 else values.astype(np.uint64)
    cells = np.zeros((width, len(values)), np.uint8)  # this way round while digits are made: one after another
    for place in range(width - 1, -1, -1):
        shorter = rest // 10
        digit = (rest - shorter * 10).astype(np.uint8) + _ZERO
        if width - place > least:
            digit *= rest != 0
        cells[place] = digit
        rest = shorter
    return cells.T


def seconds(ns: NDArray[np.int64]) -> Cells:
    """Nanoseconds as seconds with six decimals, cut."""
    micro = np.abs(ns) // 1000
    whole = joined(numbers(micro // 1_000_000), always(".", len(ns)), numbers(micro % 1_000_000, 6))
    return joined(where(ns < 0, always("-", len(ns))), whole)


def durations(ns: NDArray[np.int64]) -> Cells:
    """Spans from 0 on with three digits and a unit, as words.duration writes them."""
    unit = np.select([ns >= size for size, _ in _UNITS[:-1]], [0, 1, 2], 3)
    value = ns / np.array([size for size, _ in _UNITS])[unit]
    decimals = np.where(unit == 3, 0, np.where(value < 10, 2, np.where(value < 100, 1, 0)))
    power = np.array((1, 10, 100))[decimals]
    # The product is exact in 64 bits of mantissa, so what lies half-way goes where Python's format lets it go.
    scaled = np.rint(value.astype(np.longdouble) * power).astype(np.int64)
    fraction = scaled % power * (100 // power)
    return joined(
        numbers(scaled // power),
        where(decimals > 0, always(".", len(ns))),
        where(decimals > 0, numbers(fraction // 10)),
        where(decimals > 1, numbers(fraction % 10)),
        texts([name for _, name in _UNITS])[unit],
    )


_OCTETS: Final = texts([f"{octet}." for octet in range(256)])
_MAPPED: Final = 0xFFFF


def addresses(pairs: NDArray[np.uint64], text: Callable[[int, int], str]) -> Cells:
    """Addresses in halves, shape (n, 2); ``text`` writes those that are not of IPv4."""
    high, low = pairs[:, 0], pairs[:, 1]
    four = (high == 0) & (low >> np.uint64(32) == _MAPPED)
    parts = [_OCTETS[(low >> np.uint64(shift)).astype(np.uint8)] for shift in (24, 16, 8, 0)]
    parts[-1] = np.where(parts[-1] == _POINT, np.uint8(0), parts[-1])
    cells = where(four, joined(*parts))
    if four.all():
        return cells
    others, back = np.unique(pairs[~four], axis=0, return_inverse=True)
    words = texts([text(*pair) for pair in others.tolist()])
    found = np.zeros((len(pairs), max(words.shape[1], cells.shape[1])), np.uint8)
    found[:, : cells.shape[1]] = cells
    found[~four, : words.shape[1]] = words[back.reshape(-1)]
    return found


def widths(cells: Cells) -> NDArray[np.int64]:
    """Characters of each row."""
    there = (cells != 0) & (cells & _KIND != _CONTINUATION)
    found: NDArray[np.int64] = np.count_nonzero(there, axis=1)
    return found


def lines(columns: Sequence[Cells], right: Sequence[bool], width: Sequence[int], sizes: Sequence[NDArray[Any]]) -> str:
    """Rows of aligned columns, two spaces between them and none behind; ``sizes`` are their ``widths``."""
    parts: list[Cells] = []
    rows = len(columns[0])
    empty = np.ones(rows, np.bool_)  # whether nothing follows
    for cells, rightly, wide, size in zip(columns[::-1], right[::-1], width[::-1], sizes[::-1], strict=True):
        nothing = empty & (size == 0)
        room = wide - size
        room[nothing if rightly else empty] = 0
        padding = (np.arange(int(room.max(initial=0))) < room[:, None]) * np.uint8(32)
        gap = always("  ", rows) if not empty.any() else where(~empty, always("  ", rows))
        parts += [gap, cells, padding] if rightly else [gap, padding, cells]
        empty = nothing
    parts[0] = always("\n", rows)
    return text(joined(*parts[::-1]))


def packed(cells: Cells) -> bytes:
    """All rows behind one another."""
    return cells.tobytes().translate(None, b"\0")


def text(cells: Cells) -> str:
    """All rows behind one another."""
    return packed(cells).decode()
