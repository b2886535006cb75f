"""Tables as Parquet, for pandas, DuckDB, Polars, Spark: typed columns, written in row groups as the analysis goes on.

Moments and spans are int64 nanoseconds as in the other forms, lists are lists, times in states a map. What is on disk
has its name only when it is whole: until then it lies beside it as ``NAME.part``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from tracer.export.table import values
from tracer.filter_columns import Words
from tracer.filter_rows import Rows
from tracer.filter_tables import Column

GROUP: Final = 131_072
"""Rows to a row group: large enough to compress and to be skipped, small enough to be held."""

MISSING: Final = "Parquet needs pyarrow, which is not installed: pip install 'synfin[parquet]'"


class ParquetMissing(Exception):
    """pyarrow is not there; the text says how to get it."""


class Parquet:
    """A Parquet file."""

    def __init__(self, path: str, columns: Sequence[Column], *, with_file: bool) -> None:
        """Begin the file. Raises ParquetMissing, or OSError where it cannot be written."""
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise ParquetMissing(MISSING) from None
        self._arrow: Any = pyarrow
        self._columns, self._with_file = columns, with_file
        types = {
            "int": pyarrow.int64(),
            "text": pyarrow.string(),
            "texts": pyarrow.list_(pyarrow.string()),
            "times": pyarrow.map_(pyarrow.string(), pyarrow.int64()),
        }
        fields = [("file", types["text"])] if with_file else []
        fields += [(column.name, types[column.type]) for column in columns]
        self._schema = pyarrow.schema(fields)
        self._path = Path(path)
        # A device or a pipe cannot be replaced, only written to.
        self._part = self._path if self._special() else self._path.with_name(self._path.name + ".part")
        self._file = self._part.open("wb")
        self._writer: Any = pyarrow.parquet.ParquetWriter(self._file, self._schema, compression="zstd")
        self._waiting: list[Any] = []
        self._count = 0

    def _special(self) -> bool:
        return self._path.exists() and not self._path.is_file()

    def write(self, rows: Rows, file: str) -> None:
        """Keep rows until there are enough for a row group."""
        file = file.encode("utf-8", "replace").decode()  # a name need not be UTF-8 (PEP 383), a string has to
        arrays = [self._arrow.array([file] * len(rows), self._arrow.string())] if self._with_file else []
        arrays += [self._array(rows, column, self._schema.field(column.name).type) for column in self._columns]
        self._waiting.append(self._arrow.record_batch(arrays, schema=self._schema))
        self._count += len(rows)
        if self._count >= GROUP:
            self._flush()

    def _array(self, rows: Rows, column: Column, kind: Any) -> Any:
        exported = rows.export(column.name)
        if isinstance(exported, Words):
            return self._arrow.array(exported.kinds, kind).take(self._arrow.array(exported.codes))
        if isinstance(exported, np.ndarray) and exported.dtype.kind != "S":
            unknown = exported == column.unknown if column.unknown is not None else None
            return self._arrow.array(exported.astype(np.int64), mask=unknown)
        found = values(rows, column)
        return self._arrow.array([list(one.items()) for one in found] if column.type == "times" else found, kind)

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(self._arrow.Table.from_batches(self._waiting))
        self._waiting, self._count = [], 0

    def close(self) -> None:
        """Write what is left and the footer, then give the file its name; where that fails, leave nothing."""
        try:
            self._flush()
            self._writer.close()
            self._file.close()
        except BaseException:
            self.abandon()
            raise
        if self._part != self._path:
            os.replace(self._part, self._path)  # noqa: PTH105

    def abandon(self) -> None:
        """Without its footer the file cannot be read: take it away."""
        with contextlib.suppress(OSError, self._arrow.ArrowException):
            self._writer.close()
        with contextlib.suppress(OSError):
            self._file.close()
        if self._part != self._path:
            with contextlib.suppress(OSError):
                self._part.unlink()
