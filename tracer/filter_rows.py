"""Rows of an analysed capture as columns by name: what filters judge and exports write.

The engine gives arrays of numbers. A column is worked out from them when it is asked for, so what nobody filters by or
prints costs nothing. A filter wants numbers, an export wants names and addresses in words; where the two differ under
one name, ``exported`` has the words. In a filter ``time`` counts from the first packet of the capture, in an export it
is the moment itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from tracer.filter_columns import Times, Words, words
from tracer.kinds import Certainty, Side
from tracer.replay.analysis import findings_of
from tracer.replay.lived import STATES
from tracer.segments import ACK
from tracer.states import State, Trigger
from tracer.timeline import address
from tracer.words import endpoint, flags

Array = NDArray[Any]
Make = Callable[[Any], Any]


@lru_cache(1 << 16)
def address_text(high: int, low: int) -> str:
    """An address in words; the same few are asked for again and again."""
    return address(high, low)


def _findings(bits: int) -> list[str]:
    return [row.field for row in findings_of(bits)]


def _addresses(pairs: Array) -> Words:
    return words(pairs, address_text)


def _sides(numbers: Array) -> Words:
    return words(numbers, lambda number: Side(number).name.lower() if number else "")


def _states(numbers: Array) -> Words:
    return words(numbers, lambda number: State(number).name if number else "")


def _certainties(numbers: Array) -> Words:
    return words(numbers, lambda number: Certainty(number).name.lower() if number else "")


def _triggers(numbers: Array) -> Words:
    return words(numbers, lambda number: Trigger(number).name.lower() if number else "unseen")


def pairs(rows: Array, name: str) -> NDArray[np.uint64]:
    """The address ``name`` of rows of SEGMENT or CONNECTION as its two halves, shape (n, 2)."""
    return np.stack((rows[f"{name}_hi"], rows[f"{name}_lo"]), axis=1)


def _where(known: Array, values: Array) -> Array:
    """Numbers as wide as -1, which stands where they are not known."""
    return np.where(known, values.astype(np.int64), -1)


def _same(part: str, *names: str) -> dict[str, Make]:
    """Columns that are simply in the array ``part``, under the same name."""
    return {name: _reader(part, name) for name in names}


def _reader(part: str, name: str) -> Make:
    return lambda rows: getattr(rows, part)[name]


def _way(name: str, side: int) -> Make:
    return lambda rows: rows.both(name, side)


class Rows:
    """Rows of one table. Subclasses are dataclasses of arrays, each with one item a row."""

    columns: ClassVar[Mapping[str, Make]]
    exported: ClassVar[Mapping[str, Make]]

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, name: str) -> Any:
        """The column a filter sees: an array, or a list of texts; addresses have shape (n, 2)."""
        return self.columns[name](self)

    def export(self, name: str) -> Any:
        """The column as it is written to a file: an array of integers or of byte strings, Words or Times."""
        return (self.exported.get(name) or self.columns[name])(self)

    def parts(self, most: int) -> Iterator[Self]:
        """The rows a few at a time, in order: no more than ``most``."""
        for first in range(0, len(self), most):
            kept: dict[str, Any] = {}
            for one in fields(self):  # type: ignore[arg-type]
                value = getattr(self, one.name)
                kept[one.name] = value[first : first + most] if isinstance(value, (np.ndarray, list)) else value
            yield type(self)(**kept)

    def pick(self, mask: NDArray[np.bool_]) -> Self:
        """Only the rows where ``mask`` is true."""
        kept: dict[str, Any] = {}
        for one in fields(self):  # type: ignore[arg-type]
            value = getattr(self, one.name)
            if isinstance(value, np.ndarray):
                value = value[mask]
            elif isinstance(value, list) and value:
                value = [item for item, keep in zip(value, mask.tolist(), strict=True) if keep]
            kept[one.name] = value
        return type(self)(**kept)


@dataclass
class Packets(Rows):
    """Segments and what was found for them."""

    segments: Array
    """SEGMENT"""
    analysis: Array
    """ANALYSIS"""
    wire: Array
    """Bytes of each frame on the wire."""
    side: Array
    """tracer.kinds.Side of the sender."""
    start: int
    """ns: when the capture's first segment was seen."""
    text: list[str] = field(default_factory=list)
    """The Info column; asked of ``info`` where a filter needs it."""
    info: Callable[[Packets], list[str]] | None = None
    """Writes it."""

    def __len__(self) -> int:
        return len(self.segments)

    def _text(self) -> list[str]:
        if not self.text and self.info is not None:
            self.text = self.info(self)
        return self.text

    columns: ClassVar[Mapping[str, Make]] = {
        **_same("segments", "frame", "flags", "sport", "dport", "length", "ttl", "seq", "mss", "wscale"),
        **_same("analysis", "stream", "findings", "window", "completeness", "rtt", "initial_rtt", "rto"),
        **_same("analysis", "bytes_in_flight", "acked_frame", "duplicate_ack_frame", "duplicate_ack_number"),
        "ack": lambda r: _where(r.segments["flags"] & ACK > 0, r.segments["ack"]),
        "tsval": lambda r: _where(r.segments["has_ts"] > 0, r.segments["tsval"]),
        "tsecr": lambda r: _where(r.segments["has_ts"] > 0, r.segments["tsecr"]),
        "src": lambda r: pairs(r.segments, "src"),
        "dst": lambda r: pairs(r.segments, "dst"),
        "side": lambda r: r.side,
        "frame_length": lambda r: r.wire,
        "captured": lambda r: r.segments["caplen"],
        "time": lambda r: r.segments["time"] - r.start,
        "text": _text,
    }
    exported: ClassVar[Mapping[str, Make]] = {
        "time": lambda r: r.segments["time"],
        "src": lambda r: _addresses(r["src"]),
        "dst": lambda r: _addresses(r["dst"]),
        "side": lambda r: _sides(r.side),
        "flags": lambda r: words(r.segments["flags"], flags),
        "analysis": lambda r: words(r.analysis["findings"], _findings),
        "ack": lambda r: r.segments["ack"],
    }


