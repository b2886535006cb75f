"""How far the analysis agrees with tshark on captures it has never been tuned to: share of equal packets per column.

    python tests/corpus_report.py [NAME...]      captures whose name contains NAME; "bench" is the large one

Every capture of the corpora goes through the reader and the engine as a user's would, and each column is compared with
what tshark 4.0.17 printed for the same frame. Differences are listed with file, frame, what tshark says, what we say,
and the reason where one is known. Without NAME the program fails (exit 1) where a column has fewer than 99.9 % equal
packets of all captures together.

Four things are set right before comparing, all of them tshark's ways of printing: TCP headers quoted in ICMP errors are
no segments here (so streams that consist of them are not numbered); frames with several segments have no row; a time of
zero is not printed; and the completeness printed for a stream's first frame leaves that frame out unless it is a SYN.
"""

from __future__ import annotations

import csv
import gzip
import lzma
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.capture import CaptureError, open_capture
from tracer.replay import ANALYSIS, FINDINGS, UNKNOWN, Replay

CORPORA: Final = Path(os.environ.get("SYNFIN_CORPORA", Path(__file__).resolve().parents[2] / "shared" / "corpora"))

ENOUGH: Final = 0.999
"""Share of equal packets each column must reach."""

NUMBERS: Final = {
    "tcp.stream": "stream",
    "tcp.window_size": "window",
    "tcp.completeness": "completeness",
    "tcp.analysis.duplicate_ack_num": "duplicate_ack_number",
    "tcp.analysis.duplicate_ack_frame": "duplicate_ack_frame",
    "tcp.analysis.acks_frame": "acked_frame",
    "tcp.analysis.rto_frame": "rto_frame",
    "tcp.analysis.bytes_in_flight": "bytes_in_flight",
    "tcp.analysis.push_bytes_sent": "push_bytes_sent",
}
TIMES: Final = {
    "tcp.analysis.ack_rtt": "rtt",
    "tcp.analysis.initial_rtt": "initial_rtt",
    "tcp.analysis.rto": "rto",
}

HERE: Final = Path(__file__).resolve().parent
TSHARK_DIFFERENCES: Final = HERE / "tshark_differences.tsv"
"""Every packet that differs: file, column, frames, and why ours is right or accepted."""
ZEEK_DIFFERENCES: Final = HERE / "zeek_differences.tsv"
"""Every row of Zeek's that differs: file, row (line of zeek_conn.tsv), conn_state and history there and here, why."""
PAGE: Final = HERE.parent / "docs" / "agreement.md"


def table(path: Path) -> list[dict[str, str]]:
    """Rows of a file of tab-separated values."""
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def numbers(text: str) -> list[int]:
    """``2-4,7`` as 2, 3, 4, 7."""
    ranges = (part.partition("-") for part in text.split(","))
    return [n for first, _, last in ranges for n in range(int(first), int(last or first) + 1)]


REASONS: Final[dict[tuple[str, str, int], str]] = {
    (row["file"], row["column"], frame): row["reason"]
    for row in table(TSHARK_DIFFERENCES)
    for frame in numbers(row["frames"])
}
"""Why, as far as can be told from outside, by file, column and frame."""


def markdown(path: Path) -> str:
    """The same table for the page."""
    rows = table(path)
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *(list(row.values()) for row in rows)]
    return "".join(f"| {' | '.join(cell.replace(',', ', ') for cell in line)} |\n" for line in lines)


class Difference(NamedTuple):
    """One packet in one column."""

    file: str
    frame: int
    column: str
    tshark: int
    ours: int

    @property
    def reason(self) -> str:
        """Why, where it is known."""
        return REASONS.get((self.file, self.column, self.frame), "")


@dataclass
class Report:
    """Counts over all captures compared."""

    packets: int = 0
    files: int = 0
    compared: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    """Captures whose frames are not the ones tshark has rows for, in words."""

    def column(self, name: str, file: str, frames: Iterable[int], theirs: list[int], ours: list[int]) -> None:
        """Count one column of one capture."""
        self.compared[name] += len(theirs)
        for frame, want, got in zip(frames, theirs, ours, strict=True):
            if want != got:
                self.differences.append(Difference(file, frame, name, want, got))

    def shares(self) -> dict[str, float]:
        """Share of equal packets of each column."""
        wrong = Counter(row.column for row in self.differences)
        return {name: 1 - wrong[name] / count for name, count in self.compared.items() if count}


def nanoseconds(text: str) -> int:
    """A decimal number of seconds, exactly."""
    whole, _, part = text.lstrip("-").partition(".")
    value = int(whole) * 10**9 + int(part.ljust(9, "0")[:9] or 0)
    return -value if text.startswith("-") else value


