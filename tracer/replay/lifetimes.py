"""When a connection begins and when its rows may be used again.

A connection begins with the first segment between two endpoints, or with a SYN whose sequence number is not that of
the connection known there (RFC 9293 section 3.6.1: the ports are reused). Its rows stay while it is open. Connections
that are not (only SYNs so far, or closed by two FINs or a RST) wait in a list in the order of their last segments,
because a late retransmission or a reuse still belongs to them; beyond ``LINGER`` of them the one silent for the
longest gives up its rows, and little of it is remembered (``reuse``). So memory grows with live connections, neither
with bytes nor with connections that have come and gone, and a SYN flood takes what ``LINGER`` connections take.

``find``, ``insert``, ``remove``, ``blank`` and ``keep`` are the functions that differ between plain and compiled;
``hashing`` has the compiled ones. Row 0 of flows and directions is never used.
"""

from __future__ import annotations

from typing import NamedTuple

from tracer.replay.analysis import REUSED_PORTS
from tracer.replay.flight import forget
from tracer.replay.history import likely_responder, note, tell
from tracer.replay.reuse import Closed, note_closed, was_closed
from tracer.replay.rows import Book, Direction, Flow, Unacked, Verdict
from tracer.segments import ACK, FIN, RST, SYN

LINGER = 32_768
"""Connections kept that are not open: more than the 28,232 ports from which Linux chooses for one peer."""

ACK_SEEN, RST_SEEN = 4, 32

Index = dict[tuple[int, int, int, int, int, int], int]
"""Plain: both orientations of a connection's endpoints -> 2 * row number + direction."""


class Tables(NamedTuple):
    """All rows there are: lists of objects, or arrays of records."""

    places: Index
    flows: list[Flow]
    directions: list[Direction]
    """Those of flow n at 2n (from the endpoint that sent the first captured segment) and 2n + 1."""
    pool: list[Unacked]
    book: list[Book]
    """One row."""
    ended_flows: list[Flow]
    ended_directions: list[Direction]
    """Connections whose rows were freed, until somebody fetches them."""
    closed: dict[int, Closed]
    """What is remembered of them (``reuse``), by place."""


def find(
    tables: Tables,
    src_hi: int,
    src_lo: int,
    sport: int,
    dst_hi: int,
    dst_lo: int,
    dport: int,
) -> int:
    """2 * row number + direction of the connection between these endpoints, -1 where there is none."""
    return tables.places.get((src_hi, src_lo, sport, dst_hi, dst_lo, dport), -1)


def insert(tables: Tables, number: int) -> None:
    """Make a connection findable from both ends."""
    flow = tables.flows[number]
    a = (flow.src_hi, flow.src_lo, flow.sport)
    b = (flow.dst_hi, flow.dst_lo, flow.dport)
    tables.places[b + a] = 2 * number + 1
    tables.places[a + b] = 2 * number  # last: a socket connected to itself has one direction


def remove(tables: Tables, number: int) -> None:
    """Undo ``insert``."""
    flow = tables.flows[number]
    a = (flow.src_hi, flow.src_lo, flow.sport)
    b = (flow.dst_hi, flow.dst_lo, flow.dport)
    tables.places.pop(a + b, None)
    tables.places.pop(b + a, None)


def blank(tables: Tables, number: int) -> None:
    """Make a connection's three rows new."""
    tables.flows[number] = Flow()
    tables.directions[2 * number] = Direction()
    tables.directions[2 * number + 1] = Direction()


def keep(tables: Tables, number: int) -> None:
    """Put a connection's rows where the finished ones wait to be fetched."""
    tables.ended_flows.append(tables.flows[number])
    tables.flows[number] = Flow()  # a free row is written to, a finished one is not
    tables.ended_directions.append(tables.directions[2 * number])
    tables.ended_directions.append(tables.directions[2 * number + 1])


def begin(
    tables: Tables,
    time: int,
    frame: int,
    family: int,
    src_hi: int,
    src_lo: int,
    sport: int,
    dst_hi: int,
    dst_lo: int,
    dport: int,
) -> int:
    """Rows for a new connection; what ``find`` would now answer."""
    book = tables.book[0]
    number = book.free_flow
    book.free_flow = tables.flows[number].newer
    book.free_flows -= 1
    blank(tables, number)
    flow = tables.flows[number]
    flow.stream = book.streams
    book.streams += 1
    flow.src_hi = src_hi
    flow.src_lo = src_lo
    flow.sport = sport
    flow.dst_hi = dst_hi
    flow.dst_lo = dst_lo
    flow.dport = dport
    flow.family = family
    flow.first_time = time
    flow.first_frame = frame
    insert(tables, number)
    append(tables, number)
    if book.listed > LINGER:
        part_with(tables, book.oldest)
        retire(tables, book.oldest)
    return 2 * number


