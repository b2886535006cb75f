"""Reports as a table: a column for each model (or case of an experiment), a row for each figure.

A load that was run several times gives the median of each figure and the range around it, for one number of a busy
machine says little.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any, Final, NamedTuple

Runs = Mapping[str, Sequence[dict[str, Any]]]
"""Label of the column -> the figures (Report.figures) of each run."""


class Row(NamedTuple):
    """One figure."""

    key: str
    """In Report.figures()."""
    title: str
    shown: Callable[[float], str]


def count(value: float) -> str:
    """12,345, and parts where there are few."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"


def size(value: float) -> str:
    """Bytes: `512 B`, `16.4 KiB`."""
    for unit in ("B", "KiB", "MiB"):
        if abs(value) < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.2f} GiB"


def span(value: float) -> str:
    """Seconds: `12 us`, `3.4 ms`, `1.20 s`."""
    if value < 1e-3:
        return f"{value * 1e6:.0f} us"
    return f"{value * 1e3:.1f} ms" if value < 1 else f"{value:.2f} s"


def per_second(value: float) -> str:
    """A rate."""
    return f"{count(value)}/s"


ROWS: Final = (
    Row("connections", "connections made", count),
    Row("held", "held to the end", count),
    Row("connect_rate", "connect rate", per_second),
    Row("connect_p50", "connect, median", span),
    Row("connect_p99", "connect, 99 %", span),
    Row("messages", "messages answered", count),
    Row("messages_rate", "messages", per_second),
    Row("round_trip_p50", "answer, median", span),
    Row("round_trip_p90", "answer, 90 %", span),
    Row("round_trip_p99", "answer, 99 %", span),
    Row("round_trip_p99.9", "answer, 99.9 %", span),
    Row("cpu", "processor time", span),
    Row("cpu_per_message", "processor time a message", span),
    Row("memory", "resident memory", size),
    Row("memory_per_connection", "memory a connection", size),
    Row("tcp_memory", "TCP memory of the machine", size),
    Row("skmem", "buffers in the kernel, a socket", size),
    Row("threads", "threads", count),
    Row("tasks", "tasks", count),
    Row("files", "file descriptors", count),
    Row("wakeups", "wake-ups", count),
    Row("wakeups_per_message", "wake-ups a message", count),
    Row("preemptions", "preemptions", count),
    Row("syscalls_per_message", "system calls a message", count),
    Row("accept_queue_max", "accept queue, longest seen", count),
    Row("turned_away", "turned away by the server", count),
)
_KNOWN: Final = {row.key: row for row in ROWS}


def cell(row: Row, runs: Sequence[dict[str, Any]]) -> str:
    """The median, and least and most where there are several; `-` where it is not known."""
    values = [float(run[row.key]) for run in runs if run.get(row.key) is not None]
    if not values:
        return "-"
    middle = row.shown(median(values))
    if len(values) == 1:
        return middle
    low, high = row.shown(min(values)), row.shown(max(values))
    return middle if low == high else f"{middle} ({low} to {high})"


def errors(runs: Sequence[dict[str, Any]]) -> str:
    """All errors of all runs by kind: `0`, or `12 ECONNRESET, 3 EMFILE`."""
    every: Counter[str] = Counter()
    for run in runs:
        every.update(run["errors"])
        every.update({f"{name} (server)": number for name, number in run["server"].items() if name == "emfile"})
    told = [f"{number:,} {name}" for name, number in every.most_common() if number]
    return ", ".join(told) or "0"


def table(runs: Runs, keys: Sequence[str] = ()) -> Iterator[list[str]]:
    """Lines of cells, the heading first. `keys`: only these figures; errors are always told."""
    labels = list(runs)
    yield ["", *labels]
    rows = [_KNOWN[key] for key in keys] or list(ROWS)
    for row in rows:
        cells = [cell(row, runs[label]) for label in labels]
        if any(text != "-" for text in cells):
            yield [row.title, *cells]
    yield ["errors", *(errors(runs[label]) for label in labels)]


def notes(runs: Runs) -> list[str]:
    """What is to be said besides, each sentence once."""
    found = [f"{label}: {note}" for label, each in runs.items() for run in each for note in run["notes"]]
    return list(dict.fromkeys(found))


def aligned(lines: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """As text; where the terminal is too narrow for all columns, in several blocks under one another."""
    wide = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    first = 1
    while first < len(wide):
        last, taken = first, wide[0]
        while last < len(wide) and (last == first or taken + 2 + wide[last] <= width):
            taken += 2 + wide[last]
            last += 1
        if first > 1:
            yield ""
        for line in lines:
            cells = [f"{line[at]:>{wide[at]}}" for at in range(first, last)]
            yield "  ".join([f"{line[0]:<{wide[0]}}", *cells]).rstrip()
        first = last


def markdown(lines: Sequence[Sequence[str]]) -> Iterator[str]:
    """As a Markdown table; with more columns than lines, on its side: a page is higher than it is wide."""
    if len(lines[0]) > len(lines):
        lines = list(zip(*lines, strict=True))
    for number, line in enumerate(lines):
        yield "| " + " | ".join(text.replace("|", "\\|") for text in line) + " |"
        if number == 0:
            yield "|---|" + "---:|" * (len(line) - 1)


def plain_number(value: float) -> float | None:
    """For JSON, which knows neither infinity nor nan."""
    return value if math.isfinite(value) else None
