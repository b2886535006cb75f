"""The loop over segments as plain Python: rows of a batch become tuples of numbers, connections become objects.

It needs no preparation, so it serves short captures, live packets, and the first seconds of a large capture while the
compiled loop is not there yet.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracer.replay.analysis import ANALYSIS
from tracer.replay.lifetimes import Tables, connection, settle
from tracer.replay.rows import NONE, Book, Direction, Flow, Unacked, Verdict
from tracer.replay.rules import SACK_BLOCKS, segment

COLUMNS = (
    "time", "frame", "family", "src_hi", "src_lo", "sport", "dst_hi", "dst_lo", "dport", "seq", "ack", "flags",
    "length", "window", "wscale", "caplen",
)  # fmt: skip
"""What the rules read of a segment, besides its SACK blocks."""


def tables() -> Tables:
    """Empty tables; row 0 of flows and directions is never used."""
    return Tables({}, [Flow()], [Direction(), Direction()], [], [Book()], [], [], {})


def reserve(tables: Tables, segments: int) -> None:
    """See to it that as many segments find free rows."""
    book = tables.book[0]
    while book.free_flows < segments:
        tables.flows.append(Flow(newer=book.free_flow))
        tables.directions.extend((Direction(), Direction()))
        book.free_flow = len(tables.flows) - 1
        book.free_flows += 1
    while book.free_count < segments:
        tables.pool.append(Unacked(newer=book.free_unacked))
        book.free_unacked = len(tables.pool) - 1
        book.free_count += 1


def run(tables: Tables, segments: NDArray[Any]) -> NDArray[Any]:
    """Analyse rows of ``SEGMENT`` in order; as many rows of ``ANALYSIS``."""
    flows, directions, pool, book = tables.flows, tables.directions, tables.pool, tables.book[0]
    out = Verdict()
    found = []
    columns = [_numbers(segments[name]) for name in COLUMNS]
    for (
        time, frame, family, src_hi, src_lo, sport, dst_hi, dst_lo, dport, seq, ack, flags, length, window, wscale,
        caplen, sacked,
    ) in zip(*columns, _sacked(segments), strict=True):  # fmt: skip
        if book.free_flows < 1 or book.free_count < 1:
            reserve(tables, 64)
        place = connection(tables, time, frame, family, src_hi, src_lo, sport, dst_hi, dst_lo, dport, seq, flags)
        out.rtt = out.rto = out.bytes_in_flight = out.push_bytes_sent = NONE
        out.acked_frame = out.duplicate_ack_frame = out.duplicate_ack_number = out.rto_frame = 0
        segment(
            flows[place >> 1], directions[place], directions[place ^ 1], pool, book, out,
            frame, time, seq, ack, flags, length, window, wscale, sacked,
        )  # fmt: skip
        directions[place].captured += caplen
        settle(tables, place, out, seq, flags, length)
        found.append(
            (
                out.rtt, out.initial_rtt, out.rto, out.bytes_in_flight, out.push_bytes_sent, out.stream, out.findings,
                out.acked_frame, out.duplicate_ack_frame, out.duplicate_ack_number, out.rto_frame, out.window,
                out.completeness, out.direction,
            )
        )  # fmt: skip
    return np.array(found, ANALYSIS)


def kept(tables: Tables) -> tuple[list[Flow], list[Direction]]:
    """Flow rows and direction rows of all connections whose state is kept, by stream number."""
    numbers = sorted({place >> 1 for place in tables.places.values()}, key=lambda n: tables.flows[n].stream)
    return [tables.flows[n] for n in numbers], [tables.directions[2 * n + d] for n in numbers for d in (0, 1)]


def _numbers(column: NDArray[Any]) -> list[int]:
    """Signed where a number fills 64 bits, so that plain and compiled rows hold the same addresses."""
    values: list[int] = (column.view("i8") if column.dtype.itemsize == 8 else column).tolist()
    return values


def _sacked(segments: NDArray[Any]) -> list[int]:
    """Bytes in the SACK blocks that count."""
    spans = (segments["sack_right"] - segments["sack_left"])[:, :SACK_BLOCKS].astype("i8")
    spans[np.arange(SACK_BLOCKS) >= segments["n_sack"][:, None]] = 0
    values: list[int] = spans.sum(axis=1).tolist()
    return values
