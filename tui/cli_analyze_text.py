"""What `synfin analyze` prints for people: Wireshark's columns, and Info as Wireshark writes it.

Sequence numbers are relative to the first one seen of each direction, which is 0 where that was the SYN and 1 where
the capture began later, as in Wireshark. States carry the mark of inferred facts.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import repeat
from typing import Any, Final

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
from tracer.segments import ACK, AE, CWR, ECE, FIN, PSH, RST, SYN, URG
from tracer.states import State, Trigger
from tracer.words import bits, duration, endpoint, label

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
        return [
            self._line(head, option, result) for head, option, result in zip(heads, options, results, strict=True)
        ]

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
        self._before: int | None = None

    def of(self, rows: Rows) -> Iterator[Sequence[str]]:
        """The cells of each row, under HEADINGS."""
        if isinstance(rows, Packets):
            return self._packets(rows)
        if isinstance(rows, Connections):
            return self._connections(rows)
        assert isinstance(rows, Changes)
        return self._changes(rows)

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

    def _connections(self, rows: Connections) -> Iterator[Sequence[str]]:
        (clients, cports), (servers, sports) = rows.point(0), rows.point(1)
        ends = zip(clients.tolist(), cports.tolist(), servers.tolist(), sports.tolist(), strict=True)
        names = (
            "stream", "duration", "client_packets", "server_packets", "client_bytes", "server_bytes", "rtt",
            "completeness", "retransmissions", "lost",
        )  # fmt: skip
        numbers = zip(*(rows[name].tolist() for name in names), strict=True)
        inferred = bool(rows.states.any())
        spent_by = zip(rows.times(0), rows.times(1), strict=True) if inferred else repeat(({}, {}), len(rows))
        words = zip(rows["conn_state"], rows["history"], rows.states.tolist(), spent_by, strict=True)
        times = rows.rows["first_time"].tolist()
        for time, (client, cport, server, sport), numbers_of, words_of in zip(times, ends, numbers, words, strict=True):
            stream, lasted, sent, received, out, back, rtt, complete, again, lost = numbers_of
            conn_state, history, (mine, theirs), spent = words_of
            yield (
                str(stream), self._time(time, rows.start), _seconds(lasted), f"{_host(*client)}{cport or '*'}",
                f"{_host(*server)}{sport or '*'}", str(sent), str(received), str(out), str(back),
                duration(rtt) if rtt >= 0 else "", conn_state, history, str(complete), str(again), str(lost),
                _state(mine), _state(theirs), _lives(*spent),
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


def _state(state: int) -> str:
    return f"{label(state)}{MARK}" if state else ""


def _lives(client: dict[str, int], server: dict[str, int]) -> str:
    if not client and not server:
        return ""
    found = []
    for side, spent in (("client", client), ("server", server)):
        if spent:
            found.append(side + " " + ", ".join(f"{label(State[name])} {duration(ns)}" for name, ns in spent.items()))
    return "; ".join(found)
