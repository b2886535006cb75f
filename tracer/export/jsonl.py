"""Events as JSON lines: one object an event, names as in the table of kinds.

Addresses are text, states go by their kernel names, flags and masks are text as well as calls; everything else is a
number. Fields that are zero are there too: a reader should not have to know what was left out.
"""

from __future__ import annotations

import json
from typing import Any, Final

from tracer.kinds import TYPES
from tracer.states import as_state
from tracer.timeline import Event, address
from tracer.words import epoll, flags

_PER_ENTRY: Final = {"epoll:wait": ("data", "events")}
"""Arrays of which only the first ``n`` entries are filled."""


def record(event: Event) -> dict[str, Any]:
    """The event as plain data, ready for JSON."""
    head: dict[str, Any] = {
        "order": event.order,
        "time": event.time,
        "event": event.name,
        "evidence": event.evidence.name.lower(),
        "source": event.source.name.lower(),
        "lane": event.kind.lane.name.lower(),
        "side": event.side.name.lower(),
        "conn": event.conn,
        "sock": event.sock,
        "pid": event.pid,
        "tid": event.tid,
        "fd": event.fd,
        "cpu": event.cpu,
        "cookie": event.cookie,
    }
    return head | {field.name: _value(event, field.name, field.type) for field in event.kind.fields}


def _value(event: Event, name: str, kind: str) -> Any:
    value, shown = event[name], TYPES[kind].shown
    if shown == "ip":
        return address(*value)
    if shown == "state":
        return as_state(value).name if as_state(value) or not value else value
    if shown == "flags":
        return flags(value)
    if name in _PER_ENTRY.get(event.name, ()):
        value = value[: max(event["n"], 0)]
    if shown == "epoll":
        return [epoll(one) for one in value] if isinstance(value, list) else epoll(value)
    if shown == "call":
        return event.call
    if shown == "bytes":
        return value[: event.get("caplen", len(value))].hex()
    return value


def line(event: Event) -> str:
    """The event as one line of JSON, ASCII only: no terminal or log is surprised by it."""
    return json.dumps(record(event))
