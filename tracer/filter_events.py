"""Events of a timeline under a display filter.

Events are judged one by one, since each kind has fields of its own: the same key looks at a packet's sender, at a
socket's own end, at a request sock's. What an event does not have is None, and no condition holds on it. Who an event's
process is stands in other events; whoever follows the timeline lends a function that knows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tracer.events import PACKETS
from tracer.filter import Filter, compile_filter
from tracer.filter_values import ANOMALY, LOST
from tracer.segments import ACK
from tracer.timeline import Event
from tracer.words import clean, message


def own_name(event: Event) -> str:
    """The process or actor that the event itself names, "" where it names none."""
    return clean(event.get("comm") or event.get("actor") or "")


@dataclass
class EventRow:
    """An event as a row of the table "events"."""

    event: Event
    start: int = 0
    """ns: what ``time`` counts from."""
    process: Callable[[Event], str] = own_name

    def __getitem__(self, name: str) -> Any:
        """The value of a column, None where the event has none."""
        found = _COLUMNS.get(name)
        if found is not None:
            return found(self)
        return self.event.get(name)


def _packet_only(name: str) -> Callable[[EventRow], Any]:
    return lambda row: row.event[name] if row.event.number in PACKETS else None


def _findings(row: EventRow) -> int:
    if row.event.name == "trace:lost":
        return LOST
    if row.event.name == "trace:anomaly":
        return ANOMALY
    return int(row.event.get("analysis", 0))


def _state(row: EventRow) -> int | None:
    for name in ("new", "state", "substate"):
        if name in row.event:
            return int(row.event[name])
    return None


def _ack(row: EventRow) -> int | None:
    event = row.event
    return int(event["ack"]) if event.number in PACKETS and event["flags"] & ACK else None


def _rtt(row: EventRow) -> int | None:
    srtt = row.event.get("srtt", 0)
    return int(srtt) * 1000 if srtt else None


_COLUMNS: Final[dict[str, Callable[[EventRow], Any]]] = {
    "src": lambda row: row.event.get("saddr"),
    "dst": lambda row: row.event.get("daddr"),
    **{name: _packet_only(name) for name in ("flags", "length", "frame", "seq", "window", "ttl")},
    "ack": _ack,
    "findings": _findings,
    "state": _state,
    "rtt": _rtt,
    "kind": lambda row: row.event.number,
    "lane": lambda row: int(row.event.kind.lane),
    "evidence": lambda row: int(row.event.evidence),
    "source": lambda row: int(row.event.source),
    "side": lambda row: int(row.event.side),
    **{name: lambda row, n=name: getattr(row.event, n) for name in ("conn", "sock", "pid", "tid", "fd", "cpu")},  # type: ignore[misc]
    "process": lambda row: row.process(row.event),
    "call": lambda row: row.event.call or None,
    "time": lambda row: row.event.time - row.start,
    "text": lambda row: message(row.event),
}
"""Columns that are not simply a field of the same name."""


def event_predicate(
    text: str, start: int = 0, process: Callable[[Event], str] = own_name
) -> Callable[[Event], bool]:  # fmt: skip
    """A function that says whether an event passes the filter ``text``.

    ``start`` (ns since the Unix epoch) is what ``time`` counts from, usually the first event's; ``process`` says whose
    event it is. Raises FilterError where the text is not a filter.
    """
    compiled: Filter = compile_filter(text, "events")
    return lambda event: compiled.matches(EventRow(event, start, process))