def truth_rows(path: Path) -> tuple[list[dict[str, str]], bool]:
    """tshark's rows of single segments, and whether rows were left out whose streams are numbered all the same."""
    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    kept = []
    for row in rows:
        layers = row["frame.protocols"].split(":")
        before = layers[: layers.index("tcp")] if "tcp" in layers else layers
        if "," not in row["tcp.stream"] and row["tcp.seq_raw"] and not any(x.startswith("icmp") for x in before):
            kept.append(row)
    return kept, len(kept) < len(rows)


def analyse(path: Path) -> tuple[NDArray[Any], NDArray[Any], dict[int, Any]]:
    """A capture's segments, their analysis, and its connections by stream number."""
    replay = Replay(compiled=False)
    segments, found = [], []
    with open_capture(path) as capture:
        for block in capture.blocks():
            segments.append(block.segments.copy())
            found.append(replay.feed(block.segments))
    connections = {int(row["stream"]): row for row in np.concatenate((replay.finished(), replay.connections()))}
    if not segments:
        return np.zeros(0, "u4"), np.zeros(0, ANALYSIS), connections
    return np.concatenate(segments)["frame"], np.concatenate(found), connections


def compare(capture: Path, truth: Path, report: Report) -> None:
    """Compare one capture with tshark's rows for it."""
    rows, renumber = truth_rows(truth)
    if not rows:
        return
    try:
        frames, found, connections = analyse(capture)
    except CaptureError as problem:
        report.absent.append(f"{capture.name}: not read: {problem}")
        return
    single = {int(f): i for i, f in enumerate(frames)}
    doubled = {int(f) for f, n in Counter(frames.tolist()).items() if n > 1}
    missing = [row["frame.number"] for row in rows if int(row["frame.number"]) not in single]
    extra = len(single) - (len(rows) - len(missing))
    if missing or extra > 0:
        report.absent.append(f"{capture.name}: {len(missing)} frames of tshark's not here, {max(extra, 0)} more here")
    rows = [row for row in rows if int(row["frame.number"]) in single and int(row["frame.number"]) not in doubled]
    numbers = [int(row["frame.number"]) for row in rows]
    ours = found[[single[n] for n in numbers]]
    report.packets += len(rows)
    report.files += 1

    for finding in FINDINGS:
        theirs = [int(bool(row[f"tcp.analysis.{finding.field}"])) for row in rows]
        mine = ((ours["findings"] & finding.bit) != 0).astype(int).tolist()
        report.column(finding.field, capture.name, numbers, theirs, mine)
    for name, column in NUMBERS.items():
        default = UNKNOWN if column in ("bytes_in_flight", "push_bytes_sent") else 0
        theirs = [int(row[name] or default) for row in rows]
        mine = ours[column].tolist()
        if column == "stream" and renumber:
            theirs, mine = _dense(theirs), _dense(mine)
        if column == "rto_frame":
            mine = [0 if rto == 0 else frame for frame, rto in zip(mine, ours["rto"].tolist(), strict=True)]
        if column == "completeness":
            mine = list(_completeness(rows, theirs, ours, connections))
        report.column(column, capture.name, numbers, theirs, mine)
    for name, column in TIMES.items():
        values = ours[column].tolist()
        if column == "initial_rtt":
            values = [int(connections[s]["initial_rtt"]) for s in ours["stream"].tolist()]
        shown = [i for i, row in enumerate(rows) if row[name] or column != "initial_rtt"]
        theirs = [nanoseconds(rows[i][name]) if rows[i][name] else UNKNOWN for i in shown]
        mine = [values[i] or UNKNOWN for i in shown]
        report.column(column, capture.name, [numbers[i] for i in shown], theirs, mine)


def _dense(values: list[int]) -> list[int]:
    rank = {value: i for i, value in enumerate(sorted(set(values)))}
    return [rank[value] for value in values]


def _completeness(
    rows: list[dict[str, str]], theirs: list[int], ours: NDArray[Any], connections: dict[int, Any]
) -> Iterator[int]:
    for row, want, stream in zip(rows, theirs, ours["stream"].tolist(), strict=True):
        got = int(connections[stream]["completeness"])
        if got != want and int(connections[stream]["first_frame"]) == int(row["frame.number"]):
            flags, length = int(row["tcp.flags"], 16), int(row["tcp.len"] or 0)
            own = (2 if flags & 18 == 18 else 0) | (4 if flags & 18 == 16 and not length else 0)
            own |= (8 if length else 0) | (16 if flags & 1 else 0) | (32 if flags & 4 else 0)
            got = want if want | own == got else got
        yield got


