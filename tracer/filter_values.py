"""What stands behind the colon of a filter: numbers, spans of time, networks, states, flags, names, text.

A value is read once, when the filter is compiled, into a small object that can judge (``filter_judges``).
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Final, NamedTuple

from tracer.filter_judges import Bits, Networks, OneOf, Spans, Texts, Value, like
from tracer.kinds import KINDS, Certainty, Evidence, Lane, Side, Source
from tracer.replay.analysis import FINDINGS
from tracer.segments import V4_MAPPED
from tracer.states import SS_GROUPS, STATES, parse_state
from tracer.words import TCP_FLAGS

MOST: Final = 2**62
"""Numbers in filters stay below this, so that one more or one less is still a 64-bit number."""
EQUAL: Final = (":", "=", "==", "!=")
ORDER: Final = ("<", "<=", ">", ">=")


# Reading: each reader takes the operator and the items between commas, and raises ValueError with one sentence.

_NUMBER: Final = re.compile(r"(\d{1,30})(?:-(\d{1,30}))?", re.ASCII)
_AMOUNT: Final = r"(\d{1,24}(?:\.\d{1,24})?)\s*([a-zµ]*)"
_DURATION: Final = re.compile(rf"(-?){_AMOUNT}(?:-{_AMOUNT})?", re.ASCII | re.IGNORECASE)
_UNITS: Final = {
    "": 10**9, "ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "sec": 10**9, "m": 60 * 10**9,
    "min": 60 * 10**9, "h": 3600 * 10**9,
}  # fmt: skip
_SIZE: Final = re.compile(rf"{_AMOUNT}(?:-{_AMOUNT})?", re.ASCII | re.IGNORECASE)
_SIZES: Final = {
    "": 1, "b": 1, "k": 10**3, "kb": 10**3, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9,
    "ki": 2**10, "kib": 2**10, "mi": 2**20, "mib": 2**20, "gi": 2**30, "gib": 2**30,
}  # fmt: skip


def _spans(operator: str, items: list[str], read: Callable[[str], tuple[int, int]]) -> Spans:
    if operator in EQUAL:
        return Spans(tuple(read(item) for item in items))
    if len(items) != 1:
        raise ValueError(f"{operator} wants one value, not a list")
    low, high = read(items[0])
    if low != high:
        raise ValueError(f"{operator} wants one value, not a range")
    return Spans(({"<": (-MOST, low - 1), "<=": (-MOST, low), ">": (low + 1, MOST), ">=": (low, MOST)}[operator],))


def _bounded(low: int, high: int, item: str) -> tuple[int, int]:
    if max(low, high) >= MOST or low < -MOST:
        raise ValueError(f"{item!r} is too large")
    if low > high:
        raise ValueError(f"the range {item!r} runs backwards")
    return low, high


def _number(item: str) -> tuple[int, int]:
    found = _NUMBER.fullmatch(item)
    if not found:
        raise ValueError(f"{item!r} is not a number, nor a range as 80-90")
    return _bounded(int(found[1]), int(found[2] or found[1]), item)


def _whole(amount: str, unit: str, units: dict[str, int], kind: str) -> int:
    if unit.lower() not in units:
        raise ValueError(f"{unit!r} is no unit of {kind}; there are: {', '.join(name for name in units if name)}")
    return int(Decimal(amount) * units[unit.lower()])


def _duration(item: str) -> tuple[int, int]:
    found = _DURATION.fullmatch(item)
    if not found:
        raise ValueError(f"{item!r} is not a time; write 10ms, 1.5s or 200us")
    low = _whole(found[2], found[3], _UNITS, "time")
    if found[1]:
        if found[4]:
            raise ValueError(f"{item!r}: a range begins with a time that is not negative")
        return _bounded(-low, -low, item)
    return _bounded(low, _whole(found[4], found[5], _UNITS, "time") if found[4] else low, item)


def _size(item: str) -> tuple[int, int]:
    found = _SIZE.fullmatch(item)
    if not found:
        raise ValueError(f"{item!r} is not a number of bytes; write 1460, 64k (64,000) or 64Ki (65,536)")
    low = _whole(found[1], found[2], _SIZES, "size")
    return _bounded(low, _whole(found[3], found[4], _SIZES, "size") if found[3] else low, item)


def numbers(operator: str, items: list[str]) -> Value:
    """80, 80,443, 8000-8100, or a comparison."""
    return _spans(operator, items, _number)


def durations(operator: str, items: list[str]) -> Value:
    """Times with a unit; bare numbers are seconds."""
    return _spans(operator, items, _duration)


def sizes(operator: str, items: list[str]) -> Value:
    """Bytes."""
    return _spans(operator, items, _size)


def addresses(operator: str, items: list[str]) -> Value:
    """10.0.0.1, 10.0.0.0/8, fe80::/10."""
    return Networks(tuple(_network(item) for item in items))


def _network(item: str) -> tuple[int, int, int, int, bool]:
    try:
        network = ipaddress.ip_network(item.strip("[]"), strict=False)
    except ValueError:
        raise ValueError(f"{item!r} is not an address or a network; write 10.0.0.1, 10.0.0.0/8 or fe80::/10") from None
    prefix, base = network.prefixlen, int(network.network_address)
    if network.version == 4:
        prefix, base = prefix + 96, base | V4_MAPPED
    mask = (1 << 128) - (1 << (128 - prefix))
    half = (1 << 64) - 1
    return mask >> 64, base >> 64, mask & half, base & half, prefix >= 96


def states(operator: str, items: list[str]) -> Value:
    """States in any spelling, and the groups of ss(8)."""
    return OneOf(frozenset(state for item in items for state in _states(item)))


def _states(item: str) -> Iterable[int]:
    if item.lower() in SS_GROUPS:
        return SS_GROUPS[item.lower()]
    same = [row.state for row in STATES.values() if row.ss == item.lower()]  # syn-recv: request socks and sockets
    try:
        return same or [parse_state(item)]
    except ValueError:
        known = [row.ss for row in STATES.values()] + list(SS_GROUPS)
        raise ValueError(f"no TCP state is called {item!r}{near(item, known)}") from None


def flags(operator: str, items: list[str]) -> Value:
    """Control bits, all of which are set."""
    bits = {name: bit for bit, name in TCP_FLAGS.items()}
    if [item.lower() for item in items] == ["none"]:
        return Bits(0, every=True, nothing=True)
    return Bits(sum({_pick(item, bits, "TCP flag") for item in items}), every=True)


def analyses(operator: str, items: list[str]) -> Value:
    """Wireshark's findings, any of them."""
    names = {row.field: row.bit for row in FINDINGS} | {"dup_ack": _bit("duplicate_ack"), "any": sum(
        row.bit for row in FINDINGS)}  # fmt: skip
    wanted = 0
    for item in items:
        wanted |= _pick(item.lower().removeprefix("tcp.analysis."), names, "finding")
    return Bits(wanted, every=False)


