"""What `synfin analyze` prints for people: Wireshark's columns, and Info as Wireshark writes it.

Sequence numbers are relative to the first one seen of each direction, which is 0 where that was the SYN and 1 where
the capture began later, as in Wireshark. States carry the mark of inferred facts.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.export import cells
from tracer.export.cells import Cells as Column
from tracer.filter_keys import TableName
from tracer.filter_rows import Changes, Connections, Packets, Rows, address_text
from tracer.kinds import EVIDENCE_MARK, Certainty, Evidence, Side
from tracer.replay.analysis import (
    ACK_LOST_SEGMENT,
    DUPLICATE_ACK,
    FAST_RETRANSMISSION,
    RETRANSMISSION,
    SPURIOUS_RETRANSMISSION,
    findings_of,
)
from tracer.replay.lived import STATES
from tracer.segments import ACK, AE, CWR, ECE, FIN, PSH, RST, SYN, URG
from tracer.states import State, Trigger
from tracer.words import bits, endpoint, label

MARK: Final = EVIDENCE_MARK[Evidence.INFERRED]
_SHOWN: Final = {FIN: "FIN", SYN: "SYN", RST: "RST", PSH: "PSH", ACK: "ACK", URG: "URG", ECE: "ECE", CWR: "CWR",
                 AE: "AE"}  # fmt: skip
_MODULO: Final = 0xFFFF_FFFF

Clock = Callable[[int, int, int], str]
"""(moment, first moment, moment before), ns -> text."""

CLOCKS: Final[dict[str, Clock]] = {
    "a": lambda now, first, before: _absolute(now),
    "d": lambda now, first, before: _seconds(now - before),
    "e": lambda now, first, before: f"{now // 10**9}.{now % 10**9:09}",
    "r": lambda now, first, before: _seconds(now - first),
}
"""Time formats of -t: local date and time, delta to the row before, epoch, relative to the first packet."""


def _seconds(ns: int) -> str:
    micro = abs(ns) // 1000
    return f"{'-' if ns < 0 else ''}{micro // 1_000_000}.{micro % 1_000_000:06}"


def _absolute(ns: int) -> str:
    try:
        moment = datetime.datetime.fromtimestamp(ns // 10**9)
    except (ValueError, OverflowError, OSError):  # a damaged file may claim any year
        return CLOCKS["e"](ns, 0, 0)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{ns % 10**9:09}"


@lru_cache(1 << 16)
def _host(high: int, low: int) -> str:
    """An address as it stands before a port; the same few come again and again."""
    return endpoint((high, low), 0).removesuffix("*")


@lru_cache(1 << 10)
def _flag_names(value: int) -> str:
    return bits(value, _SHOWN, ", ", "<None>")


@lru_cache(1 << 12)
def _labels(found: int) -> str:
    """Findings in brackets; Wireshark does not call a fast or spurious retransmission a retransmission as well."""
    if found & (FAST_RETRANSMISSION | SPURIOUS_RETRANSMISSION):
        found &= ~RETRANSMISSION
    rows = sorted(findings_of(found), key=lambda row: row.bit != ACK_LOST_SEGMENT)  # which Wireshark says first
    return "".join(f"[{row.label}] " for row in rows)


class Info:
    """Writes Info columns; what it remembers is where each direction's sequence numbers begin."""

    def __init__(self) -> None:
        self.wanted = False
        """Whether anybody will read them."""
        self._bases: dict[int, int] = {}
        """By 2 * stream + direction."""

    def forget(self, streams: Iterable[int]) -> None:
        """These connections are over."""
        for stream in streams:
            self._bases.pop(2 * stream, None)
            self._bases.pop(2 * stream + 1, None)

    def lines(self, packets: Packets) -> list[str]:
        """The Info of each packet; all packets have to pass here, in order, once."""
        segments, analysis = packets.segments, packets.analysis
        heads = zip(*(segments[name].tolist() for name in ("sport", "dport", "flags", "seq", "ack", "length",
                    "urgent")), strict=True)  # fmt: skip
        options = zip(*(segments[name].tolist() for name in ("mss", "sack_permitted", "has_ts", "tsval", "tsecr",
                    "wscale", "n_sack", "sack_left", "sack_right")), strict=True)  # fmt: skip
        results = zip(*(analysis[name].tolist() for name in ("stream", "direction", "window", "findings",
                      "duplicate_ack_frame", "duplicate_ack_number")), strict=True)  # fmt: skip
        return [self._line(head, option, result) for head, option, result in zip(heads, options, results, strict=True)]

    def _line(self, head: tuple[int, ...], option: tuple[Any, ...], result: tuple[int, ...]) -> str:
        sport, dport, flags, seq, ack, length, urgent = head
        stream, direction, window, findings, frame, number = result
        own, other = 2 * stream + direction, 2 * stream + 1 - direction
        if flags & SYN:
            self._bases[own] = seq
        base = self._bases.setdefault(own, (seq - 1) & _MODULO)
        acked = ""
        if flags & ACK:
            start = self._bases.setdefault(other, (ack - 1) & _MODULO)
            acked = f" Ack={(ack - start) & _MODULO}"
        urgent_text = f" Urg={urgent}" if flags & URG else ""
        found = _labels(findings)
        if findings & DUPLICATE_ACK:
            found = found.format(frame=frame, number=number)
        return (
            f"{found}{sport} → {dport} [{_flag_names(flags)}] Seq={(seq - base) & _MODULO}{acked} Win={window}"
            f"{urgent_text} Len={length}{self._options(flags, option, self._bases.get(other, 0))}"
        )

    @staticmethod
    def _options(flags: int, option: tuple[Any, ...], base: int) -> str:
        mss, permitted, has_ts, tsval, tsecr, wscale, n_sack, left, right = option
        text = f" MSS={mss}" if mss else ""
        if permitted:
            text += " SACK_PERM"
        if has_ts:
            text += f" TSval={tsval} TSecr={tsecr}"
        if wscale >= 0 and flags & SYN:
            text += f" WS={1 << min(wscale, 14)}"  # RFC 7323 section 2.3: more than 14 counts as 14
        for number in range(min(n_sack, len(left))):
            text += f" SLE={(left[number] - base) & _MODULO} SRE={(right[number] - base) & _MODULO}"
        return text


