"""Exported columns as columns of text, thousands of rows at a time, for JSON lines and csv.

Numbers are written by ``cells``; of words each different one is written once, by Python's own json and csv, and then
copied to its rows. So what comes out is byte for byte what json and csv would write value by value.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.export.cells import Cells, always, joined, numbers, octets, texts, where
from tracer.filter_columns import NAMES, Times, Words
from tracer.filter_tables import Column
from tracer.words import clean


class Form(NamedTuple):
    """How one kind of file spells what a column holds."""

    nothing: str
    """What is not known."""
    word: Callable[[Any], str]
    """A word, or a list of words."""
    quote: str
    """Around a word that is letters only."""
    times: tuple[str, str, str]
    """Before, between and behind times by state."""
    names: Cells
    """Each state's name, and what parts it from its time."""


_ENCODE: Final = json.JSONEncoder(separators=(",", ":")).encode


def _field(value: Any) -> str:
    """As a field of csv: one line, lists joined by ``;``, in quotes where that is needed."""
    word = ";".join(value) if isinstance(value, list) else value if value.isprintable() else clean(value)
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow([word, ""])  # of two fields an empty first one needs no quotes
    return out.getvalue()[:-1]


JSON: Final = Form("null", _ENCODE, '"', ("{", ",", "}"), texts([f'"{name}":' for name in NAMES]))
CSV: Final = Form("", _field, "", ("", ";", ""), texts([f"{name}=" for name in NAMES]))


def column_cells(exported: Any, column: Column, form: Form) -> Cells:
    """The column of a table (filter_rows.Rows.export) as text."""
    if isinstance(exported, Words):
        different = texts([form.word(kind) for kind in exported.kinds])
        return np.asarray(different[exported.codes])
    if isinstance(exported, Times):
        return _times(exported, form)
    count = len(exported)
    if exported.dtype.kind == "S":
        return joined(always(form.quote, count), octets(exported), always(form.quote, count))
    if column.unknown is None:
        return numbers(exported)
    known: NDArray[np.bool_] = exported != column.unknown
    if known.all():
        return numbers(exported)
    return joined(where(known, numbers(np.where(known, exported, 0))), where(~known, always(form.nothing, count)))


def _times(times: Times, form: Form) -> Cells:
    rows = len(times)
    before, between, behind = form.times
    opens, closes = always(before, rows), always(behind, rows)
    there = np.arange(int(times.counts.max(initial=0))) < times.counts[:, None]
    if not there.any():
        return joined(opens, closes)
    which, spent = (column[:, : there.shape[1]][there] for column in (times.which, times.spent))
    first = np.nonzero(there)[1] == 0
    items = joined(where(~first, always(between, len(which))), form.names[which], numbers(spent))
    spread = np.zeros((*there.shape, items.shape[1]), np.uint8)
    spread[there] = items
    return joined(opens, spread.reshape(rows, -1), closes)
