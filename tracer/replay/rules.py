"""What a segment means, given what was sent before it: the rules, one function, called once for every segment.

Each direction of a connection is judged against itself (is this sequence number new, expected, already seen?) and
against the other direction (has it acknowledged this, was its window open?). The names, the conditions and which
finding overrides which are those of "TCP Analysis" in Wireshark's User's Guide; where the Guide is silent, what
tshark 4.0 prints decides.

The functions are plain Python over row objects (``rows``). Run as they are they work on slotted objects; ``compiled``
runs the same code objects on records. So they keep to integers, attributes and calls of each other, and sequence
numbers are compared modulo 2**32 (RFC 9293 section 3.4) by ``before``.
"""

from __future__ import annotations

from tracer.replay.analysis import (
    ACK_LOST_SEGMENT,
    DUPLICATE_ACK,
    FAST_RETRANSMISSION,
    KEEP_ALIVE,
    KEEP_ALIVE_ACK,
    LOST_SEGMENT,
    OUT_OF_ORDER,
    RETRANSMISSION,
    REUSED_PORTS,
    SPURIOUS_RETRANSMISSION,
    WINDOW_FULL,
    WINDOW_UPDATE,
    ZERO_WINDOW,
    ZERO_WINDOW_PROBE,
    ZERO_WINDOW_PROBE_ACK,
)
from tracer.replay.flight import acknowledge, bytes_in_flight, remember, timer_started
from tracer.replay.rows import NONE, Book, Direction, Flow, Pool, Verdict
from tracer.segments import ACK, FIN, PSH, RST, SYN

MODULO = 0xFFFFFFFF
SIGN = 0x80000000

FAST_WINDOW = 20_000_000
"""ns after the last ACK within which a retransmission counts as fast."""

REORDER_WINDOW = 3_000_000
"""ns within which a late segment counts as out of order while the initial RTT is not known."""

SACK_BLOCKS = 3
"""Blocks that count when SACKed bytes are taken from the bytes in flight; a fourth does not in Wireshark."""

SYN_SEEN, SYN_ACK_SEEN, ACK_SEEN, DATA_SEEN, FIN_SEEN, RST_SEEN = 1, 2, 4, 8, 16, 32


def before(a: int, b: int) -> bool:
    """Whether sequence number ``a`` lies before ``b``: their difference modulo 2**32 is negative."""
    return (a - b) & SIGN != 0


def segment(
    flow: Flow,
    forward: Direction,
    reverse: Direction,
    pool: Pool,
    book: Book,
    out: Verdict,
    frame: int,
    time: int,
    seq: int,
    ack: int,
    flags: int,
    length: int,
    window: int,
    wscale: int,
    sacked: int,
) -> None:
    """Judge one segment sent in ``forward``, write what is found to ``out`` and bring both directions up to date.

    ``sacked`` is the number of bytes the first ``SACK_BLOCKS`` SACK blocks span; ``time`` is in ns. ``pool`` must have
    a free row. Nothing is raised: there is no segment that a capture cannot hold.
    """
    control = flags & (SYN | FIN | RST)
    end = (seq + length + (1 if flags & (SYN | FIN) else 0)) & MODULO
    next_seq = forward.next_seq

    # What it says about the window and about being alive.
    findings = handshake(flow, forward, reverse, time, seq, ack, flags, length, wscale)
    if length == 1 and seq == next_seq and reverse.base_known and reverse.window == 0:
        findings |= ZERO_WINDOW_PROBE
    if window == 0 and not control:
        findings |= ZERO_WINDOW
    if next_seq and before(next_seq, seq) and not flags & RST:
        findings |= LOST_SEGMENT
        forward.first_gap = 1
        forward.lost += 1
    if next_seq and length <= 1 and not control and seq == (next_seq - 1) & MODULO:
        findings |= KEEP_ALIVE
    if length and not control and reverse.base_known and reverse.wscale != NONE:  # else no window is known
        edge = reverse.last_ack + (reverse.window << reverse.wscale if reverse.wscale > 0 else reverse.window)
        if end == edge & MODULO:
            findings |= WINDOW_FULL
    if length == 0 and not control and next_seq and seq == next_seq and ack == forward.last_ack:
        findings |= judge_repeated_ack(forward, reverse, frame, window, out)
    if ack != forward.last_ack:
        forward.duplicate_acks = 0
        forward.ack_frame = frame
        forward.unseen = 0
        forward.overtaken = 0
        if forward.seen_to == 0:
            forward.seen_to = next_seq

    if flags & ACK and reverse.base_known and before(reverse.next_seq, ack):
        reverse.duplicate_acks = 0
        reverse.overtaken = 1
    if flags & ACK and reverse.seen_to and before(reverse.seen_to, ack):
        findings |= ACK_LOST_SEGMENT
        if reverse.seen_to == reverse.next_seq:
            reverse.unseen = 1
        reverse.seen_to = 0 if reverse.unseen else reverse.next_seq

    # Is it new?
    if (length or flags & (SYN | FIN)) and not findings & KEEP_ALIVE:
        if length and reverse.last_ack and not before(reverse.last_ack, end):
            findings |= SPURIOUS_RETRANSMISSION | RETRANSMISSION
        elif next_seq and before(seq, next_seq) and not (length > 1 and seq == (next_seq - 1) & MODULO):
            findings |= judge_repeated_bytes(flow, forward, reverse, pool, out, time, seq, end)
    if findings & ZERO_WINDOW_PROBE:
        pass  # its byte is most likely thrown away, and sent again with what follows
    elif next_seq == 0 or before(next_seq, end):
        if next_seq == 0 or not flags & RST:  # a RST need not carry the sender's own number (RFC 9293 section 3.5.2)
            forward.next_seq = end
        forward.next_seq_time = time
        forward.next_seq_frame = frame
    if forward.seen_to:
        if seq == forward.seen_to:
            forward.seen_to = 0 if forward.unseen else forward.next_seq
    elif next_seq == 0:
        forward.seen_to = end
    elif seq != next_seq and before(next_seq, end) and not flags & RST:  # a gap, or bytes cut differently than before
        forward.seen_to = next_seq

    # What it acknowledges, and what stays in flight.
    if reverse.unacked_first >= 0:
        acknowledge(reverse, pool, book, out, time, ack)
    if length or control & (SYN | FIN):
        remember(forward, pool, book, frame, time, seq, end)
        if length and not forward.first_gap:
            in_flight = bytes_in_flight(forward, pool) - reverse.sacked
            if control & (SYN | FIN):
                in_flight -= 1
            forward.push_bytes = (forward.push_bytes + length) & MODULO
            if 0 < in_flight < SIGN:
                out.bytes_in_flight = in_flight
                out.push_bytes_sent = forward.push_bytes
            if flags & PSH:
                forward.push_bytes = 0
    reverse.first_gap = 0

    forward.last_ack = ack
    forward.last_ack_time = time
    forward.window = window
    forward.last_findings = findings
    forward.last_length = length
    forward.sacked = sacked
    count(flow, forward, frame, time, length, flags, findings)

    out.findings = findings
    out.stream = flow.stream
    out.initial_rtt = flow.initial_rtt
    out.completeness = flow.completeness
    out.window = window << forward.wscale if forward.wscale > 0 and not flags & SYN else window