HEADINGS: Final[dict[TableName, tuple[str, ...]]] = {
    "packets": (">No.", ">Time", "Source", "Destination", "Protocol", ">Length", "Info"),
    "connections": (
        ">#", ">Time", ">Duration", "Client", "Server", ">Packets →", ">←", ">Bytes →", ">←", ">RTT", "conn_state",
        "History", ">Complete", ">Retrans", ">Lost", "Client state", "Server state", "Time in states",
    ),
    "states": (">Time", ">No.", ">#", "Side", "Endpoint", "Peer", "Change", "How", "Trigger"),
}  # fmt: skip


class Cells:
    """Rows in words. Keeps the moment of the row before, for ``-t d``."""

    def __init__(self, clock: str) -> None:
        self._clock = CLOCKS[clock]
        self._relative = clock == "r"
        self._before: int | None = None

    def of(self, rows: Rows) -> Iterator[Sequence[str]]:
        """The cells of each row, under HEADINGS."""
        if isinstance(rows, Packets):
            return self._packets(rows)
        assert isinstance(rows, Changes)
        return self._changes(rows)

    def columns(self, rows: Connections) -> list[Column]:
        """The same for connections, of which there may be many: column by column."""
        (clients, cports), (servers, sports) = rows.point(0), rows.point(1)
        rtt = rows["rtt"]
        known = rtt >= 0
        counts = [rows[f"{side}_{name}"] for name in ("packets", "bytes") for side in ("client", "server")]
        return [
            cells.numbers(rows["stream"]), self._times(rows), cells.seconds(rows["duration"]), _ends(clients, cports),
            _ends(servers, sports), *(cells.numbers(count) for count in counts),
            cells.where(known, cells.durations(np.maximum(rtt, 0))), cells.octets(rows.rows["conn_state"]),
            cells.octets(rows.rows["history"]), cells.numbers(rows["completeness"]),
            cells.numbers(rows["retransmissions"]), cells.numbers(rows["lost"]), _STATES[rows.states[:, 0]],
            _STATES[rows.states[:, 1]], _lived(rows),
        ]  # fmt: skip

    def _times(self, rows: Connections) -> Column:
        moments = rows.rows["first_time"]
        if self._relative:
            return cells.seconds(moments - rows.start)
        return cells.texts([self._time(now, rows.start) for now in moments.tolist()])

    def _time(self, now: int, start: int) -> str:
        before, self._before = now if self._before is None else self._before, now
        return self._clock(now, start, before)

    def _packets(self, rows: Packets) -> Iterator[Sequence[str]]:
        columns = (
            rows.segments["frame"].tolist(), rows.segments["time"].tolist(), rows["src"].tolist(), rows["dst"].tolist(),
            rows.wire.tolist(), rows["text"],
        )  # fmt: skip
        for frame, time, src, dst, length, info in zip(*columns, strict=True):
            yield (
                str(frame), self._time(time, rows.start), address_text(*src), address_text(*dst), "TCP", str(length),
                info,
            )  # fmt: skip

    def _changes(self, rows: Changes) -> Iterator[Sequence[str]]:
        for row in rows.rows:
            yield (
                self._time(int(row["time"]), rows.start), str(row["frame"] or ""), str(row["stream"]),
                Side(int(row["side"])).name.lower(), endpoint(row["src"].tolist(), int(row["sport"])),
                endpoint(row["dst"].tolist(), int(row["dport"])),
                f"{label(int(row['old']))} → {label(int(row['new']))}{MARK}",
                Certainty(int(row["certainty"])).name.lower(),
                Trigger(int(row["trigger"])).name.lower() if row["trigger"] else "unseen",
            )  # fmt: skip