BENCH_COLUMNS: Final = (
    "retransmission",
    "fast_retransmission",
    "spurious_retransmission",
    "out_of_order",
    "duplicate_ack",
    "zero_window",
    "window_full",
    "keep_alive",
    "keep_alive_ack",
    "window_update",
    "lost_segment",
    "ack_lost_segment",
    "zero_window_probe",
    "zero_window_probe_ack",
    "reused_ports",
)
"""Columns 3 to 17 of the bench capture's csv."""


def compare_bench(report: Report, limit: int = 0, compiled: bool | None = None) -> None:
    """Compare the bench capture (one pass of tshark) with its csv, all of it or its first ``limit`` packets."""
    name = "mixed-931k.pcap"
    replay = Replay(compiled=compiled)
    found = []
    count = 0
    with open_capture(CORPORA / "bench" / f"{name}.xz") as capture:
        for block in capture.blocks():
            found.append(replay.feed(block.segments))
            count += len(block.segments)
            if limit and count >= limit:
                break
    ours = np.concatenate(found)[: limit or None]
    with lzma.open(CORPORA / "bench" / "mixed-931k.tshark.csv.xz", "rt") as lines:
        rows = [row for row, _ in zip(csv.reader(lines), range(len(ours)), strict=False)]
    assert len(rows) == len(ours)
    columns = list(zip(*rows, strict=True))
    frames = [int(text) for text in columns[0]]
    report.packets += len(rows)
    report.files += 1
    by_field = {finding.field: finding.bit for finding in FINDINGS}
    for i, column in enumerate(BENCH_COLUMNS):
        mine = ((ours["findings"] & by_field[column]) != 0).astype(int).tolist()
        report.column(column, name, frames, [int(bool(text)) for text in columns[3 + i]], mine)
    report.column("stream", name, frames, [int(text) for text in columns[1]], ours["stream"].tolist())
    for i, column, default in (
        (18, "bytes_in_flight", UNKNOWN),
        (21, "push_bytes_sent", UNKNOWN),
        (22, "duplicate_ack_number", 0),
    ):
        report.column(column, name, frames, [int(text or default) for text in columns[i]], ours[column].tolist())
    rtt = [value or UNKNOWN for value in ours["rtt"].tolist()]
    report.column("rtt", name, frames, [nanoseconds(text) if text else UNKNOWN for text in columns[19]], rtt)
    shown = [i for i, text in enumerate(columns[20]) if text]
    mine = ours["initial_rtt"][shown].tolist()
    report.column("initial_rtt", name, shown, [nanoseconds(columns[20][i]) for i in shown], mine)
    # One pass prints the completeness as it was before the frame, except a SYN's that begins a stream anew.
    before: dict[int, int] = {}
    mine = []
    for stream, after, bits in zip(*(ours[c].tolist() for c in ("stream", "completeness", "findings")), strict=True):
        mine.append(1 if bits & by_field["reused_ports"] else before.get(stream, 0))
        before[stream] = after
    report.column("completeness", name, frames, [int(text) for text in columns[2]], mine)


def captures(words: list[str]) -> Iterator[tuple[Path, Path]]:
    """(capture, truth) of every capture with TCP whose name contains one of the words, or of all."""
    for folder, truth in (
        ("captures/tcp", "truth/tshark"),
        ("captures/fuzz", "truth/tshark"),
        ("captures/pcapng-format", "truth/tshark"),
        ("kernel_oracle/pcap", "kernel_oracle/tshark"),
    ):
        for path in sorted((CORPORA / folder).iterdir()):
            stem = path.name if folder != "kernel_oracle/pcap" else path.name.removesuffix(".pcap")
            rows = CORPORA / truth / f"{stem}.tsv.gz"
            if rows.exists() and (not words or any(word in path.name for word in words)):
                yield path, rows


def main(words: list[str]) -> int:
    """Compare and print; the exit code."""
    report = Report()
    for capture, truth in captures(words):
        compare(capture, truth, report)
    if not words or "bench" in words:
        compare_bench(report)
    print(f"{report.packets:,} packets of {report.files} captures")
    shares = report.shares()
    for name, share in shares.items():
        wrong = sum(row.column == name for row in report.differences)
        print(f"  {name:24} {100 * share:9.4f} %  {wrong:6} of {report.compared[name]:,} differ")
    shown: Counter[tuple[str, str]] = Counter()
    for row in report.differences:
        shown[row.file, row.column] += 1
        if shown[row.file, row.column] <= 3:
            print(f"{row.file} frame {row.frame} {row.column}: tshark {row.tshark}, here {row.ours}  {row.reason}")
    for (file, column), count in shown.items():
        if count > 3:
            print(f"{file} {column}: {count - 3} more frames")
    for text in report.absent:
        print(text)
    if words:
        print("shares of some captures are only shown: a column is judged over all of them")
        return 0
    return 0 if all(share >= ENOUGH for share in shares.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