def handshake(
    flow: Flow, forward: Direction, reverse: Direction, time: int, seq: int, ack: int, flags: int, length: int,
    wscale: int,
) -> int:  # fmt: skip
    """Base sequence numbers, window scaling, the initial RTT and Wireshark's completeness."""
    findings = 0
    if reverse.base_known == 0 and reverse.base_told == 0 and flags & ACK:
        reverse.base_told = 1
        reverse.base_seq = (ack - 1) & MODULO
    if forward.base_known == 0:
        forward.base_known = 1
        if flags & SYN or forward.base_told == 0:
            forward.base_seq = seq if flags & SYN else (seq - 1) & MODULO  # before the first byte
    elif seq != forward.base_seq and flags & (SYN | ACK) == SYN | ACK:
        forward.base_seq = seq
        findings = REUSED_PORTS
    if flags & SYN:
        if wscale >= 0:
            forward.wscale = min(wscale, 14)  # RFC 7323 section 2.3
        else:
            forward.wscale = -2
            reverse.wscale = -2
        if flags & ACK and reverse.wscale == -2:
            forward.wscale = -2
        if flags & ACK:
            flow.completeness |= SYN_ACK_SEEN
        else:
            flow.completeness |= SYN_SEEN
            flow.last_syn_time = time
    elif flags & ACK:
        if length == 0:
            flow.completeness |= ACK_SEEN
        if flow.initial_rtt <= 0 and flow.last_syn_time:
            flow.initial_rtt = time - flow.last_syn_time
    if length and flags & (SYN | ACK):
        flow.completeness |= DATA_SEEN
    if flags & FIN and flags & ACK:
        flow.completeness |= FIN_SEEN
    if flags & RST:
        flow.completeness |= RST_SEEN
    return findings


def judge_repeated_ack(forward: Direction, reverse: Direction, frame: int, window: int, out: Verdict) -> int:
    """What an empty segment is that acknowledges nothing new: answer to a probe, window update, duplicate ACK."""
    same_window = window == forward.window
    if window == 0:
        if same_window and reverse.last_findings & ZERO_WINDOW_PROBE:
            return ZERO_WINDOW_PROBE_ACK
        return 0
    if same_window and reverse.last_findings & KEEP_ALIVE:
        return KEEP_ALIVE_ACK
    if not same_window:
        return WINDOW_UPDATE
    forward.duplicate_acks += 1
    forward.unseen = 1
    forward.overtaken = 0
    if forward.seen_to == forward.next_seq:
        forward.seen_to = 0
    out.duplicate_ack_number = forward.duplicate_acks
    out.duplicate_ack_frame = forward.ack_frame
    return DUPLICATE_ACK


def judge_repeated_bytes(
    flow: Flow,
    forward: Direction,
    reverse: Direction,
    pool: Pool,
    out: Verdict,
    time: int,
    seq: int,
    end: int,
) -> int:
    """Which kind of retransmission a segment below ``next_seq`` is, or whether it only comes late."""
    since_ack = time - reverse.last_ack_time
    if (reverse.duplicate_acks >= 2 or reverse.overtaken) and seq == reverse.last_ack and 0 <= since_ack < FAST_WINDOW:
        return FAST_RETRANSMISSION | RETRANSMISSION
    threshold = flow.initial_rtt if flow.initial_rtt > 0 else REORDER_WINDOW
    if 0 <= time - forward.next_seq_time < threshold and end != forward.next_seq:
        return OUT_OF_ORDER
    timer_started(forward, pool, out, time)
    return RETRANSMISSION


def count(flow: Flow, forward: Direction, frame: int, time: int, length: int, flags: int, findings: int) -> None:
    """Totals of the connection's row."""
    flow.last_time = time
    flow.last_frame = frame
    forward.packets += 1
    forward.payload += length
    if findings & (RETRANSMISSION | OUT_OF_ORDER):
        if findings & RETRANSMISSION:
            forward.retransmitted += 1
        else:
            forward.out_of_order += 1
    if flags & (SYN | FIN | RST):
        if flags & SYN:
            forward.syns += 1
        if flags & FIN:
            forward.fins += 1
        if flags & RST:
            forward.rsts += 1
