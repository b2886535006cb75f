"""`synfin analyze FILE...`: connections, packets or states of captures, without a screen.

Every file is analysed by itself, in the order given; what cannot be read of one does not keep the others from being
read. Rows go to standard output as they are found (or to a Parquet file), everything else that is to be said to
standard error.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import click

from tracer.capture import CaptureError, open_capture
from tracer.capture.outcomes import OTHER
from tracer.export.cells import always
from tracer.export.table_text import TextTable
from tracer.filter_keys import TableName
from tracer.filter_rows import Connections, Rows
from tracer.filter_tables import COLUMNS, Column
from tracer.words import clean
from tui.cli_analyze_run import Analysis, Sieve, Step
from tui.cli_analyze_text import HEADINGS, Cells
from tui.cli_errors import CANNOT, INTERRUPTED, OUTPUT, USAGE, Trouble
from tui.plain import plain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tracer.capture.decoder import Frames
    from tracer.export.table import TableWriter
    from tracer.filter import Filter

LARGE: Final = 16 << 20
"""Bytes of a file from which on a line tells how far it is."""
TOGETHER: Final = 4096
"""Connections written at a time: they are in memory as text."""
EVERY: Final = 0.1
"""Seconds between two such lines."""
_WHOLE_CONNECTION: Final = frozenset({"analysis", "severity", "flag"})
"""Keys for connections that ask about all of a connection's packets."""


@dataclass(frozen=True)
class Request:
    """What was typed."""

    files: tuple[str, ...]
    table: str = "connections"
    """connections, packets or states."""
    form: str = "text"
    """text, json or csv; without meaning where ``parquet`` is given."""
    parquet: str | None = None
    display: str = ""
    pcap: str = ""
    clock: str = "r"
    """tui.cli_analyze_text.CLOCKS."""
    infer: bool = True

    @property
    def rows(self) -> TableName:
        """``table``, as a name of filter_keys."""
        return cast(TableName, self.table)


def analyze(request: Request) -> None:
    """Do it. Raises Trouble for whatever ends it early, or leaves it incomplete."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an arrow is no reason to fail where only ASCII can be written
    wanted = _display_filter(request)
    sieve = _pcap_filter(request.pcap)
    try:
        failed = _all(request, wanted, sieve)
    except BrokenPipeError:
        # The reader has gone (`| head`): not a failure. Python must not try to flush into it again.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    if failed:
        raise failed


def _all(request: Request, wanted: Filter | None, sieve: Sieve | None) -> Trouble | None:
    """Analyse every file; what to say when some could not be read. Raises it when none could."""
    failures = []
    several = len(request.files) > 1
    with _out(request) as out:
        for file in request.files:
            try:
                _one(request, file, wanted, sieve, out)
            except CaptureError as failure:
                failures.append(str(failure))
                if several:
                    _say(str(failure))
        if not failures:
            return None
        count, files = len(failures), len(request.files)
        trouble = Trouble(f"{count} of {files} files could not be read" if several else failures[0], USAGE)
        if count == files:
            raise trouble
        return trouble


def _display_filter(request: Request) -> Filter | None:
    if not request.display.strip():
        return None
    from tracer.filter import FilterError, compile_filter  # as everything that few runs need: a start-up is short

    try:
        return compile_filter(request.display, request.rows)
    except FilterError as wrong:
        raise Trouble(f"-Y: {wrong}", USAGE) from None


def _pcap_filter(expression: str) -> Sieve | None:
    if not expression.strip():
        return None
    from tracer.capture.pcapfilter import FilterRefused, LibpcapMissing, PcapFilter

    try:
        chosen = PcapFilter(expression)
    except FilterRefused as wrong:
        raise Trouble(str(wrong), USAGE) from None
    except LibpcapMissing as missing:
        raise Trouble(str(missing), CANNOT) from None

    def sieve(octets: NDArray[np.uint8], frames: Frames) -> None:
        try:
            chosen.sieve(octets, frames)
        except FilterRefused as wrong:  # of this link type it means nothing
            raise Trouble(str(wrong), USAGE) from None

    return sieve


class _Text:
    """The writer of aligned text."""

    def __init__(self, request: Request) -> None:
        self._cells = Cells(request.clock)
        self._clock = request.clock
        self._with_file = len(request.files) > 1
        self._file = ""
        self._table = TextTable(sys.stdout, [*(["File"] if self._with_file else []), *HEADINGS[request.rows]])

    def write(self, rows: Rows, file: str) -> None:
        """Write them aligned."""
        if file != self._file:
            self._file, self._cells = file, Cells(self._clock)
        if isinstance(rows, Connections):
            for part in rows.parts(TOGETHER):
                columns = self._cells.columns(part)
                self._table.write_columns([always(clean(file), len(part)), *columns] if self._with_file else columns)
            return
        cells = self._cells.of(rows)
        self._table.write([file, *row] for row in cells) if self._with_file else self._table.write(cells)

    def flush(self) -> None:
        """Print what is held to learn the columns' widths."""
        self._table.flush()

    close = abandon = flush


