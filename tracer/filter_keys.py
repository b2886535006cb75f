"""The keys of the display filter, as one table: what each is called, what it is about, where it may be used.

A filter can select four kinds of rows: events of a timeline, and packets, connections and changes of state of a capture
that is analysed. A key names the columns that it looks at in each; it holds where any of them meets the condition. The
compiler, completion and docs/filters.md read this table.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, get_args

TableName = Literal["events", "packets", "connections", "states"]
TABLES: Final[tuple[TableName, ...]] = get_args(TableName)
"""What filters can select."""


class Key(NamedTuple):
    """One key."""

    name: str
    type: str
    """tracer.filter_values.TYPES."""
    meaning: str
    events: tuple[str, ...] = ()
    """Columns that it looks at in events; empty: events do not have it."""
    packets: tuple[str, ...] = ()
    connections: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    unknown: int | None = None
    """The number that stands for "not known" in those columns; a condition on it never holds."""
    aliases: tuple[str, ...] = ()

    def columns(self, table: TableName) -> tuple[str, ...]:
        """Columns that it looks at in ``table``."""
        found: tuple[str, ...] = getattr(self, table)
        return found

    @property
    def tables(self) -> tuple[TableName, ...]:
        """Where it may be used."""
        return tuple(table for table in TABLES if self.columns(table))


def _key(
    name: str, kind: str, where: str, meaning: str, columns: tuple[str, ...] = (), unknown: int | None = None,
    aliases: tuple[str, ...] = (), **special: tuple[str, ...],
) -> Key:  # fmt: skip
    """A key with the same columns (by default called as it is) wherever ``where`` has the initial: E P C S."""
    same: dict[str, tuple[str, ...]] = {table: columns or (name,) for table in TABLES if table[0].upper() in where}
    where_to_look: dict[str, tuple[str, ...]] = {**same, **special}
    return Key(name, kind, meaning, **where_to_look, unknown=unknown, aliases=aliases)


KEYS: Final[tuple[Key, ...]] = (
    # Endpoints
    _key("src", "address", "EPCS", "address of the packet's sender, of the client, of the end that the event is about"),
    _key("dst", "address", "EPCS", "the other address"),
    _key("ip", "address", "EPCS", "either address", ("src", "dst"), aliases=("addr", "host")),
    _key("sport", "number", "EPCS", "port that belongs to src", unknown=0),
    _key("dport", "number", "EPCS", "port that belongs to dst", unknown=0),
    _key("port", "number", "EPCS", "either port", ("sport", "dport"), 0),
    _key("side", "side", "EPS", "which end: for a packet its sender"),
    # Connections
    _key("conn", "number", "E", "number of the connection on the screen, from 1", unknown=0),
    _key("stream", "number", "PCS", "Wireshark's tcp.stream, from 0"),
    _key("state", "state", "ECS", "state entered, or in which the socket is; of a connection: either end's last state",
         ("state",), 0, connections=("client_state", "server_state")),
    _key("old", "state", "ES", "state that was left", unknown=0),
    _key("new", "state", "S", "state that was entered, as state", ("state",), 0),
    _key("client_state", "state", "C", "last state of the client", unknown=0),
    _key("server_state", "state", "C", "last state of the server", unknown=0),
    _key("certainty", "certainty", "ES", "how firmly an inferred state stands", unknown=0),
    _key("duration", "time", "C", "from the first to the last packet"),
    _key("packets", "number", "C", "packets both ways"),
    _key("bytes", "bytes", "C", "payload both ways, retransmissions included"),
    _key("retransmissions", "number", "C", "segments sent again, both ways"),
    _key("lost", "number", "C", "gaps: segments before which others were not captured, both ways"),
    _key("conn_state", "name", "C", "Zeek's conn_state: SF, S0, REJ, RSTO"),
    _key("history", "text", "C", "Zeek's history contains this, in any case"),
    _key("completeness", "number", "PC", "tcp.completeness: 1 SYN, 2 SYN-ACK, 4 ACK, 8 data, 16 FIN, 32 RST"),
    # Packets
    _key("flag", "flags", "EPC", "control bits that are all set; of a connection: that were all seen", ("flags",), -1,
         ("flags",)),
    _key("analysis", "finding", "EPC", "what Wireshark's analysis says; of a connection: of any of its packets",
         ("findings",)),
    _key("severity", "severity", "EPC", "severity of what the analysis says; anomalies are errors, lost events warn",
         ("findings",)),
    _key("len", "bytes", "EP", "payload", ("length",), -1, ("length",)),
    _key("frame", "number", "EP", "number of the packet in its file", unknown=0),
    _key("frame_length", "bytes", "P", "bytes of the frame on the wire"),
    _key("seq", "number", "EP", "sequence number, absolute", unknown=-1),
    _key("ack", "number", "EP", "acknowledgement number, absolute", unknown=-1),
    _key("window", "bytes", "EP", "receive window; for packets of a capture scaled", unknown=-1, aliases=("win",)),
    _key("ttl", "number", "EP", "TTL or hop limit", unknown=-1),
    _key("in_flight", "bytes", "P", "sent and not acknowledged, after this segment", ("bytes_in_flight",), -1,
         ("bytes_in_flight",)),
    _key("rtt", "time", "EPC", "round-trip time: smoothed (event), of the segment acknowledged here (packet), of the "
         "handshake (connection)", unknown=-1),
    # Events
    _key("event", "event", "E", "kind of event, by name, category or pattern", ("kind",)),
    _key("lane", "lane", "E", "where it is drawn"),
    _key("evidence", "evidence", "E", "how it is known"),
    _key("source", "source", "E", "which part of the tracer brought it"),
    _key("process", "name", "E", "name of the process or actor", aliases=("comm",)),
    _key("pid", "number", "E", "process", unknown=0),
    _key("tid", "number", "E", "thread", unknown=0),
    _key("fd", "number", "E", "file descriptor", unknown=-1),
    _key("cpu", "number", "E", "processor"),
    _key("sock", "number", "E", "number of the socket on the timeline", unknown=0),
    _key("call", "name", "E", "system call"),
    # Everything
    _key("time", "time", "EPCS", "since the first event or packet; of a connection its beginning"),
    _key("text", "text", "EPCS", "the line in words contains this"),
)  # fmt: skip
"""Every key, in the order of the docs."""

KEY: Final[dict[str, Key]] = {name: key for key in KEYS for name in (key.name, *key.aliases)}
"""A key by its name or an alias."""


def keys_of(table: TableName) -> tuple[Key, ...]:
    """The keys that can be used for ``table``, for completion."""
    return tuple(key for key in KEYS if key.columns(table))
