"""Looking back on a timeline: the last event that fits, within a bounded reach.

What causes are made of (tracer.causes). Everything here goes from an event towards the past by columns, a few hundred
heads at once and more and more of them the further it goes, so that what is near is found at once and what is not there
costs milliseconds, on a timeline of any length.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from tracer.events import NUMBER
from tracer.kinds import Side
from tracer.segments import ACK, FIN, RST, SYN
from tracer.states import Trigger
from tracer.timeline import Event, Timeline

REACH: Final = 20_000
"""Events looked back over at most: a cause further away is not looked for, so that a key press stays quick."""
WAIT_REACH: Final = 1 << 20
"""The same where the two may be far apart by nature: a thread may sleep, and TIME_WAIT lasts a minute."""
_CALLS: Final = {NUMBER["syscall:enter"]: True, NUMBER["syscall:exit"]: False, NUMBER["process:exit"]: True}
"""Kinds that say what a thread is in, and whether they begin it: a call, or its end (do_exit())."""
STEP: Final = NUMBER["actor:step"]
_FLAGS: Final[dict[Trigger, tuple[int, int]]] = {
    Trigger.RCV_SYN: (SYN, ACK),
    Trigger.RCV_SYN_ACK: (SYN | ACK, 0),
    Trigger.RCV_ACK_OF_SYN: (ACK, SYN | RST),
    Trigger.RCV_ACK_OF_FIN: (ACK, SYN | RST),
    Trigger.RCV_FIN: (FIN, 0),
    Trigger.RCV_FIN_AND_ACK: (FIN | ACK, 0),
    Trigger.RCV_RST: (RST, 0),
}
"""What a segment must have set, and must not, to be the trigger."""


def back(timeline: Timeline, before: int, reach: int = REACH, **columns: int) -> Iterator[Event]:
    """Events before ``before``, latest first, whose heads have these values."""
    stop, step = before, 256
    while stop > max(0, before - reach):
        start = max(0, stop - step, before - reach)
        step *= 4
        hits = np.ones(stop - start, np.bool_)
        parts = list(timeline.heads(start, stop))
        for name, value in columns.items():
            hits &= np.concatenate([part[name] for part in parts]) == value
        for place in np.flatnonzero(hits)[::-1].tolist():
            yield timeline[start + place]
        stop = start


def last(timeline: Timeline, event: Event, kind: str, reach: int = REACH, **columns: int) -> Event | None:
    """The last event of a kind before ``event`` that has these values, None if there is none within reach."""
    return next(back(timeline, event.order, reach, kind=NUMBER[kind], **columns), None)


def open_call(timeline: Timeline, event: Event) -> Event | None:
    """What the event's thread had entered and not left."""
    for earlier in back(timeline, event.order, WAIT_REACH, tid=event.tid):
        if earlier.number in _CALLS and earlier.ctx == 0:
            return earlier if _CALLS[earlier.number] else None
    return None


def step_of(timeline: Timeline, event: Event) -> Event | None:
    """The step of the script that the event's process is in."""
    steps = timeline.indices("kind", STEP)
    for order in steps[: np.searchsorted(steps, event.order)][:-65:-1].tolist():
        if timeline[order].pid == event.pid:
            return timeline[order]
    return None


def room(packet: Event) -> int:
    """What a segment takes of the sequence space (RFC 9293 section 3.4): its bytes, and one each for SYN and FIN."""
    flags = packet["flags"]
    return int(packet["length"]) + bool(flags & SYN) + bool(flags & FIN)


def first_acknowledged(timeline: Timeline, event: Event, kind: str) -> Event | None:
    """The segment that this one is the first to acknowledge; None if it acknowledges nothing new."""
    for other in back(timeline, event.order, kind=NUMBER[kind], conn=event.conn):
        if other.side == event.side:
            if other["flags"] & ACK and other["ack"] == event["ack"]:
                return None
        elif (other["seq"] + room(other) - event["ack"]) & 0xFFFF_FFFF == 0 and room(other):
            return other
    return None


def last_acknowledged(timeline: Timeline, event: Event) -> Event | None:
    """The last segment that its side had received before, if that is what the event acknowledges."""
    for packet in back(timeline, event.order, kind=NUMBER["packet:received"], conn=event.conn):
        if packet.side != event.side and room(packet):
            return packet if (packet["seq"] + room(packet) - event["ack"]) & 0xFFFF_FFFF == 0 else None
    return None


def sent_before(timeline: Timeline, event: Event) -> Event | None:
    """The same segment when it was sent the last time; far back only where the analysis says that it was sent again.

    By columns: in a transfer there are as many others of the connection as fit into the reach.
    """
    own = timeline.indices("conn", event.conn)
    reach = WAIT_REACH if event["analysis"] else REACH
    low, stop = np.searchsorted(own, (event.order - reach, event.order)).tolist()
    step = 256
    while stop > low:
        start, step = max(low, stop - step), step * 4
        near = own[start:stop]
        near = near[(timeline.at("kind", near) == event.number) & (timeline.at("side", near) == event.side)]
        if len(near):
            rows = timeline.at("row", near)
            numbers = timeline.field(event.name, "seq", int(rows[0]), int(rows[-1]) + 1 - int(rows[0]))
            same = near[numbers[rows - rows[0]] == event["seq"]]
            found = next((before for order in same[::-1].tolist() if room(before := timeline[order])), None)
            if found is not None:
                return found
        stop = start
    return None


def fits(packet: Event, trigger: Trigger) -> bool:
    """Has the segment the control bits of that trigger?"""
    if trigger not in _FLAGS:
        return False
    needed, forbidden = _FLAGS[trigger]
    return packet["flags"] & needed == needed and not packet["flags"] & forbidden


def segment_for(timeline: Timeline, event: Event, triggers: list[Trigger]) -> Event | None:
    """The last segment from the other side that could have been one of the triggers."""
    other = Side.SERVER if event.side == Side.CLIENT else Side.CLIENT
    for kind in ("packet:received", "packet:captured"):
        for packet in back(timeline, event.order, kind=NUMBER[kind], conn=event.conn, side=other):
            if any(fits(packet, trigger) for trigger in triggers):
                return packet
    return None
