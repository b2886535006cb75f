"""What a timer's coming off its wheel meant.

A request sock or TIME_WAIT object has a timer from birth to end, and the kernel takes a timer off in four situations:
it is deleted (the object ends), it is set anew (`mod_timer`: off, then on), it fires (off, then `expire`), and after a
firing it may be set again (a SYN-ACK was repeated) or not (the request was given up). One notice does not tell which;
the next notice about the same object, microseconds later, does. So the rows of the object ring are read in pairs:

    first              next, same object     meaning
    cancel             expire                it fired: the cancel is no event
    cancel             start                 set anew: timewait:rearmed; of a request no event
    cancel             nothing               request:gone, timewait:cancelled
    request's expire   start                 set again: no event
    request's expire   nothing               given up: a request:gone follows it

A row that still may have a successor holds up all younger ones, a millisecond at most; one of a request that fired
ten, for between firing and being set again lies the sending of a SYN-ACK (reqsk_timer_handler()), in which a
virtual machine's processor may be taken away for a while.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tracer.events import NUMBER, RING_HEAD, RING_PAYLOAD

REQUEST_BORN: Final = NUMBER["request:born"]
REQUEST_TIMER: Final = NUMBER["request:timer"]
REQUEST_GONE: Final = NUMBER["request:gone"]
TIMEWAIT_BORN: Final = NUMBER["timewait:born"]
TIMEWAIT_REARMED: Final = NUMBER["timewait:rearmed"]
TIMEWAIT_CANCELLED: Final = NUMBER["timewait:cancelled"]
TIMEWAIT_EXPIRED: Final = NUMBER["timewait:expired"]
_TIMED: Final = (REQUEST_BORN, REQUEST_TIMER, REQUEST_GONE, TIMEWAIT_BORN, TIMEWAIT_CANCELLED, TIMEWAIT_EXPIRED)

PATIENCE: Final = 1_000_000
"""ns within which the second row of a pair comes (seen: under 3 us); later the address may be another's."""
FIRED_PATIENCE: Final = 10_000_000
"""The same after a request's timer has fired (seen: more than 1.2 ms on a busy host). Less than session.LAG: what other
sources bring meanwhile waits as long."""

_BODY: Final = RING_HEAD.itemsize
_REQUEST: Final = RING_PAYLOAD[REQUEST_BORN]
_TIMEWAIT: Final = RING_PAYLOAD[TIMEWAIT_BORN]


@dataclass(slots=True)
class Settled:
    """The rows as events."""

    body: NDArray[np.uint8]
    """Rows (n, bytes) that are events, kinds corrected."""
    origin: NDArray[np.int64]
    """For each, the position of the row it comes from."""
    open_since: int | None
    """Probe time of the oldest row whose meaning is still open; None when all are clear."""


def _column(body: NDArray[np.uint8], dtype: np.dtype[np.void], name: str, at: int) -> list[int]:
    kind, offset = dtype.fields[name][:2]  # type: ignore[index]
    begin = at + offset
    found: list[int] = np.ascontiguousarray(body[:, begin : begin + kind.itemsize]).view(kind)[:, 0].tolist()
    return found


def settle(body: NDArray[np.uint8], now: int) -> Settled:
    """Read the object ring's rows in pairs. `now` is the probes' clock; rows keep their order."""
    heads = np.ascontiguousarray(body[:, :_BODY]).view(RING_HEAD)[:, 0]
    chosen = np.flatnonzero(np.isin(heads["kind"], _TIMED))
    if not len(chosen):
        return Settled(body, np.arange(len(body)), None)
    part = body[chosen]
    kinds, addrs, times = (heads[name][chosen].tolist() for name in ("kind", "addr", "time"))
    requests = heads["kind"][chosen] <= REQUEST_GONE
    ports = np.where(
        requests, _column(part, _REQUEST, "dport", _BODY), _column(part, _TIMEWAIT, "dport", _BODY)
    ).tolist()
    timeouts = _column(part, _REQUEST, "timeouts", _BODY)
    waiting: dict[tuple[int, int], int] = {}
    drop: list[int] = []
    rearmed: list[int] = []
    given_up: list[int] = []
    for i, kind in enumerate(kinds):
        who = (addrs[i], ports[i])
        before = waiting.pop(who, None)
        if before is not None and times[i] - times[before] > _patience(kinds[before]):
            if kinds[before] == REQUEST_TIMER:
                given_up.append(before)
            before = None
        if kind in (REQUEST_GONE, TIMEWAIT_CANCELLED):
            waiting[who] = i
        elif kind == REQUEST_TIMER:
            if before is not None:
                drop.append(before)
            waiting[who] = i
        elif kind == TIMEWAIT_EXPIRED:
            if before is not None:
                drop.append(before)
        elif kind == TIMEWAIT_BORN:
            if before is not None:
                drop.append(before)
                rearmed.append(i)
        elif before is not None or timeouts[i]:
            drop.append(i)
            if before is not None and kinds[before] == REQUEST_GONE:
                drop.append(before)
    open_since = None
    for i in waiting.values():
        if times[i] > now - _patience(kinds[i]):
            open_since = times[i] if open_since is None else min(open_since, times[i])
        elif kinds[i] == REQUEST_TIMER:
            given_up.append(i)
    if not (drop or rearmed or given_up):
        return Settled(body, np.arange(len(body)), open_since)
    out = body.copy()
    _set_kind(out, chosen[rearmed], TIMEWAIT_REARMED)
    keep = np.ones(len(body), np.int64)
    keep[chosen[drop]] = 0
    keep[chosen[given_up]] = 2
    rows = np.repeat(np.arange(len(body)), keep)
    out = out[rows]
    again = np.flatnonzero(np.diff(rows, prepend=-1) == 0)
    _set_kind(out, again, REQUEST_GONE)
    _one_less(out, again)
    return Settled(out, rows, open_since)


def _patience(kind: int) -> int:
    return FIRED_PATIENCE if kind == REQUEST_TIMER else PATIENCE


def _set_kind(body: NDArray[np.uint8], rows: NDArray[np.int64], kind: int) -> None:
    at = RING_HEAD.fields["kind"][1]  # type: ignore[index]
    body[rows, at : at + 2] = np.frombuffer(np.uint16(kind).tobytes(), np.uint8)


def _one_less(body: NDArray[np.uint8], rows: NDArray[np.int64]) -> None:
    """A given-up request has left the SYN queue: the length was read before that."""
    at = _BODY + _REQUEST.fields["qlen"][1]  # type: ignore[index]
    lengths = np.ascontiguousarray(body[rows, at : at + 4]).view(np.int32)
    body[rows, at : at + 4] = (lengths - 1).view(np.uint8)