@dataclass
class Connections(Rows):
    """Connections as they are, or were when their state was given up."""

    rows: Array
    """CONNECTION"""
    findings: Array
    """Findings of all its packets together; zeros where they were not collected."""
    flags: Array
    """Control bits of all its packets together; likewise."""
    lived: Array
    """LIVED: the states of client and server; zeros where states are not inferred."""
    start: int
    """ns: when the capture's first segment was seen."""

    def __len__(self) -> int:
        return len(self.rows)

    def both(self, name: str, side: int) -> Array:
        """A column of two: that of the client (0) or of the server (1)."""
        flipped = self.rows["flipped"] > 0
        column: Array = self.rows[name]
        return np.where(flipped, column[:, 1 - side], column[:, side])

    def point(self, side: int) -> tuple[Array, Array]:
        """Address, shape (n, 2), and port of the client (0) or of the server (1)."""
        flipped = (self.rows["flipped"] > 0) ^ bool(side)
        addresses = np.where(flipped[:, None], pairs(self.rows, "dst"), pairs(self.rows, "src"))
        return addresses, np.where(flipped, self.rows["dport"], self.rows["sport"])

    def total(self, name: str) -> Array:
        """Both ways together."""
        total: Array = self.rows[name].sum(axis=1).astype(np.int64)
        return total

    def times(self, side: int) -> Times:
        """ns spent in each state by the client (0) or the server (1)."""
        columns = slice(side * STATES, (side + 1) * STATES)
        return Times(self.lived["count"][:, side], self.lived["which"][:, columns], self.lived["spent"][:, columns])

    @property
    def states(self) -> Array:
        """Last state of client and server, shape (n, 2); zeros where states are not inferred."""
        column: Array = self.lived["state"]
        return column

    @property
    def certainty(self) -> Array:
        """tracer.kinds.Certainty of both."""
        column: Array = self.lived["certainty"]
        return column

    def _text(self) -> list[str]:
        (clients, cports), (servers, sports) = self.point(0), self.point(1)
        ends = zip(clients.tolist(), cports.tolist(), servers.tolist(), sports.tolist(), strict=True)
        words = zip(ends, self.rows["conn_state"].tolist(), self.rows["history"].tolist(), strict=True)
        return [
            f"{endpoint(a, p)} → {endpoint(b, q)} {state.decode()} {history.decode()}"
            for (a, p, b, q), state, history in words
        ]

    columns: ClassVar[Mapping[str, Make]] = {
        **_same("rows", "stream", "completeness", "reused", "first_frame", "last_frame"),
        **{
            f"{side}_{name}": _way(column, number)
            for number, side in enumerate(("client", "server"))
            for name, column in (
                ("packets", "packets"), ("bytes", "payload"), ("captured", "captured"), ("lost", "lost"),
                ("retransmissions", "retransmitted"), ("out_of_order", "out_of_order"), ("unseen", "gaps"),
                ("zero_windows", "zero_windows"),
            )
        },
        "src": lambda r: r.point(0)[0],
        "sport": lambda r: r.point(0)[1],
        "dst": lambda r: r.point(1)[0],
        "dport": lambda r: r.point(1)[1],
        "client_state": lambda r: r.states[:, 0],
        "server_state": lambda r: r.states[:, 1],
        "time": lambda r: r.rows["first_time"] - r.start,
        "duration": lambda r: r.rows["last_time"] - r.rows["first_time"],
        "packets": lambda r: r.total("packets"),
        "bytes": lambda r: r.total("payload"),
        "retransmissions": lambda r: r.total("retransmitted"),
        "lost": lambda r: r.total("lost"),
        "rtt": lambda r: r.rows["initial_rtt"],
        "findings": lambda r: r.findings,
        "flags": lambda r: r.flags,
        "conn_state": lambda r: [state.decode() for state in r.rows["conn_state"].tolist()],
        "history": lambda r: [history.decode() for history in r.rows["history"].tolist()],
        "text": _text,
    }  # fmt: skip
    exported: ClassVar[Mapping[str, Make]] = {
        "time": lambda r: r.rows["first_time"],
        "client": lambda r: _addresses(r.point(0)[0]),
        "client_port": lambda r: r.point(0)[1],
        "server": lambda r: _addresses(r.point(1)[0]),
        "server_port": lambda r: r.point(1)[1],
        "handshake_rtt": lambda r: r.rows["initial_rtt"],
        "conn_state": lambda r: r.rows["conn_state"],
        "history": lambda r: r.rows["history"],
        "client_state": lambda r: _states(r.states[:, 0]),
        "server_state": lambda r: _states(r.states[:, 1]),
        "client_certainty": lambda r: _certainties(r.certainty[:, 0]),
        "server_certainty": lambda r: _certainties(r.certainty[:, 1]),
        "client_times": lambda r: r.times(0),
        "server_times": lambda r: r.times(1),
    }


