"""Causes: which event led to this one.

Three things tell. *Context*: a probe stamps every record with the packet in whose processing it was made (``ctx``), so
what the stack did with a packet was caused by its arrival, beyond doubt, and what happened in a thread's own time
inside a system call was caused by that call. *Pairing*: a packet received is one that was sent; a thread runs because
it was woken; a call returns because its thread runs again. *The rules of TCP*: a step of the table that only a segment
can trigger was caused by the last such segment, even if the kernel took it from the backlog later, in the time of the
thread that held the socket (release_sock()).

Links are worked out on demand, for the event that somebody looks at, in a bounded neighbourhood. When the evidence does
not say what the cause was, there is no link.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import numpy as np

from tracer.events import NUMBER
from tracer.kinds import Lane, Side
from tracer.segments import ACK, FIN, RST, SYN
from tracer.states import State, Trigger, between
from tracer.timeline import Event, Timeline

REACH: Final = 20_000
"""Events looked back over at most: a cause further away is not looked for, so that a key press stays quick."""
_WAIT_REACH: Final = 1 << 20
"""The same where the two may be far apart by nature: a thread may sleep, and TIME_WAIT lasts a minute."""


class Link(NamedTuple):
    """One event led to another."""

    order: int
    """Of the event that led to it (of the effect, in ``effects``)."""
    rule: str
    """Short name of how we know: context, call, pair, wake, return, segment, timer, step."""
    words: str
    """A sentence."""


_CTX_WORDS: Final = "it happened while the kernel processed that packet (same processor, same softirq)"


def cause(timeline: Timeline, order: int) -> Link | None:
    """What led to event ``order``; None when the evidence does not say."""
    event = timeline[order]
    rule = _RULES.get(event.name)
    return rule(timeline, event) if rule else _by_context(timeline, event) or _by_call(timeline, event)


def chain(timeline: Timeline, order: int, most: int = 64) -> list[Link]:
    """The cause, its cause, and so on back to an event without one; nearest first."""
    found: list[Link] = []
    while len(found) < most and (link := cause(timeline, order)) is not None:
        found.append(link)
        order = link.order
    return found


def effects(timeline: Timeline, order: int, reach: int = 512) -> list[Link]:
    """The events among the next ``reach`` whose cause is event ``order``, in order."""
    found = []
    for later in range(order + 1, min(order + 1 + reach, len(timeline))):
        link = cause(timeline, later)
        if link is not None and link.order == order:
            found.append(Link(later, link.rule, link.words))
    return found


# Looking back


def _back(timeline: Timeline, before: int, reach: int = REACH, **columns: int) -> Iterator[Event]:
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


def _last(timeline: Timeline, event: Event, kind: str, reach: int = REACH, **columns: int) -> Event | None:
    return next(_back(timeline, event.order, reach, kind=NUMBER[kind], **columns), None)


def _by_context(timeline: Timeline, event: Event) -> Link | None:
    if not event.ctx:
        return None
    packet = _last(timeline, event, "packet:received", cpu=event.cpu, probe_time=event.ctx)
    return Link(packet.order, "context", _CTX_WORDS) if packet else None


def _by_call(timeline: Timeline, event: Event) -> Link | None:
    """In task context: the system call that the thread is in."""
    if event.ctx or not event.tid:
        return None
    call = _open_call(timeline, event)
    if call is None:
        return None
    return Link(call.order, "call", f"it happened inside {call.call}(), in the calling thread's own time")


def _open_call(timeline: Timeline, event: Event) -> Event | None:
    """The call that the event's thread had entered and not left."""
    number = {NUMBER["syscall:enter"]: True, NUMBER["syscall:exit"]: False}
    for earlier in _back(timeline, event.order, _WAIT_REACH, tid=event.tid):
        if earlier.number in number and earlier.ctx == 0:
            return earlier if number[earlier.number] else None
    return None


# Rules by kind


