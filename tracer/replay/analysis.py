"""What one segment turns out to be: Wireshark's TCP analysis as columns.

A capture holds only header bytes. That a segment is a retransmission, a duplicate ACK or a window probe follows from
what was seen before it on the same connection, and Wireshark's names for those findings (display filter fields
``tcp.analysis.*``, section "TCP Analysis" of its User's Guide) are the ones everybody knows. They are kept here: one
row of ``ANALYSIS`` per row of ``tracer.segments.SEGMENT``, the findings as bits of ``findings``, and one table that
says how each bit is written, which field it is in Wireshark, how severe Wireshark's expert system takes it to be, and
what it means.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

RETRANSMISSION: Final = 1 << 0
FAST_RETRANSMISSION: Final = 1 << 1
SPURIOUS_RETRANSMISSION: Final = 1 << 2
OUT_OF_ORDER: Final = 1 << 3
DUPLICATE_ACK: Final = 1 << 4
LOST_SEGMENT: Final = 1 << 5
ACK_LOST_SEGMENT: Final = 1 << 6
ZERO_WINDOW: Final = 1 << 7
ZERO_WINDOW_PROBE: Final = 1 << 8
ZERO_WINDOW_PROBE_ACK: Final = 1 << 9
WINDOW_FULL: Final = 1 << 10
WINDOW_UPDATE: Final = 1 << 11
KEEP_ALIVE: Final = 1 << 12
KEEP_ALIVE_ACK: Final = 1 << 13
REUSED_PORTS: Final = 1 << 14


class Finding(NamedTuple):
    """How one bit of ``findings`` is written and meant."""

    bit: int
    field: str
    """Wireshark's display filter field, without ``tcp.analysis.``."""
    label: str
    """What Wireshark's Info column says; ``{frame}`` and ``{number}`` stand for the duplicate ACK's columns."""
    severity: str
    """Wireshark's expert severity: chat, note, warn or error."""
    meaning: str
    """One sentence."""


FINDINGS: Final[tuple[Finding, ...]] = (
    Finding(RETRANSMISSION, "retransmission", "TCP Retransmission", "note", "Sends again what was sent before."),
    Finding(
        FAST_RETRANSMISSION,
        "fast_retransmission",
        "TCP Fast Retransmission",
        "note",
        "Sends again, prompted by duplicate ACKs and without waiting for the timer (RFC 5681 section 3.2).",
    ),
    Finding(
        SPURIOUS_RETRANSMISSION,
        "spurious_retransmission",
        "TCP Spurious Retransmission",
        "note",
        "Sends again what the peer had already acknowledged.",
    ),
    Finding(OUT_OF_ORDER, "out_of_order", "TCP Out-Of-Order", "warn", "Arrived after a segment that was sent later."),
    Finding(
        DUPLICATE_ACK,
        "duplicate_ack",
        "TCP Dup ACK {frame}#{number}",
        "note",
        "Repeats an acknowledgment: something beyond the acknowledged point has arrived, or a segment came twice.",
    ),
    Finding(
        LOST_SEGMENT,
        "lost_segment",
        "TCP Previous segment not captured",
        "warn",
        "Bytes before this segment were not seen: lost before the capture point, or late.",
    ),
    Finding(
        ACK_LOST_SEGMENT,
        "ack_lost_segment",
        "TCP ACKed unseen segment",
        "warn",
        "Acknowledges bytes that the capture does not hold.",
    ),
    Finding(ZERO_WINDOW, "zero_window", "TCP ZeroWindow", "warn", "The receive buffer is full: the peer must stop."),
    Finding(
        ZERO_WINDOW_PROBE,
        "zero_window_probe",
        "TCP ZeroWindowProbe",
        "note",
        "One byte sent into a zero window to learn whether it has opened (RFC 9293 section 3.8.6.1).",
    ),
    Finding(
        ZERO_WINDOW_PROBE_ACK,
        "zero_window_probe_ack",
        "TCP ZeroWindowProbeAck",
        "note",
        "Answers a probe: the window is still zero.",
    ),
    Finding(
        WINDOW_FULL,
        "window_full",
        "TCP Window Full",
        "warn",
        "Fills the peer's receive window to its last byte: nothing more may be sent.",
    ),
    Finding(WINDOW_UPDATE, "window_update", "TCP Window Update", "chat", "Says nothing but a new window size."),
    Finding(
        KEEP_ALIVE,
        "keep_alive",
        "TCP Keep-Alive",
        "note",
        "An old sequence number, to make the peer answer (RFC 9293 section 3.8.4).",
    ),
    Finding(KEEP_ALIVE_ACK, "keep_alive_ack", "TCP Keep-Alive ACK", "note", "Answers a keep-alive."),
    Finding(
        REUSED_PORTS,
        "reused_ports",
        "TCP Port numbers reused",
        "note",
        "A SYN on the addresses and ports of an earlier connection: a new one begins.",
    ),
)
"""Every finding, by bit."""

FINDING: Final[dict[str, Finding]] = {row.field: row for row in FINDINGS}
"""The same by Wireshark's field name."""

UNKNOWN: Final = -1
"""In ``rtt``, ``initial_rtt``, ``rto``, ``bytes_in_flight`` and ``push_bytes_sent``: nothing to say here."""

ANALYSIS: Final = np.dtype(
    [
        ("rtt", "i8"),  # ns since the acknowledged segment was seen; UNKNOWN where this ACK measures nothing
        ("initial_rtt", "i8"),  # ns from the last SYN to the first ACK of the handshake; UNKNOWN until then
        ("rto", "i8"),  # ns since the bytes sent again here were first seen; UNKNOWN if not a timer's retransmission
        ("bytes_in_flight", "i8"),  # sequence space sent and not acknowledged, after this segment; UNKNOWN
        ("push_bytes_sent", "i8"),  # bytes since the last PSH, this segment's included; UNKNOWN where it has no payload
        ("stream", "u4"),  # tcp.stream: connections counted from 0 in order of appearance
        ("findings", "u4"),  # the bits above
        ("acked_frame", "u4"),  # frame whose bytes this ACK acknowledges, 0 for none
        ("duplicate_ack_frame", "u4"),  # frame of the ACK that is repeated, 0 for none
        ("duplicate_ack_number", "u4"),  # 1 for the first repetition
        ("rto_frame", "u4"),  # frame that sent these bytes first, 0 for none
        ("window", "u4"),  # receive window in bytes, scaled where both SYNs agreed on it
        ("completeness", "u1"),  # tcp.completeness so far, this segment included
        ("direction", "u1"),  # 0: from the endpoint that sent the connection's first captured segment; 1: to it
    ],
    align=True,
)
"""numpy dtype of what is found for one segment; row i belongs to row i of the segments given."""


def findings_of(bits: int) -> Iterator[Finding]:
    """The findings set in ``bits``, in the table's order."""
    return (row for row in FINDINGS if bits & row.bit)
