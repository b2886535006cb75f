"""A connection in a few letters: Zeek's history and conn_state.

Zeek's conn.log tells a connection's story as one letter per kind of event in the order of first appearance, upper case
for the originator and lower case for the responder: s SYN, h SYN-ACK, a pure ACK, d data, f FIN, r RST, t payload sent
again, g payload never seen, w zero window, i FIN with RST, q SYN with FIN or RST, ^ in front where the responder was
the one seen first. a, d, i and q are noted once per side; s, h, f and r again where the sequence number differs; t, g
and w at the first, tenth, hundredth time. conn_state sums the same up in one of thirteen words.

Letters that speak of checksums (c) or of Zeek's own analysers (x) have no counterpart here.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.replay.analysis import ACK_LOST_SEGMENT, RETRANSMISSION, ZERO_WINDOW
from tracer.replay.rows import Direction, Flow
from tracer.segments import ACK, FIN, RST, SYN

LETTERS: Final = 32
"""Letters kept per connection, in four numbers of eight."""

CASE: Final = 32
"""Lower case minus upper case."""

ONCE_A, ONCE_D, ONCE_I, ONCE_Q = 1, 2, 4, 8

CONN_STATES: Final = {
    "": "not told yet",
    "S0": "Connection attempt seen, no reply",
    "S1": "Established, not terminated",
    "SF": "Established and terminated normally",
    "REJ": "Connection attempt rejected",
    "S2": "Established; the originator closes, no reply from the responder",
    "S3": "Established; the responder closes, no reply from the originator",
    "RSTO": "Established; the originator aborted",
    "RSTR": "The responder sent a RST",
    "RSTOS0": "The originator sent a SYN and then a RST; no SYN-ACK was seen",
    "RSTRH": "The responder sent a RST; no SYN of the originator's was seen",
    "SH": "The originator sent a FIN; nothing of the responder was seen",
    "SHR": "The responder sent a FIN; nothing of the originator was seen",
    "OTH": "No SYN seen: begun before the capture, and not closed in it",
}
"""Zeek's words for what became of a connection."""

# fmt: off
SERVICE_PORTS: Final = (
    21, 22, 25, 53, 80, 88, 110, 143, 389, 443, 445, 465, 502, 514, 587, 631, 636, 853, 993, 995, 1080, 1433, 1883,
    3128, 3268, 3306, 3389, 5060, 5061, 5222, 5223, 5269, 5432, 5900, 6379, 6666, 6667, 6668, 6669, 8000, 8080, 8443,
    8883, 8888, 9092, 20000, 27017,
)
# fmt: on
"""Ports on which servers listen: whoever speaks first from one, to a port that is none, is taken for the responder."""


def note(flow: Flow, letter: int) -> None:
    """Add one letter."""
    n = flow.letters
    shift = 8 * (n & 7)
    if n < 8:
        flow.history0 |= letter << shift
    elif n < 16:
        flow.history1 |= letter << shift
    elif n < 24:
        flow.history2 |= letter << shift
    elif n < 32:
        flow.history3 |= letter << shift
    flow.letters = n + 1


def scaled(count: int) -> bool:
    """Whether ``count`` is 1, 10, 100 and so on."""
    while count >= 10 and count % 10 == 0:
        count //= 10
    return count == 1