def _writer(request: Request, columns: tuple[Column, ...], *, several: bool) -> TableWriter:
    if request.parquet is not None:
        from tracer.export.table_parquet import Parquet, ParquetMissing

        try:
            return Parquet(request.parquet, columns, with_file=several)
        except ParquetMissing as missing:
            raise Trouble(str(missing), CANNOT) from None
    if request.form == "text":
        return _Text(request)
    from tracer.export.table import Csv, JsonLines

    return (JsonLines if request.form == "json" else Csv)(sys.stdout, columns, with_file=several)


@contextlib.contextmanager
def _out(request: Request) -> Iterator[TableWriter]:
    """Where rows go. An output that cannot be written is Trouble; a reader that has gone away is left to main()."""
    try:
        writer = _writer(request, COLUMNS[request.rows], several=len(request.files) > 1)
        try:
            yield writer
        except KeyboardInterrupt:
            writer.close()
            raise Trouble("interrupted; what was analysed until then is written", INTERRUPTED) from None
        except BaseException:
            if request.parquet is not None:
                writer.abandon()
            raise
        writer.close()
    except (BrokenPipeError, PermissionError):
        raise
    except OSError as failure:
        where = request.parquet or "the output"
        raise Trouble(f"{where} cannot be written: {(failure.strerror or str(failure)).lower()}", OUTPUT) from None
    if request.parquet is not None:
        _say(f"saved {request.parquet}")


def _one(request: Request, file: str, wanted: Filter | None, sieve: Sieve | None, out: TableWriter) -> None:
    collect = wanted is not None and bool(wanted.keys & _WHOLE_CONNECTION)
    with open_capture(file) as capture:
        analysis = Analysis(
            capture, request.rows, infer=request.infer, collect=collect, size=_size(file),
            sieve=sieve,
        )  # fmt: skip
        text = request.form == "text" and request.parquet is None
        analysis.info.wanted = text or (wanted is not None and "text" in wanted.keys)
        progress = Progress(file)
        steps = analysis.steps()

        def write(rows: Rows, *, live: bool) -> None:
            if wanted is not None and len(rows):
                rows = rows.pick(wanted.mask(rows, len(rows)))
            if len(rows):
                progress.clear()
                out.write(rows, file)
                if live and isinstance(out, _Text):
                    out.flush()  # a live capture: now, not when there are enough for good columns

        try:
            for step in steps:
                write(step.rows, live=step.total is None)
                progress.show(step)
        except KeyboardInterrupt:
            steps.close()  # the engine comes to rest: it may be in the middle of a block
            write(analysis.rest(), live=False)
            raise
        finally:
            progress.clear()
        for note in capture.notes:
            if note.kind != OTHER:
                _say(f"{Path(capture.name).name}: {note}")
        if analysis.replay.notice:
            _say(analysis.replay.notice)


def _size(file: str) -> int:
    """Bytes of a plain file, 0 for anything that may be live."""
    try:
        found = os.stat(file)  # noqa: PTH116
    except (OSError, ValueError):
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def _say(sentence: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        click.echo(f"synfin: {plain(sentence)}", err=True)


class Progress:
    """A line on standard error that says how far a large file is, where that is a terminal."""

    def __init__(self, file: str, now: Callable[[], float] = time.monotonic) -> None:
        self._name = plain(Path(file).name)
        self._now = now
        self._began = self._last = now()
        self._on = sys.stderr.isatty()
        self._shown = False

    def show(self, step: Step) -> None:
        """Draw it anew, not too often."""
        if not self._on or not step.total or step.total < LARGE or self._now() - self._last < EVERY:
            return
        self._last = self._now()
        rate = step.packets / max(self._last - self._began, 0.001)
        share = f"{100 * step.done / step.total:.0f} %"
        self._write(f"\r{self._name[:40]}  {share}  {step.packets:,} packets  {rate:,.0f}/s\x1b[K")
        self._shown = True

    def clear(self) -> None:
        """Take it away before anything else is printed."""
        if self._shown:
            self._write("\r\x1b[K")
            self._shown = False

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()