def _received(timeline: Timeline, event: Event) -> Link | None:
    for sent in _back(timeline, event.order, kind=NUMBER["packet:sent"], conn=event.conn):
        if sent.side == event.side and all(sent[name] == event[name] for name in ("seq", "ack", "flags", "length")):
            return Link(sent.order, "pair", "the same segment, when it left its sender")
    return None


def _state(timeline: Timeline, event: Event) -> Link | None:
    steps = between(State(event["old"]), State(event["new"]))
    context = _by_context(timeline, event)
    if context is not None:
        return context
    wanted = [row.trigger for row in steps if row.trigger.by_segment]
    by_call = _by_call(timeline, event)
    segment = _segment_for(timeline, event, wanted) if wanted else None
    if segment is not None and (by_call is None or segment.order > by_call.order):
        # It came while the thread held the socket, and release_sock() took it from the backlog in the thread's time.
        words = f"the rules of TCP: a segment leads from {State(event['old']).name} there, and this was it"
        return Link(segment.order, "segment", words)
    if wanted and not any(row.trigger.by_call or row.trigger == Trigger.HANDOVER for row in steps):
        return None
    return by_call


def _sent(timeline: Timeline, event: Event) -> Link | None:
    """An answer given from the backlog follows from the segment that moved the state just before it."""
    by_call = _by_call(timeline, event)
    if by_call is not None and event.sock:
        for before in _back(timeline, event.order, 8, sock=event.sock, tid=event.tid):
            link = _state(timeline, before) if before.name == "socket:state" else None
            if link is not None and link.rule == "segment":
                return Link(link.order, "segment", "the answer to that segment, taken from the backlog")
            break
    return _by_context(timeline, event) or by_call


_FLAGS: Final[dict[Trigger, tuple[int, int]]] = {
    Trigger.RCV_SYN: (SYN, ACK),
    Trigger.RCV_SYN_ACK: (SYN | ACK, 0),
    Trigger.RCV_ACK_OF_SYN: (ACK, SYN),
    Trigger.RCV_ACK_OF_FIN: (ACK, 0),
    Trigger.RCV_FIN: (FIN, 0),
    Trigger.RCV_FIN_AND_ACK: (FIN | ACK, 0),
    Trigger.RCV_RST: (RST, 0),
}
"""What a segment must have set, and must not, to be the trigger."""


def _segment_for(timeline: Timeline, event: Event, triggers: list[Trigger]) -> Event | None:
    """The last segment from the other side that could have been one of the triggers."""
    other = Side.SERVER if event.side == Side.CLIENT else Side.CLIENT
    for kind in ("packet:received", "packet:captured"):
        for packet in _back(timeline, event.order, kind=NUMBER[kind], conn=event.conn, side=other):
            for trigger in triggers:
                needed, forbidden = _FLAGS[trigger]
                if packet["flags"] & needed == needed and not packet["flags"] & forbidden:
                    return packet
    return None


def _woken(timeline: Timeline, event: Event) -> Link | None:
    by = event["by"]
    if by:
        for notice in _back(timeline, event.order, cpu=event.cpu, probe_time=by):
            return Link(notice.order, "wake", "that readiness notice woke it (same processor, the last one before)")
    context = _by_context(timeline, event)
    if context is not None:
        return context
    waker = event["other"]
    for call in _back(timeline, event.order, tid=waker):
        if call.name in ("syscall:enter", "syscall:exit"):
            if call.name == "syscall:enter":
                return Link(call.order, "wake", f"thread {waker} woke it from inside {call.call}()")
            break
    # A scenario's actor waits for its cue: the step that names the process is what it was woken for.
    for step in _back(timeline, event.order, 64, kind=NUMBER["actor:step"], pid=event.pid):
        return Link(step.order, "step", "the script gave it its cue")
    return None


def _running(timeline: Timeline, event: Event) -> Link | None:
    for earlier in _back(timeline, event.order, _WAIT_REACH, tid=event.tid):
        if earlier.name == "thread:woken":
            return Link(earlier.order, "wake", "it had been woken and now got a processor")
        if earlier.name == "thread:blocked":
            if earlier["was"] == 0:
                return Link(earlier.order, "wake", "it had been preempted and now got a processor again")
            return None
    return None