_STATES: Final = cells.texts(["", *(f"{label(state)}{MARK}" for state in tuple(State)[1:])])
_LABELS: Final = cells.texts([f"{label(state)} " for state in State])


def _ends(hosts: NDArray[np.uint64], ports: NDArray[Any]) -> Column:
    """Endpoints: address, colon, port."""
    six = cells.addresses(hosts, lambda high, low: _host(high, low).removesuffix(":"))
    named = np.where(ports > 0, np.uint8(0), np.uint8(ord("*")))[:, None]
    return cells.joined(six, cells.always(":", len(ports)), cells.where(ports > 0, cells.numbers(ports)), named)


def _lived(rows: Connections) -> Column:
    """Time in states: ``client SYN_SENT 9.00 µs, ESTABLISHED 1.20 s; server SYN_RECV 8.00 µs``."""
    counts = rows.lived["count"]
    parts: list[Column] = []
    if not counts.any():
        return np.zeros((len(rows), 0), np.uint8)
    for side, name in enumerate(("client ", "server ")):
        count, places = counts[:, side], slice(side * STATES, side * STATES + int(counts[:, side].max()))
        there = np.arange(places.stop - places.start) < count[:, None]
        which, spent = rows.lived["which"][:, places][there], rows.lived["spent"][:, places][there]
        comma = cells.where(np.nonzero(there)[1] > 0, cells.always(", ", len(which)))
        items = cells.joined(comma, _LABELS[which], cells.durations(spent))
        spread = np.zeros((*there.shape, items.shape[1]), np.uint8)
        spread[there] = items
        if side:
            both: NDArray[np.bool_] = (counts[:, 0] > 0) & (counts[:, 1] > 0)
            parts.append(cells.where(both, cells.always("; ", len(rows))))
        parts += [cells.where(count > 0, cells.always(name, len(rows))), spread.reshape(len(rows), -1)]
    return cells.joined(*parts)