def _bit(field: str) -> int:
    return next(row.bit for row in FINDINGS if row.field == field)


SEVERITIES: Final = ("chat", "note", "warn", "error")
"""Of Wireshark's expert system, mildest first."""
_ALARM: Final = {"warn": 1 << 30, "error": 1 << 31}
"""Bits beside the findings', for events that are no packet: something was lost, something contradicts the rules."""
LOST, ANOMALY = _ALARM["warn"], _ALARM["error"]


def severities(operator: str, items: list[str]) -> Value:
    """Findings of some severity, or at least (at most) that severe."""
    names = {name: number for number, name in enumerate(SEVERITIES)} | {"warning": 2}
    wanted = [_pick(item, names, "severity") for item in items]
    if operator not in EQUAL:
        low, high = _spans(operator, [str(number) for number in wanted], _number).spans[0]
        wanted = [number for number in range(len(SEVERITIES)) if low <= number <= high]
    chosen = {SEVERITIES[number] for number in wanted}
    mask = sum(row.bit for row in FINDINGS if row.severity in chosen)
    return Bits(mask | sum(bit for name, bit in _ALARM.items() if name in chosen), every=False)


def _names(what: str, table: dict[str, int]) -> Callable[[str, list[str]], Value]:
    def read(operator: str, items: list[str]) -> Value:
        return OneOf(frozenset(_pick(item, table, what) for item in items))

    return read


