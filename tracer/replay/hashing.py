"""The functions of ``lifetimes`` that touch containers, for arrays instead of lists and a dictionary.

Connections are found through a table of row numbers with open addressing: the hash of both endpoints together is the
same from either side, and a place holds the number of a connection's row, or 0. A row that leaves is closed over by
the rows behind it (Knuth, The Art of Computer Programming, volume 3, section 6.4, algorithm R), so nothing marks what
was deleted and the table does not age. Row 0 of flows and directions stays blank: it is what new rows are copied
from.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tracer.replay.lifetimes import connection, settle
from tracer.replay.rules import SACK_BLOCKS, segment

wide: Any = np.int64
"""Signed and 64 bits wide, as the rules want their numbers."""


def slot_of(a_hi: int, a_lo: int, a_port: int, b_hi: int, b_lo: int, b_port: int, capacity: int) -> int:
    """Where the search for a connection begins; the same for both orders of its endpoints."""
    # Each endpoint is mixed by itself, so that exchanging the ports of two hosts is another connection.
    a = (a_hi ^ (a_lo * 0x2545F491) ^ (a_port * 0x9E3779B1)) * 0x1B873593
    b = (b_hi ^ (b_lo * 0x2545F491) ^ (b_port * 0x9E3779B1)) * 0x1B873593
    h = (a ^ (a >> 29)) + (b ^ (b >> 29))
    h = (h ^ (h >> 17)) * 0x61C88647
    return (h ^ (h >> 23)) & (capacity - 1)


def find(tables: Any, src_hi: int, src_lo: int, sport: int, dst_hi: int, dst_lo: int, dport: int) -> int:
    """2 * row number + direction of the connection between these endpoints, -1 where there is none."""
    places = tables.places
    flows = tables.flows
    capacity = tables.book[0].capacity
    slot = slot_of(src_hi, src_lo, sport, dst_hi, dst_lo, dport, capacity)
    while places[slot]:
        number: int = places[slot]
        flow = flows[number]
        if (
            flow.sport == sport
            and flow.dport == dport
            and (flow.src_lo == src_lo and flow.dst_lo == dst_lo and flow.src_hi == src_hi and flow.dst_hi == dst_hi)
        ):
            return 2 * number
        if (
            flow.sport == dport
            and flow.dport == sport
            and (flow.src_lo == dst_lo and flow.dst_lo == src_lo and flow.src_hi == dst_hi and flow.dst_hi == src_hi)
        ):
            return 2 * number + 1
        slot = (slot + 1) & (capacity - 1)
    return -1


def home(tables: Any, number: int) -> int:
    """Where the search for this connection begins."""
    flow = tables.flows[number]
    capacity = tables.book[0].capacity
    return slot_of(flow.src_hi, flow.src_lo, flow.sport, flow.dst_hi, flow.dst_lo, flow.dport, capacity)


def insert(tables: Any, number: int) -> None:
    """Make a connection findable from both ends."""
    places = tables.places
    slot = home(tables, number)
    while places[slot]:
        slot = (slot + 1) & (tables.book[0].capacity - 1)
    places[slot] = number


def remove(tables: Any, number: int) -> None:
    """Undo ``insert``."""
    places = tables.places
    mask = tables.book[0].capacity - 1
    slot = home(tables, number)
    while places[slot] != number:
        slot = (slot + 1) & mask
    gap = slot
    while True:
        slot = (slot + 1) & mask
        if places[slot] == 0:
            break
        # What lies here may move into the gap unless its search begins behind the gap.
        if (slot - home(tables, places[slot])) & mask >= (slot - gap) & mask:
            places[gap] = places[slot]
            gap = slot
    places[gap] = 0


def blank(tables: Any, number: int) -> None:
    """Make a connection's three rows new."""
    tables.flows[number] = tables.flows[0]
    tables.directions[2 * number] = tables.directions[0]
    tables.directions[2 * number + 1] = tables.directions[0]


def keep(tables: Any, number: int) -> None:
    """Put a connection's rows where the finished ones wait to be fetched."""
    book = tables.book[0]
    k = book.finished
    tables.ended_flows[k] = tables.flows[number]
    tables.ended_directions[2 * k] = tables.directions[2 * number]
    tables.ended_directions[2 * k + 1] = tables.directions[2 * number + 1]
    book.finished = k + 1


def recalled(tables: Any, place: int, mark: int, seq: int) -> bool:
    """Whether that direction is in its place, with another number."""
    one = tables.closed[place]
    found: bool = one.mark == mark and one.base_seq != seq
    return found


def remember(tables: Any, place: int, mark: int, base_seq: int) -> None:
    """Put a direction in its place."""
    one = tables.closed[place]
    one.mark = mark
    one.base_seq = base_seq


def run(tables: Any, lost: Any, segments: Any, found: Any) -> int:
    """Analyse ``segments`` in order into ``found``; ``lost`` numbers rows that are not in the hash table yet.

    How many were analysed: fewer than all where the next might not find a free row.
    """
    book = tables.book[0]
    room = len(tables.ended_flows) - 2  # a segment may end two connections
    for i in range(len(lost)):
        insert(tables, lost[i])
    for i in range(len(segments)):
        if book.free_flows < 1 or book.free_count < 1 or book.finished > room:
            return i
        row = segments[i]
        time = row.time
        frame = wide(row.frame)
        seq = wide(row.seq)
        flags = wide(row.flags)
        place = connection(
            tables, time, frame, wide(row.family), wide(row.src_hi), wide(row.src_lo), wide(row.sport),
            wide(row.dst_hi), wide(row.dst_lo), wide(row.dport), seq, flags,
        )  # fmt: skip
        sacked = 0
        for k in range(min(wide(row.n_sack), SACK_BLOCKS)):
            sacked += (wide(row.sack_right[k]) - wide(row.sack_left[k])) & 0xFFFFFFFF
        out = found[i]
        out.rtt = out.rto = out.bytes_in_flight = out.push_bytes_sent = -1
        out.acked_frame = out.duplicate_ack_frame = out.duplicate_ack_number = out.rto_frame = 0
        segment(
            tables.flows[place >> 1], tables.directions[place], tables.directions[place ^ 1], tables.pool, book, out,
            frame, time, seq, wide(row.ack), flags, wide(row.length), wide(row.window),
            wide(row.wscale), sacked,
        )  # fmt: skip
        tables.directions[place].captured += wide(row.caplen)
        settle(tables, place, out, seq, flags, wide(row.length))
    return len(segments)
