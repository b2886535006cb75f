"""What is in flight: each direction's unacknowledged segments, oldest first.

A segment enters the list of its direction when it is seen and leaves when the other side acknowledges its last byte.
The list is kept sorted by right edge, so an acknowledgment takes a prefix away and never searches. All directions
share one pool of rows linked by number; taken and given back in constant time, it grows with what is in flight and no
further.

A capture may show one direction only. Nothing is ever acknowledged there, so the list stops growing at ``LIMIT``, and
later segments count neither for the bytes in flight nor for round-trip times; Wireshark stops at the same number.
"""

from __future__ import annotations

from tracer.replay.rows import Book, Direction, Pool, Verdict

MODULO = 0xFFFFFFFF
SIGN = 0x80000000

LIMIT = 10_000
"""Unacknowledged segments kept per direction."""


def remember(sender: Direction, pool: Pool, book: Book, frame: int, time: int, seq: int, end: int) -> None:
    """Put a segment into its direction's list, after those that end no later."""
    if sender.unacked_count >= LIMIT:
        return
    number = book.free_unacked
    row = pool[number]
    book.free_unacked = row.newer
    book.free_count -= 1
    row.seq = seq
    row.end = end
    row.time = time
    row.frame = frame
    row.late = 0
    older = sender.unacked_last
    newer = -1
    if older >= 0 and (end - pool[older].end) & SIGN:
        # Not the newest bytes: find the place from what is nearest. Retransmissions are mostly of the oldest, or of
        # what follows the one before.
        row.late = 1
        ahead = (pool[older].end - end) & MODULO
        behind = (end - pool[sender.unacked_first].end) & MODULO
        near = sender.late_row
        apart = MODULO
        if near >= 0:
            apart = (end - sender.late_end) & MODULO
            if apart & SIGN:
                apart = MODULO + 1 - apart
        if apart < ahead and apart < behind:
            if (end - sender.late_end) & SIGN:
                older = near
            else:
                newer = near
        elif behind < ahead:
            newer = sender.unacked_first
        if newer >= 0:
            while (end - pool[newer].end) & SIGN == 0:
                newer = pool[newer].newer
            older = pool[newer].older
        else:
            while older >= 0 and (end - pool[older].end) & SIGN:
                newer = older
                older = pool[older].older
        sender.late_row = number
        sender.late_end = end
    row.older = older
    row.newer = newer
    if older >= 0:
        pool[older].newer = number
        if (seq - pool[older].seq) & SIGN:
            sender.overlaps = 1
    else:
        sender.unacked_first = number
    if newer >= 0:
        pool[newer].older = number
        if (pool[newer].seq - seq) & SIGN:
            sender.overlaps = 1
    else:
        sender.unacked_last = number
    if sender.unacked_count == 0:
        sender.flight_first = seq
        sender.overlaps = 0
    elif (seq - sender.flight_first) & SIGN:
        sender.flight_first = seq
    sender.unacked_count += 1


def acknowledge(sender: Direction, pool: Pool, book: Book, out: Verdict, time: int, ack: int) -> None:
    """Take away what ``ack`` covers; the oldest segment that ends exactly there gives the round-trip time."""
    if sender.late_row >= 0 and (ack - sender.late_end) & SIGN == 0:
        sender.late_row = -1
    first = number = sender.unacked_first
    while number >= 0:
        row = pool[number]
        if (ack - row.end) & SIGN:
            if (row.seq - ack) & SIGN:  # acknowledged up to its middle
                row.seq = ack
                first = -2
            break
        if row.end == ack and out.acked_frame == 0:
            out.acked_frame = row.frame
            out.rtt = time - row.time
        following = row.newer
        row.newer = book.free_unacked
        book.free_unacked = number
        book.free_count += 1
        sender.unacked_count -= 1
        number = following
    if number == first:
        return
    sender.unacked_first = number
    if number < 0:
        sender.unacked_last = -1
        return
    pool[number].older = -1
    sender.flight_first = pool[number].seq
    if sender.overlaps:
        number = pool[number].newer
        while number >= 0:
            row = pool[number]
            if (row.seq - ack) & SIGN:
                row.seq = ack
            if (row.seq - sender.flight_first) & SIGN:
                sender.flight_first = row.seq
            number = row.newer


def bytes_in_flight(sender: Direction, pool: Pool) -> int:
    """Sequence space from the first unacknowledged byte to the last one sent; both counted from ``base_seq``."""
    if sender.unacked_last < 0:
        return 0
    base = sender.base_seq
    first = (sender.flight_first - base) & MODULO
    last = (pool[sender.unacked_last].end - base) & MODULO
    if last < first:  # something from before the capture was sent again, or four gigabytes were sent
        number = sender.unacked_first
        while number >= 0:
            row = pool[number]
            first = min(first, (row.seq - base) & MODULO)
            last = max(last, (row.end - base) & MODULO)
            number = row.newer
    return (last - first) & MODULO


def timer_started(sender: Direction, pool: Pool, out: Verdict, time: int) -> None:
    """How long the retransmission timer waited: since the oldest unacknowledged segment, else since the newest data."""
    number = sender.unacked_first
    while number >= 0 and pool[number].late:  # what came late lies before something older
        number = pool[number].newer
    if number >= 0:
        out.rto_frame = pool[number].frame
        out.rto = time - pool[number].time
    else:
        out.rto_frame = sender.next_seq_frame
        out.rto = time - sender.next_seq_time


def forget(sender: Direction, pool: Pool, book: Book) -> None:
    """Give a direction's whole list back to the pool."""
    if sender.unacked_first >= 0:
        pool[sender.unacked_last].newer = book.free_unacked
        book.free_unacked = sender.unacked_first
        book.free_count += sender.unacked_count
        sender.unacked_first = sender.unacked_last = sender.late_row = -1
        sender.unacked_count = 0