def events(operator: str, items: list[str]) -> Value:
    """Kinds of events: a name as socket:state, a category as socket, or a pattern as timewait:*."""
    found: set[int] = set()
    for item in items:
        parts = tuple(item.lower().split("*"))
        kinds = {
            number
            for number, kind in enumerate(KINDS, 1)
            if like(kind.name, parts, inside=False) or kind.name.split(":")[0] == item.lower()
        }
        if not kinds:
            known = [kind.name for kind in KINDS] + [kind.name.split(":")[0] for kind in KINDS]
            raise ValueError(f"no kind of event is called {item!r}{near(item, known)}")
        found |= kinds
    return OneOf(frozenset(found))


def names(operator: str, items: list[str]) -> Value:
    """Whole names, any case; * stands for anything."""
    return Texts(tuple(tuple(item.lower().split("*")) for item in items), inside=False)


def texts(operator: str, items: list[str]) -> Value:
    """Text that contains this, any case; * stands for anything."""
    return Texts(tuple(tuple(item.lower().split("*")) for item in items), inside=True)


def _pick(item: str, table: dict[str, int], what: str) -> int:
    plain = item.lower().replace("-", "_")
    for name, number in table.items():
        if name.lower().replace("-", "_") == plain:
            return number
    raise ValueError(f"no {what} is called {item!r}{near(item, table)}")


def near(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about a word that is not known: the nearest ones, or all there are."""
    lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower()[:40], lower, n=1, cutoff=0.6)
    return f"; did you mean {lower[close[0]]}?" if close else f"; there are: {', '.join(lower.values())}"


def _enum(members: Iterable[Any]) -> dict[str, int]:
    return {member.name.lower(): int(member) for member in members}


class Type(NamedTuple):
    """One type of value: how it is read and what may stand before it."""

    read: Callable[[str, list[str]], Value]
    ordered: bool
    """< <= > >= make sense."""
    example: str
    words: tuple[str, ...]
    """All there is to choose from, for completion; empty where anything may stand."""


def _choice(what: str, members: Iterable[Any]) -> Type:
    table = _enum(members)
    return Type(_names(what, table), False, " ".join(table), tuple(table))


TYPES: Final[dict[str, Type]] = {
    "number": Type(numbers, True, "80, 80,443, 8000-8100", ()),
    "time": Type(durations, True, "10ms, 1.5s, 200us; without a unit seconds", ()),
    "bytes": Type(sizes, True, "1460, 64k (64,000), 64Ki (65,536)", ()),
    "address": Type(addresses, False, "10.0.0.1, 10.0.0.0/8, fe80::/10", ()),
    "state": Type(
        states, False, "fin-wait-1, FIN_WAIT1; groups of ss: " + " ".join(SS_GROUPS),
        (*dict.fromkeys(row.ss for row in STATES.values()), *SS_GROUPS),
    ),
    "flags": Type(
        flags, False, "syn,ack: both are set; none", (*(name.lower() for name in TCP_FLAGS.values()), "none")
    ),
    "finding": Type(
        analyses, False, "Wireshark's tcp.analysis names: retransmission, dup_ack; any",
        (*(row.field for row in FINDINGS), "any"),
    ),
    "severity": Type(severities, True, " ".join(SEVERITIES), SEVERITIES),
    "event": Type(
        events, False, "socket:state, socket, timewait:*",
        (*dict.fromkeys(kind.name.split(":")[0] for kind in KINDS), *(kind.name for kind in KINDS)),
    ),
    "lane": _choice("lane", Lane),
    "side": _choice("side", [Side.CLIENT, Side.SERVER]),
    "evidence": _choice("evidence", Evidence),
    "source": _choice("source", Source),
    "certainty": _choice("certainty", [one for one in Certainty if one]),
    "name": Type(names, False, "nginx, ng*; any case", ()),
    "text": Type(texts, False, '10.0.0.1, "two words"; any case', ()),
}  # fmt: skip
"""Every type of value."""