@dataclass
class Changes(Rows):
    """Inferred changes of state."""

    rows: Array
    """CHANGE"""
    start: int
    """ns: when the capture's first segment was seen."""

    def __len__(self) -> int:
        return len(self.rows)

    def _text(self) -> list[str]:
        return [
            f"{endpoint(tuple(row['src']), row['sport'])} {State(row['old']).name} → {State(row['new']).name} "
            f"{Certainty(row['certainty']).name.lower()}"
            for row in map(_as_dict, self.rows)
        ]

    columns: ClassVar[Mapping[str, Make]] = {
        **_same("rows", "stream", "side", "src", "sport", "dst", "dport", "old", "certainty", "frame"),
        "state": lambda r: r.rows["new"],
        "time": lambda r: r.rows["time"] - r.start,
        "text": _text,
    }
    exported: ClassVar[Mapping[str, Make]] = {
        "time": lambda r: r.rows["time"],
        "src": lambda r: _addresses(r.rows["src"]),
        "dst": lambda r: _addresses(r.rows["dst"]),
        "side": lambda r: _sides(r.rows["side"]),
        "old": lambda r: _states(r.rows["old"]),
        "new": lambda r: _states(r.rows["new"]),
        "certainty": lambda r: _certainties(r.rows["certainty"]),
        "trigger": lambda r: _triggers(r.rows["trigger"]),
    }


CHANGE = np.dtype(
    [
        ("time", "i8"),
        ("stream", "u4"),
        ("frame", "u4"),  # 0 where a timer ran out
        ("src", "u8", (2,)),  # the end whose state it is
        ("dst", "u8", (2,)),
        ("sport", "u2"),
        ("dport", "u2"),
        ("side", "u1"),
        ("old", "u1"),
        ("new", "u1"),
        ("certainty", "u1"),
        ("trigger", "u1"),
    ],
    align=True,
)
"""numpy dtype of one inferred change of state."""


def _as_dict(row: Any) -> dict[str, Any]:
    return dict(zip(CHANGE.names or (), row.tolist(), strict=True))


def changes(found: Sequence[Any], frames: Array, first: int) -> Array:
    """Rows of CHANGE from what the inference found; ``frames`` are those of the segments from number ``first`` on."""
    table = np.zeros(len(found), CHANGE)
    for row, (place, pair, change) in zip(table, found, strict=True):
        local, peer = pair.points[change.row], pair.points[1 - change.row]
        row["time"], row["stream"] = change.time, pair.stream
        row["frame"] = frames[place - first] if place >= 0 else 0
        row["src"], row["sport"], row["dst"], row["dport"] = local[:2], local[2], peer[:2], peer[2]
        row["side"] = Side.CLIENT if change.row == pair.client else Side.SERVER
        row["old"], row["new"] = change.old, change.new
        row["certainty"], row["trigger"] = change.certainty, change.trigger
    return table
