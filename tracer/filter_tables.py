"""The tables that the analysis of a capture gives, column by column: packets, connections, changes of state.

These names are what JSON lines, csv and Parquet carry, a promise to whoever reads our files: they may be added to, but
not changed. Times are nanoseconds, and since the Unix epoch where they are moments; states are spelled as the kernel
spells them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tracer.filter_keys import TableName


class Column(NamedTuple):
    """One exported column."""

    name: str
    type: str
    """int, text, texts (a list) or times (ns by name of a state)."""
    unit: str
    meaning: str
    unknown: int | None = None
    """The number that is exported as "nothing known": null, or an empty field."""


FILE: Final = Column("file", "text", "", "the file, where several are read")

PACKETS: Final = (
    Column("frame", "int", "", "number of the packet in its file"),
    Column("time", "int", "ns", "when it was captured, since the Unix epoch"),
    Column("stream", "int", "", "tcp.stream: connections from 0 in order of appearance"),
    Column("side", "text", "", "who sent it: client or server"),
    Column("src", "text", "", "sender's address"),
    Column("sport", "int", "", "sender's port"),
    Column("dst", "text", "", "receiver's address"),
    Column("dport", "int", "", "receiver's port"),
    Column("flags", "text", "", "control bits: SYN,ACK"),
    Column("seq", "int", "sequence", "sequence number, absolute"),
    Column("ack", "int", "sequence", "acknowledgement number, absolute"),
    Column("window", "int", "bytes", "receive window, scaled where both SYNs are known"),
    Column("length", "int", "bytes", "payload"),
    Column("frame_length", "int", "bytes", "the frame on the wire"),
    Column("captured", "int", "bytes", "what the file holds of it"),
    Column("analysis", "texts", "", "findings by Wireshark's names, without tcp.analysis."),
    Column("rtt", "int", "ns", "since the segment that is acknowledged here", -1),
    Column("initial_rtt", "int", "ns", "round-trip time of the handshake", -1),
    Column("rto", "int", "ns", "since the bytes sent again here were first sent", -1),
    Column("bytes_in_flight", "int", "bytes", "sent and not acknowledged, after this segment", -1),
    Column("acked_frame", "int", "", "frame that is acknowledged", 0),
    Column("duplicate_ack_frame", "int", "", "frame whose acknowledgment is repeated", 0),
    Column("duplicate_ack_number", "int", "", "how many times so far", 0),
    Column("completeness", "int", "bits", "tcp.completeness so far"),
    Column("mss", "int", "bytes", "maximum segment size option", 0),
    Column("wscale", "int", "bits", "window scale option", -1),
    Column("tsval", "int", "", "timestamp option", -1),
    Column("tsecr", "int", "", "timestamp echoed", -1),
    Column("ttl", "int", "hops", "TTL or hop limit"),
)

_BOTH: Final = (
    ("packets", "", "segments"),
    ("bytes", "bytes", "payload, retransmissions included"),
    ("captured", "bytes", "what the file holds of the frames"),
    ("retransmissions", "", "segments sent again"),
    ("out_of_order", "", "segments out of order"),
    ("lost", "", "gaps: segments before which others were not captured"),
    ("unseen", "", "acknowledgments of bytes that were not captured"),
    ("zero_windows", "", "segments that announced a zero window"),
)
CONNECTIONS: Final = (
    Column("stream", "int", "", "tcp.stream: connections from 0 in order of appearance"),
    Column("time", "int", "ns", "of the first segment, since the Unix epoch"),
    Column("duration", "int", "ns", "from the first to the last segment"),
    Column("client", "text", "", "address of the end that opened, as far as seen"),
    Column("client_port", "int", "", "its port"),
    Column("server", "text", "", "address of the other end"),
    Column("server_port", "int", "", "its port"),
    *(
        Column(f"{side}_{name}", "int", unit, f"{meaning}, from the {side}")
        for name, unit, meaning in _BOTH
        for side in ("client", "server")
    ),
    Column("handshake_rtt", "int", "ns", "from the last SYN to the first ACK", -1),
    Column("completeness", "int", "bits", "Wireshark's: 1 SYN, 2 SYN-ACK, 4 ACK, 8 data, 16 FIN, 32 RST"),
    Column("conn_state", "text", "", "Zeek's summary"),
    Column("history", "text", "", "Zeek's history: upper case is the client"),
    Column("reused", "int", "", "1: began on the addresses and ports of an earlier connection"),
    Column("first_frame", "int", "", "number of its first packet"),
    Column("last_frame", "int", "", "number of its last packet"),
    *(
        column
        for side in ("client", "server")
        for column in (
            Column(f"{side}_state", "text", "", f"last state of the {side}, inferred (kernel's spelling)"),
            Column(f"{side}_certainty", "text", "", "how firmly it stands: certain, provisional, corrected"),
            Column(f"{side}_times", "times", "ns", f"time the {side} spent in each state, as inferred"),
        )
    ),
)

STATES: Final = (
    Column("time", "int", "ns", "of the segment, or of the timer that ran out, since the Unix epoch"),
    Column("frame", "int", "", "the packet that led to it", 0),
    Column("stream", "int", "", "tcp.stream"),
    Column("side", "text", "", "whose state it is: client or server"),
    Column("src", "text", "", "its address"),
    Column("sport", "int", "", "its port"),
    Column("dst", "text", "", "the other end's address"),
    Column("dport", "int", "", "the other end's port"),
    Column("old", "text", "", "state that was left (kernel's spelling)"),
    Column("new", "text", "", "state that was entered"),
    Column("certainty", "text", "", "certain: its own segments show it; provisional; corrected: a step back"),
    Column("trigger", "text", "", "what moved it (tracer.states.Trigger), unseen where that is not on the wire"),
)

COLUMNS: Final[dict[TableName, tuple[Column, ...]]] = {
    "packets": PACKETS, "connections": CONNECTIONS, "states": STATES,
}  # fmt: skip
"""What is exported of each table."""