def _exit(timeline: Timeline, event: Event) -> Link | None:
    for earlier in _back(timeline, event.order, _WAIT_REACH, tid=event.tid):
        if earlier.name == "thread:running":
            came = _running(timeline, earlier)
            if came is not None and timeline[came.order].name == "thread:woken":
                return Link(earlier.order, "return", "its thread had slept in the call and runs again")
        if earlier.name == "syscall:enter" and earlier.ctx == 0:
            return Link(earlier.order, "call", "the end of that call: it did not have to wait")
    return None


def _enter(timeline: Timeline, event: Event) -> Link | None:
    """What an actor calls, it calls because of the step that it was cued for."""
    for earlier in _back(timeline, event.order, 4096, pid=event.pid):
        if earlier.name == "actor:step":
            return Link(earlier.order, "step", "the script told this actor to")
    return None


def _after_exit(timeline: Timeline, event: Event) -> Link | None:
    """Facts that a probe reads as the call returns: the return itself is what they tell about."""
    for earlier in _back(timeline, event.order, 64, tid=event.tid):
        if earlier.name in ("syscall:exit", "syscall:enter"):
            return Link(earlier.order, "call", f"it is what {earlier.call}() came back with")
    return None


def _queues(timeline: Timeline, event: Event) -> Link | None:
    return _by_context(timeline, event) or _after_exit(timeline, event)


def _ready(timeline: Timeline, event: Event) -> Link | None:
    return _by_context(timeline, event) or _by_call(timeline, event)


def _timewait(timeline: Timeline, event: Event) -> Link | None:
    context = _by_context(timeline, event)
    if context is not None and timeline[context.order]["flags"] & (FIN | ACK):
        return context
    segment = _segment_for(timeline, event, [Trigger.RCV_FIN])
    words = "the peer's FIN: both directions are closed now, and this side waits"
    return Link(segment.order, "segment", words) if segment else None


def _expired(timeline: Timeline, event: Event) -> Link | None:
    for kind in ("timewait:rearmed", "timewait:born"):
        armed = _last(timeline, event, kind, _WAIT_REACH, sock=event.sock)
        if armed is not None:
            return Link(armed.order, "timer", "the timer that was armed then")
    return None


def _cancelled(timeline: Timeline, event: Event) -> Link | None:
    return _by_context(timeline, event) or _by_call(timeline, event)


def _inferred(timeline: Timeline, event: Event) -> Link | None:
    """States worked out from packets stand right behind the packet that they were worked out from."""
    for earlier in _back(timeline, event.order, 16, conn=event.conn):
        if earlier.kind.lane == Lane.WIRE:
            return Link(earlier.order, "segment", "worked out from that segment by the rules of TCP")
    return None


def _state_rule(timeline: Timeline, event: Event) -> Link | None:
    return _inferred(timeline, event) if event.evidence.name == "INFERRED" else _state(timeline, event)


_RULES: Final[dict[str, Callable[[Timeline, Event], Link | None]]] = {
    "packet:received": _received,
    "packet:sent": _sent,
    "packet:captured": lambda timeline, event: None,
    "socket:state": _state_rule,
    "thread:woken": _woken,
    "thread:running": _running,
    "thread:blocked": _by_call,
    "syscall:exit": _exit,
    "syscall:enter": _enter,
    "epoll:wait": _after_exit,
    "epoll:ctl": _after_exit,
    "accept:taken": _after_exit,
    "socket:queues": _queues,
    "epoll:ready": _ready,
    "timewait:born": _timewait,
    "timewait:expired": _expired,
    "timewait:cancelled": _cancelled,
    **dict.fromkeys(("actor:step", "actor:report", "trace:note", "trace:lost", "process:exit"), lambda *_: None),
}
"""Kinds with a rule of their own; all others are caused by their packet's processing or by their thread's call."""
