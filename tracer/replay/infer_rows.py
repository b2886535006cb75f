"""What state inference remembers of a connection: one row for each of its two ends, integers only.

A capture shows what an end sends, never what it receives. So a row keeps two kinds of facts apart. What the end's own
segments prove (its SYN, its FIN, how far it acknowledges) makes a state *certain*; what was sent to it and should have
arrived makes a state *provisional*. ``proven`` is the last certain state, the one to fall back on when a deduction
turns out to be wrong.

Sequence numbers are modulo 2**32 (RFC 9293 section 3.4), times are ns since the Unix epoch. A fact that is not known is
marked by a flag of its own, because 0 is a sequence number like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tracer.kinds import Certainty
from tracer.states import State, Trigger

UNSEEN = 0
"""Trigger of a change whose cause is not on the wire: partly seen, corrected, or closed in silence."""

MODULO = 0xFFFFFFFF
SIGN = 0x80000000


@dataclass(slots=True)
class End:
    """One end of a connection."""

    row: int = 0
    """Which of the two rows this is: 0 or 1; the rules copy it into changes and never ask what it means."""
    state: int = 0
    """tracer.states.State; 0 until anything is known."""
    certainty: int = 0
    """tracer.kinds.Certainty of ``state``."""
    proven: int = 0
    """The last state that its own segments showed."""
    closed_from: int = 0
    """The state before CLOSE, to return to when it speaks nevertheless."""
    before: int = 0
    """Its state on the same addresses and ports when a SYN to it began this connection; 0 for none."""
    deduced: int = 0
    """When something last happened to it: a deduction, or its own RST."""
    answers: int = 0
    """ns from a segment sent to this end to its answer, as the handshake showed; 0 until then."""
    asked: int = 0
    """When a SYN or SYN-ACK that it must answer passed; 0 for none."""
    timer: int = 0
    """When its TIME_WAIT, or its attempt to open, is over; 0 for none."""
    armed: int = 0
    """Number of the timer that fires then or before, plus one; 0 for none."""

    sent: int = 0
    """1 once a segment of this end was seen, or its sequence numbers follow from the other end's."""
    iss: int = 0
    """Initial sequence number; meaningful where ``syn``."""
    syn: int = 0
    """1 once its SYN was seen."""
    syn_data: int = 0
    """1 if its SYN carried data (RFC 7413)."""
    next: int = 0
    """End of what it has sent without a gap: what the other end expects next, if all of it arrived."""
    top: int = 0
    """The highest sequence number it is known to have sent, plus one."""
    exact: int = 0
    """1 if nothing beyond ``top`` had been sent when its last segment was."""
    held_from: int = 0
    held_to: int = 0
    """A run of bytes seen beyond a gap; equal for none."""
    passed: int = 0
    """1 while its FIN may be among bytes that were acknowledged, or that it stands behind, and that were not seen."""
    earlier: int = 0
    """1 while it may have sent a FIN that was not seen, acknowledged or not."""
    fin: int = 0
    """Sequence number after its FIN; meaningful where ``fin_sent``."""
    fin_sent: int = 0
    """1 once its FIN was seen."""

    acked: int = 0
    """1 once it has acknowledged anything."""
    ack: int = 0
    """The highest acknowledgment it has sent: all below has certainly arrived at this end."""
    window: int = 0
    """Last window it offered, in the header's unit."""
    wscale: int = 0
    """Shift of its windows; 0 until both SYNs agreed (RFC 7323 section 2.2)."""
    offers_scale: int = -1
    """Shift in its SYN, -1 for none."""


class Change(NamedTuple):
    """One inferred change of state."""

    time: int
    """ns: of the segment, or of the timer that fired."""
    row: int
    """0 or 1: which end."""
    old: int
    new: int
    """tracer.states.State."""
    trigger: int
    """tracer.states.Trigger, or UNSEEN."""
    certainty: int
    """tracer.kinds.Certainty."""

    def __str__(self) -> str:
        """As tests and reports write it: ``0 SYN_SENT>ESTABLISHED rcv_syn_ack provisional``."""
        trigger = Trigger(self.trigger).name.lower() if self.trigger else "unseen"
        certainty = Certainty(self.certainty).name.lower()
        return f"{self.row} {State(self.old).name}>{State(self.new).name} {trigger} {certainty}"


def before(a: int, b: int) -> bool:
    """Whether sequence number ``a`` lies before ``b``: their difference modulo 2**32 is negative."""
    return (a - b) & SIGN != 0
