"""Columns of bytes say what the functions for single values say, whatever the values are."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tracer.export import cells
from tracer.export.cells import Cells
from tracer.export.table_text import HELD, TextTable
from tracer.filter_rows import address_text
from tracer.words import duration

SPANS = st.one_of(st.integers(0, 10**5), st.integers(0, 10**18), st.integers(0, 4 * 10**6).map(lambda n: n * 500))
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0", categories=("L", "N", "P", "S")), max_size=9)


def rows(column: Cells) -> list[str]:
    return [cells.text(column[i : i + 1]) for i in range(len(column))]


@given(st.lists(SPANS, min_size=1, max_size=50))
@example([0, 999, 1000, 9994, 9995, 9996, 9999, 12345, 12350, 99950, 999_500, 999_999, 1_005_000, 10_050_000, 2**60])
@settings(deadline=None)
def test_spans_are_rounded_as_words_rounds_them(spans: list[int]) -> None:
    assert rows(cells.durations(np.array(spans))) == [duration(ns) for ns in spans]


@given(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=20), st.integers(1, 9))
@example([0], 1)
@example([2**32, 2**32 - 1, 10, 9, 0], 1)
@settings(deadline=None)
def test_numbers_and_seconds(values: list[int], least: int) -> None:
    array = np.array(values)
    assert rows(cells.numbers(array, least)) == [("-" if n < 0 else "") + f"{abs(n):0{least}}" for n in values]
    wanted = [f"{'-' if n < 0 else ''}{abs(n) // 10**9}.{abs(n) // 1000 % 10**6:06}" for n in values]
    assert rows(cells.seconds(array)) == wanted


@given(
    st.lists(st.tuples(st.sampled_from((0, 0, 0x20010DB8 << 32)), st.integers(0, 2**64 - 1)), min_size=1, max_size=9)
)
@example([(0, 0xFFFF_0A00_0001), (0, 0xFFFF_FFFF_FFFF), (0, 0xFFFF_0000_0000)])
@settings(deadline=None)
def test_addresses(pairs: list[tuple[int, int]]) -> None:
    some = [*pairs, (0, 0xFFFF << 32 | pairs[0][1] & 0xFFFF_FFFF)]
    column = cells.addresses(np.array(some, np.uint64), address_text)
    assert rows(column) == [address_text(*pair) for pair in some]


@given(st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=2 * HELD // 100), st.integers(1, 7))
@settings(deadline=None)
def test_a_table_is_the_same_from_columns_and_from_rows(some: list[tuple[str, ...]], parts: int) -> None:
    found = []
    for by_columns in (False, True):
        out = io.StringIO()
        table = TextTable(out, [">a", "b", ">c"])
        for first in range(0, len(some) * 60, parts * 50):
            batch: list[Any] = (some * 60)[first : first + parts * 50]
            if by_columns:
                table.write_columns([cells.texts(column) for column in zip(*batch, strict=True)])
            else:
                table.write([tuple(word for word in row) for row in batch])
        table.flush()
        found.append(out.getvalue())
    assert found[0] == found[1]