def tell(
    flow: Flow, forward: Direction, reverse: Direction, side: int, seq: int, flags: int, length: int, findings: int
) -> None:
    """Note what a segment adds to the story; ``side`` is 0 for the sender of the first captured segment."""
    case = CASE if side != flow.flipped else 0
    if flags & (SYN | FIN | RST):
        if flags & SYN:
            if forward.syns == 1 or forward.syn_seq != seq:
                note(flow, (72 if flags & ACK else 83) + case)
            forward.syn_seq = seq
            if flags & (FIN | RST) and not forward.told & ONCE_Q:
                forward.told |= ONCE_Q
                note(flow, 81 + case)
        if flags & FIN:
            if forward.fins == 1 or forward.fin_seq != (seq + length) & 0xFFFFFFFF:
                note(flow, 70 + case)
            forward.fin_seq = (seq + length) & 0xFFFFFFFF
            if flags & RST and not forward.told & ONCE_I:
                forward.told |= ONCE_I
                note(flow, 73 + case)
        if flags & RST:
            if forward.rsts + reverse.rsts == 1:
                flow.reset_by = side + 1
            if forward.rsts == 1 or forward.rst_seq != seq:
                note(flow, 82 + case)
            forward.rst_seq = seq
    elif length == 0 and flags & ACK and not forward.told & ONCE_A:
        forward.told |= ONCE_A
        note(flow, 65 + case)
    if length and not forward.told & ONCE_D:
        forward.told |= ONCE_D
        note(flow, 68 + case)
    if findings & (RETRANSMISSION | ZERO_WINDOW | ACK_LOST_SEGMENT):
        if findings & RETRANSMISSION and length:
            forward.resent += 1
            if scaled(forward.resent):
                note(flow, 84 + case)
        if findings & ZERO_WINDOW:
            forward.zero_windows += 1
            if scaled(forward.zero_windows):
                note(flow, 87 + case)
        if findings & ACK_LOST_SEGMENT:
            reverse.gaps += 1
            if scaled(reverse.gaps):
                note(flow, 71 + CASE - case)


def likely_responder(sport: int, dport: int, flags: int) -> bool:
    """Whether the sender of a connection's first captured segment is the one that was connected to."""
    if flags & SYN:
        return flags & ACK != 0
    return sport in SERVICE_PORTS and dport not in SERVICE_PORTS


def histories(flows: NDArray[Any]) -> NDArray[Any]:
    """Zeek's history of each flow row."""
    packed = np.stack([flows[f"history{i}"] for i in range(4)], axis=1).astype("<i8")
    return np.ascontiguousarray(packed).view(f"S{LETTERS}").reshape(len(flows))


def conn_states(flows: NDArray[Any], directions: NDArray[Any]) -> NDArray[Any]:
    """Zeek's conn_state of each flow row; ``directions`` has shape (n, 2)."""
    flipped = flows["flipped"].astype(bool)
    sent = {name: directions[name] for name in ("syns", "fins", "rsts", "packets")}
    orig = {name: np.where(flipped, column[:, 1], column[:, 0]) for name, column in sent.items()}
    resp = {name: np.where(flipped, column[:, 0], column[:, 1]) for name, column in sent.items()}
    o_syn, o_fin, o_rst = (orig[name] > 0 for name in ("syns", "fins", "rsts"))
    r_syn, r_fin, r_rst = (resp[name] > 0 for name in ("syns", "fins", "rsts"))
    # Zeek ends a connection with its first RST: one that answers a RST tells nothing.
    by_orig = flows["reset_by"] == 1 + flipped
    o_rst, r_rst = o_rst & by_orig, r_rst & ~by_orig
    o_seen, r_seen = orig["packets"] > 0, resp["packets"] > 0
    o_more, r_more = orig["packets"] > orig["rsts"], resp["packets"] > resp["rsts"]
    both = o_more & r_more & (r_syn | ~o_syn)
    cases = (
        (o_fin & r_fin, "SF"),
        (r_rst & o_syn & ~r_more, "REJ"),
        (r_rst & both & o_syn, "RSTR"),
        (r_rst & (r_syn | o_more), "RSTRH"),
        (o_rst & o_syn & ~r_more, "RSTOS0"),
        (o_rst & both & o_syn, "RSTO"),
        (o_fin & ~r_seen, "SH"),
        (r_fin & ~o_seen, "SHR"),
        (o_fin & both, "S2"),
        (r_fin & both, "S3"),
        (o_syn & r_syn, "S1"),
        (o_syn & ~r_more, "S0"),
    )
    words = np.array([word for _, word in cases] + ["OTH"], "S6")
    found: NDArray[Any] = words[np.select([case for case, _ in cases], list(range(len(cases))), len(cases))]
    return found
