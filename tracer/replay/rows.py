"""What must be remembered of a connection: one row for it, one for each direction, one per unacknowledged segment.

The rules read and write these rows by attribute. The classes below are the only declaration: as they stand they are the
small slotted objects on which the rules run as plain Python, and ``layout`` turns them into numpy record types with the
same names, on which the same rules run compiled. Every field is a signed 64-bit integer, because in compiled code the
sum of two unsigned 32-bit numbers would be unsigned and a negative difference would wrap.

Sequence numbers, acknowledgments and windows are 0 until they are known, times are nanoseconds since the Unix epoch,
and references to other rows are row numbers with -1 for none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

NONE = -1
"""No row; an unknown scale."""


@dataclass(slots=True)
class Direction:
    """What one endpoint has sent, as the capture point saw it: the row the rules call ``forward`` or ``reverse``."""

    base_known: int = 0
    """1 once any segment of this direction was seen."""
    base_seq: int = 0
    """Initial sequence number, or the one before the first byte seen or acknowledged."""
    base_told: int = 0
    """1 where the peer's acknowledgment told it, before any segment was seen."""
    next_seq: int = 0
    """Highest sequence number seen, plus one: where new data begins."""
    next_seq_time: int = 0
    """When ``next_seq`` last grew."""
    next_seq_frame: int = 0
    """The frame in which it did."""
    first_gap: int = 0
    """1 while bytes before this segment are missing and the peer has not acknowledged since: no bytes in flight."""
    last_ack: int = 0
    """Last acknowledgment number sent."""
    last_ack_time: int = 0
    """When it was sent."""
    seen_to: int = 0
    """End of what was seen without a gap: an ACK beyond it acknowledges unseen bytes; 0 while that is not watched."""
    unseen: int = 0
    """1 from a duplicate ACK of its own, or from when the peer has acknowledged more than was ever seen, until it
    acknowledges something new: in between only new gaps are watched."""
    overtaken: int = 0
    """1 from when the peer has acknowledged more than was ever seen until it acknowledges anything itself: a
    retransmission of the peer's in between counts as fast."""
    window: int = 0
    """Last window sent, as in the header."""
    wscale: int = NONE
    """Shift count of the windows sent; NONE until a SYN told it, -2 where scaling is not in use."""
    duplicate_acks: int = 0
    """How often ``last_ack`` was repeated."""
    ack_frame: int = 0
    """The frame that is repeated."""
    last_findings: int = 0
    """Findings of the last segment sent."""
    last_length: int = 0
    """Payload of the last segment sent."""
    sacked: int = 0
    """Bytes in the SACK blocks of the last segment sent."""
    push_bytes: int = 0
    """Payload since the last PSH."""
    unacked_first: int = NONE
    """Oldest unacknowledged segment: the head of a list sorted by right edge."""
    unacked_last: int = NONE
    """Its tail."""
    unacked_count: int = 0
    """Its length."""
    flight_first: int = 0
    """Lowest sequence number in it."""
    overlaps: int = 0
    """1 where sequence numbers in it may fall although right edges rise: it holds segments cut differently."""
    late_row: int = NONE
    """The segment in it that was put there last without being the newest: the next such one is seldom far away."""
    late_end: int = 0
    """Its right edge."""
    syn_seq: int = 0
    """Sequence number of the last SYN, of the last FIN, of the last RST."""
    fin_seq: int = 0
    rst_seq: int = 0
    told: int = 0
    """Letters of Zeek's history noted already that are noted once."""
    resent: int = 0
    """Segments with payload found to be retransmissions."""
    gaps: int = 0
    """How often the peer acknowledged bytes that were not seen."""
    packets: int = 0
    """Segments seen."""
    payload: int = 0
    """Payload bytes seen, retransmissions included."""
    captured: int = 0
    """Bytes captured of its frames."""
    retransmitted: int = 0
    """Segments found to be retransmissions of any kind."""
    out_of_order: int = 0
    """Segments found to be out of order."""
    lost: int = 0
    """Segments found to come after bytes that were not captured."""
    zero_windows: int = 0
    """Segments that announced a zero window."""
    syns: int = 0
    """Segments with SYN."""
    fins: int = 0
    """Segments with FIN."""
    rsts: int = 0
    """Segments with RST."""


@dataclass(slots=True)
class Flow:
    """One connection."""

    stream: int = 0
    """tcp.stream."""
    src_hi: int = 0
    src_lo: int = 0
    dst_hi: int = 0
    dst_lo: int = 0
    """Addresses as in a segment's row, but as signed numbers; ``src`` sent the first captured segment."""
    sport: int = 0
    dport: int = 0
    family: int = 0
    first_time: int = 0
    first_frame: int = 0
    last_time: int = 0
    last_frame: int = 0
    last_syn_time: int = 0
    """When the last SYN without ACK was seen; 0 for never."""
    initial_rtt: int = NONE
    """ns from there to the first ACK."""
    completeness: int = 0
    """Wireshark's bits: 1 SYN, 2 SYN-ACK, 4 ACK, 8 data, 16 FIN, 32 RST."""
    flipped: int = 0
    """1 where the sender of the first captured segment is taken to be the responder."""
    reset_by: int = 0
    """1 + the direction of the first RST."""
    letters: int = 0
    """Length of Zeek's history, which is in the next four as ASCII, eight letters each."""
    history0: int = 0
    history1: int = 0
    history2: int = 0
    history3: int = 0
    reused: int = 0
    """1 where it began on the addresses and ports of an earlier connection."""
    listed: int = 0
    """1 while it is in the list of connections that are not open."""
    older: int = NONE
    """Neighbours in that list, by last segment."""
    newer: int = NONE
    """``newer`` links the free rows too."""


@dataclass(slots=True)
class Unacked:
    """A segment whose bytes nobody has acknowledged yet."""

    seq: int = 0
    end: int = 0
    """Sequence number after its last byte, SYN and FIN counted."""
    time: int = 0
    frame: int = 0
    late: int = 0
    """1 where bytes beyond its own had been sent before."""
    older: int = NONE
    newer: int = NONE
    """Neighbours in the direction's list; ``newer`` links the free rows too."""


@dataclass(slots=True)
class Book:
    """What belongs to no connection: free rows, the next stream number, the list of connections that are not open."""

    streams: int = 0
    """Streams so far: the next one's number."""
    free_flow: int = NONE
    free_flows: int = 0
    free_unacked: int = NONE
    free_count: int = 0
    oldest: int = NONE
    newest: int = NONE
    listed: int = 0
    finished: int = 0
    """Connections written to the buffer of finished ones."""
    capacity: int = 0
    """Slots of the compiled hash table, a power of two."""


@dataclass(slots=True)
class Verdict:
    """What is found for one segment: the columns of ``analysis.ANALYSIS``, which explains them, in its order."""

    rtt: int = NONE
    initial_rtt: int = NONE
    rto: int = NONE
    bytes_in_flight: int = NONE
    push_bytes_sent: int = NONE
    stream: int = 0
    findings: int = 0
    acked_frame: int = 0
    duplicate_ack_frame: int = 0
    duplicate_ack_number: int = 0
    rto_frame: int = 0
    window: int = 0
    completeness: int = 0
    direction: int = 0


Pool = Sequence[Unacked]
"""All unacknowledged segments of all connections, by row number."""


def layout(row: type) -> np.dtype[np.void]:
    """The numpy record type with the fields of a row class, each ``i8``."""
    return np.dtype([(field.name, "i8") for field in fields(row)])
