"""What the sequence numbers of a segment tell: what its sender has sent, and what the other end has received.

Bytes that the capture lacks matter as much as those it has. A segment may have been lost before the capture point, or
passed before the capture began, and a FIN may have been among what was not seen; so three marks say for each end how
far its numbers can be trusted (``passed``, ``earlier``, ``exact`` of ``infer_rows.End``). Arithmetic is modulo 2**32.
"""

from __future__ import annotations

from tracer.replay.infer_rows import MODULO, End, before
from tracer.segments import ACK, FIN, SYN
from tracer.states import State

SYN_SENT, SYN_RECV = int(State.SYN_SENT), int(State.SYN_RECV)


def account(s: End, r: End, seq: int, ack: int, flags: int, length: int, window: int) -> bool:
    """Bring the sender's sequence numbers up to date; whether (part of) the segment was sent before."""
    end = (seq + length + (1 if flags & SYN else 0) + (1 if flags & FIN else 0)) & MODULO
    again = False
    if not s.sent:
        s.sent = 1
        s.next = s.top = s.held_from = s.held_to = end
        s.passed = 1 if end == seq else 0  # no FIN before data
        s.earlier = 0 if flags & SYN else 1
        s.exact = 1 if flags & SYN or end == seq else 0
    else:
        again = end != seq and before(seq, s.top)
        if before(s.top, end):
            if end == seq:
                s.passed = s.earlier = s.exact = 1  # a bare ACK stands behind all that was sent, seen or not
            else:
                s.passed = 0
                s.earlier = 0 if s.exact else s.earlier
            s.top = end
        elif end == seq == s.top:
            s.exact = 1
        if before(s.next, seq):
            if end != seq and not before(s.next + (r.window << r.wscale), seq):
                keep(s, seq, end)
        elif before(s.next, end):
            s.next = end
        if s.held_from != s.held_to and not before(s.next, s.held_from):
            if before(s.next, s.held_to):
                s.next = s.held_to
            s.held_from = s.held_to
    if flags & FIN and not s.fin_sent:
        s.fin_sent = 1
        s.fin = end
    if flags & ACK:
        acknowledge(s, r, ack)
        s.window = window
    return again


def keep(s: End, seq: int, end: int) -> None:
    """Remember a run of bytes beyond a gap; of several runs, the first."""
    if s.held_from == s.held_to:
        s.held_from, s.held_to = seq, end
    elif not before(s.held_to, seq) and not before(end, s.held_from):
        if before(seq, s.held_from):
            s.held_from = seq
        if before(s.held_to, end):
            s.held_to = end


def acknowledge(s: End, r: End, ack: int) -> None:
    """``s`` has received all before ``ack``, unless ``r`` cannot have sent it."""
    if r.sent and before(r.top, ack):
        # More than was seen of r. A capture may lack segments, but none beyond what s would have let r send.
        room = max(s.window << s.wscale, 0xFFFF)
        if r.state in (SYN_SENT, SYN_RECV) or (ack - r.top) & MODULO > room:
            if s.before and not s.acked:
                s.acked, s.ack = 1, ack  # a challenge ACK speaks of the connection before
            return
        r.top = ack
        r.passed, r.earlier, r.exact = 1, 1, 0
    if not s.acked or before(s.ack, ack):
        s.acked = 1
        s.ack = ack
    if not r.sent:
        r.sent = r.passed = r.earlier = 1
        r.exact = 0
        r.next = r.top = r.held_from = r.held_to = ack
    elif before(r.next, ack):
        r.next = ack


def has_fin_of(s: End, r: End) -> bool:
    """Whether ``s`` has acknowledged the FIN of ``r``."""
    return bool(r.fin_sent and s.acked and not before(s.ack, r.fin))


def acceptable(s: End, r: End, seq: int, end: int, expected: int, known: int) -> bool:
    """Whether ``r`` looks into the segment at all (RFC 9293 section 3.10.7.4, first check; tcp_sequence())."""
    if r.acked and before(end, r.ack):
        return False
    if not known:
        return True
    return not before((expected + (r.window << r.wscale)) & MODULO, seq)


def forget(end: End) -> None:
    """A new life on the same addresses and ports: nothing of the old sequence numbers holds."""
    end.sent = end.syn = end.syn_data = end.passed = end.earlier = end.exact = end.fin_sent = end.acked = 0
    end.timer = end.wscale = 0
    end.held_from = end.held_to = 0
    end.offers_scale = -1