def part_with(tables: Tables, number: int) -> None:
    """Remember the endpoints of a connection that is given up although nobody needs them yet."""
    flow, one, other = tables.flows[number], tables.directions[2 * number], tables.directions[2 * number + 1]
    a_hi, a_lo, a_port, b_hi, b_lo, b_port = flow.src_hi, flow.src_lo, flow.sport, flow.dst_hi, flow.dst_lo, flow.dport
    if one.base_known:
        note_closed(tables, a_hi, a_lo, a_port, b_hi, b_lo, b_port, one.base_seq)
    if other.base_known:
        note_closed(tables, b_hi, b_lo, b_port, a_hi, a_lo, a_port, other.base_seq)


def connection(
    tables: Tables,
    time: int,
    frame: int,
    family: int,
    src_hi: int,
    src_lo: int,
    sport: int,
    dst_hi: int,
    dst_lo: int,
    dport: int,
    seq: int,
    flags: int,
) -> int:
    """2 * row number + direction of the connection a segment belongs to, which may begin with it."""
    place = find(tables, src_hi, src_lo, sport, dst_hi, dst_lo, dport)
    reused = 0
    if place >= 0 and flags & (SYN | ACK) == SYN:
        forward = tables.directions[place]
        if forward.base_known and forward.base_seq != seq:
            retire(tables, place >> 1)
            place = -1
            reused = 1
    if place < 0:
        if flags & (SYN | ACK) == SYN and was_closed(tables, src_hi, src_lo, sport, dst_hi, dst_lo, dport, seq):
            reused = 1
        place = begin(tables, time, frame, family, src_hi, src_lo, sport, dst_hi, dst_lo, dport)
        flow = tables.flows[place >> 1]
        flow.reused = reused
        if likely_responder(sport, dport, flags):
            flow.flipped = 1
            note(flow, 94)  # ^
    return place


def settle(tables: Tables, place: int, out: Verdict, seq: int, flags: int, length: int) -> None:
    """After a segment: its connection's story, and the list of connections that are not open."""
    number = place >> 1
    flow = tables.flows[number]
    out.direction = place & 1
    tell(flow, tables.directions[place], tables.directions[place ^ 1], place & 1, seq, flags, length, out.findings)
    if flow.listed == 0 and flags & (FIN | RST) == 0:
        return  # open, and stays so
    if flow.reused and flow.first_frame == flow.last_frame:
        out.findings |= REUSED_PORTS
    a = tables.directions[2 * number]
    b = tables.directions[2 * number + 1]
    closed = flow.completeness & RST_SEEN or (a.fins and b.fins)
    if not closed and (a.payload or b.payload or (flow.completeness & ACK_SEEN and a.packets and b.packets)):
        if flow.listed:
            unlink(tables, number)
    elif flow.listed == 0:
        append(tables, number)
    elif tables.book[0].newest != number:
        unlink(tables, number)
        append(tables, number)


def append(tables: Tables, number: int) -> None:
    """Put a connection at the end of the list."""
    flows = tables.flows
    book = tables.book[0]
    flow = flows[number]
    flow.listed = 1
    flow.older = book.newest
    flow.newer = -1
    if book.newest >= 0:
        flows[book.newest].newer = number
    else:
        book.oldest = number
    book.newest = number
    book.listed += 1


def unlink(tables: Tables, number: int) -> None:
    """Take a connection out of the list."""
    flows = tables.flows
    book = tables.book[0]
    flow = flows[number]
    if flow.older >= 0:
        flows[flow.older].newer = flow.newer
    else:
        book.oldest = flow.newer
    if flow.newer >= 0:
        flows[flow.newer].older = flow.older
    else:
        book.newest = flow.older
    flow.listed = 0
    book.listed -= 1


def retire(tables: Tables, number: int) -> None:
    """Keep a connection's rows as they are now, and free them."""
    book = tables.book[0]
    flow = tables.flows[number]
    if flow.listed:
        unlink(tables, number)
    remove(tables, number)
    forget(tables.directions[2 * number], tables.pool, book)
    forget(tables.directions[2 * number + 1], tables.pool, book)
    keep(tables, number)
    tables.flows[number].newer = book.free_flow  # the rest is made new by whoever begins to use it
    book.free_flow = number
    book.free_flows += 1
