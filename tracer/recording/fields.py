"""An event as ``NAME=value`` fields, and back.

The names are those of the table of kinds with ``SYNFIN_`` before them; a field that is zero is left out and read back
as zero. Numbers are decimal, kernel addresses hexadecimal, IPv4 addresses with dots, others as 32 hexadecimal digits,
header bytes hexadecimal, states by name, lists joined by commas. What follows from a packet's header bytes is not
written: it is worked out again, by the same code that worked it out live.

The Journal Export Format (systemd's docs/JOURNAL_EXPORT_FORMATS.md) writes a value that holds a newline or another
control character as its name, a newline, its length in 8 bytes little-endian, the bytes, a newline.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from tracer.batch import TEXT_FIELDS
from tracer.events import KIND, NUMBER, PAYLOAD
from tracer.kinds import HEAD_FIELDS, KINDS, TYPES, Evidence, Field, Lane, Source
from tracer.segments import V4_MAPPED
from tracer.states import State
from tracer.timeline import Event

PREFIX: Final = "SYNFIN_"
HEAD: Final = ("ctx", "addr", "cookie", "pid", "tid", "fd", "cpu", "probe_time")
"""Head fields that are written under their own names; time, kind, source and evidence are written in any case."""
_HEX_HEAD: Final = frozenset(f.name for f in HEAD_FIELDS if f.type == "ptr")
_NAMES: Final = {name: PREFIX + name.upper() for name in (*HEAD, *(f.name for kind in KINDS for f in kind.fields))}
_COUNTED: Final = "frame"
"""Derived, but from no header: a packet's number when it was seen live, which others that have gone by decide."""
WRITTEN: Final[dict[int, tuple[Field, ...]]] = {
    NUMBER[kind.name]: tuple(
        f for f in kind.fields if not f.derived or kind.lane != Lane.WIRE or f.name == _COUNTED
    )
    for kind in KINDS
}  # fmt: skip
"""The fields of each kind that are written, by its number."""
_BY_KEY: Final[dict[int, dict[str, Field]]] = {
    number: {_NAMES[f.name]: f for f in fields} for number, fields in WRITTEN.items()
}
_HEAD_BY_KEY: Final = {_NAMES[name]: name for name in HEAD}


class BadFields(ValueError):
    """The fields are not those of an event; str() says which."""


def to_fields(event: Event, *, without: frozenset[str] = frozenset()) -> Iterator[tuple[str, str]]:
    """The event's fields as (name, text), the kind first; zeros and the fields named in ``without`` are left out."""
    yield PREFIX + "KIND", event.name
    yield PREFIX + "SOURCE", event.source.name.lower()
    yield PREFIX + "EVIDENCE", event.evidence.name.lower()
    yield PREFIX + "TIME", str(event.time)
    for name in HEAD:
        value = getattr(event, name)
        if value != (-1 if name == "fd" else 0):
            yield _NAMES[name], hex(value) if name in _HEX_HEAD else str(value)
    for field in WRITTEN[event.number]:
        if field.name not in without:
            text = _text(field, event[field.name])
            if text:
                yield _NAMES[field.name], text


def _text(field: Field, value: Any) -> str:
    shown = TYPES[field.type].shown
    if shown == "text":
        return str(value)
    if shown == "ip":
        if value[0] == 0 and value[1] >> 32 == V4_MAPPED >> 32:
            return ".".join(map(str, value[1].to_bytes(8)[4:]))
        return f"{value[0]:016x}{value[1]:016x}" if any(value) else ""
    if shown == "bytes":
        return str(value.hex()) if any(value) else ""
    if isinstance(value, list):
        return ",".join(map(str, value)) if any(value) else ""
    if not value:
        return ""
    if shown == "state":
        return State(value).name if value in State._value2member_map_ else str(value)
    return hex(value) if shown == "hex" else str(value)


def from_fields(fields: dict[str, str]) -> tuple[str, int, dict[str, Any], dict[str, Any]]:
    """Kind, time, head and own fields of the event that ``fields`` spell, as ``BatchBuilder.add`` takes them.

    Names that are not ours, and ours that this version does not know, are passed over (a later version may have added
    them). Raises BadFields for an unknown kind or a value that does not fit its field.
    """
    name = fields.get(PREFIX + "KIND", "")
    if name not in KIND:
        raise BadFields(f"unknown kind of event {name!r}")
    number = NUMBER[name]
    known = _BY_KEY[number]
    try:
        head: dict[str, Any] = {
            "source": Source[fields.get(PREFIX + "SOURCE", "file").upper()],
            "evidence": Evidence[fields.get(PREFIX + "EVIDENCE", "captured").upper()],
        }
        own: dict[str, Any] = {}
        for key, text in fields.items():
            if key in _HEAD_BY_KEY:
                head[_HEAD_BY_KEY[key]] = int(text, 0)
            elif key in known:
                own[known[key].name] = _value(known[key], text)
        time = int(fields[PREFIX + "TIME"])
        row = np.zeros((), PAYLOAD[number])
        texts = TEXT_FIELDS.get(number, ())
        for key, value in own.items():
            if key not in texts:
                row[key] = value  # a number too large for its field says so here
    except (KeyError, ValueError, OverflowError) as failure:
        raise BadFields(f"{name}: {failure}") from None
    return name, time, head, own


def _value(field: Field, text: str) -> Any:
    kind = TYPES[field.type]
    if kind.shown == "text":
        return text.encode() if kind.numpy.startswith("S") else text
    if kind.shown == "ip":
        if "." in text:
            return 0, V4_MAPPED | int.from_bytes(bytes(map(int, text.split("."))))
        return int(text[:16], 16), int(text[16:], 16)
    if kind.shown == "bytes":
        raw = bytes.fromhex(text)
        return np.frombuffer(raw.ljust(kind.shape[0], b"\0")[: kind.shape[0]], np.uint8)
    if kind.shape:
        return [int(part) for part in text.split(",")]
    if kind.shown == "state" and not text.isdigit():
        return State[text]
    return int(text, 0)


def to_journal(fields: Iterator[tuple[str, str]]) -> bytes:
    """The fields as one entry of the Journal Export Format."""
    parts: list[bytes] = []
    for name, text in fields:
        raw = text.encode("utf-8", "surrogateescape")
        if text.isprintable():
            parts.append(name.encode() + b"=" + raw + b"\n")
        else:
            parts.append(name.encode() + b"\n" + struct.pack("<Q", len(raw)) + raw + b"\n")
    return b"".join(parts)


def from_journal(entry: bytes) -> dict[str, str]:
    """The fields of one entry; what cannot be read as a field is passed over to the end of the entry."""
    fields: dict[str, str] = {}
    at = 0
    while at < len(entry):
        end = entry.find(b"\n", at)
        if end < 0:
            end = len(entry)
        line = entry[at:end]
        at = end + 1
        if not line.strip(b"\0"):
            continue  # an empty line ends an entry; zeros pad the block
        name, equals, value = line.partition(b"=")
        if not equals:
            if at + 8 > len(entry):
                break
            (length,) = struct.unpack_from("<Q", entry, at)
            value = entry[at + 8 : at + 8 + length]
            at += 8 + length + 1
        fields[name.decode("ascii", "replace")] = value.decode("utf-8", "surrogateescape")
    return fields
