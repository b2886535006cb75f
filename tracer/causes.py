"""Causes: which event led to this one.

Four things tell. *Context*: a probe stamps every record with the packet in whose processing it was made (``ctx``), so
what the stack did with a packet was caused by its arrival, beyond doubt, and what happened in a thread's own time
inside a system call was caused by that call. *Pairing*: a packet received is one that was sent; a thread runs because
it was woken; a call returns because its thread runs again. *The rules of TCP*: a step of the table that only a segment
can trigger was caused by the last such segment, even if the kernel took it from the backlog later, in the time of the
thread that held the socket (release_sock()). *Timers*: what is done in neither a packet's nor a call's time, a timer
did, and it leads back to what was waiting for an answer.

Links are worked out on demand, for the event that somebody looks at, in a bounded neighbourhood. When the evidence does
not say what the cause was, there is no link.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from tracer.events import NUMBER, PACKETS
from tracer.kinds import Evidence, Lane
from tracer.lookback import (
    STEP,
    WAIT_REACH,
    back,
    first_acknowledged,
    fits,
    last,
    last_acknowledged,
    open_call,
    room,
    segment_for,
    sent_before,
    step_of,
)
from tracer.segments import ACK, SYN
from tracer.states import State, Transition, Trigger, as_state, between
from tracer.timeline import Event, Timeline

_WOKEN: Final = NUMBER["thread:woken"]


class Link(NamedTuple):
    """One event led to another."""

    order: int
    """Of the event that led to it (of the effect, in ``effects``)."""
    rule: str
    """Short name of how we know: context, call, exit, pair, wake, ready, return, segment, timer, step."""
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


def effects(
    timeline: Timeline, order: int, reach: int = 512, known: Callable[[int], Link | None] | None = None
) -> list[Link]:
    """The events among the next ``reach`` whose cause is event ``order``, in order.

    ``known``: `cause` of an event, from somebody who remembers causes: an event's does not change any more.
    """
    event, stop = timeline[order], min(order + 1 + reach, len(timeline))
    found, at = [], order + 1
    for heads in timeline.heads(order + 1, stop):
        # Only what has something in common with it can have come of it: this is quick, asking for causes is not.
        near = heads["kind"] == _WOKEN
        for name in ("conn", "sock", "tid"):
            if value := getattr(event, name):
                near |= heads[name] == value
        if event.number == STEP:
            near |= heads["pid"] == event.pid
        if event.number in PACKETS:
            near |= (heads["ctx"] == event.probe_time) & (event.probe_time > 0)
        for place in np.flatnonzero(near).tolist():
            link = known(at + place) if known else cause(timeline, at + place)
            if link is not None and link.order == order:
                found.append(Link(at + place, link.rule, link.words))
        at += len(heads)
    return found


def step(timeline: Timeline, order: int) -> Transition | None:
    """The row of the table of states that event ``order`` took, told from others of the same states by its cause.

    None for an event that changes no state, and where the evidence leaves more than one row.
    """
    event = timeline[order]
    states = _states(timeline, event)
    rows = between(*states) if states else ()
    link = cause(timeline, order) if len(rows) > 1 else None
    if link is not None:
        reason = timeline[link.order]
        if link.rule in ("call", "exit"):
            fit = [row for row in rows if row.trigger.by_call] or [row for row in rows if row.trigger in _KERNEL]
        elif link.rule == "timer":
            fit = [row for row in rows if row.trigger in (Trigger.TIMEOUT, Trigger.TIMEWAIT_TIMEOUT)]
        elif reason.number in PACKETS:
            fit = [row for row in rows if fits(reason, row.trigger)] or [row for row in rows if row.trigger in _KERNEL]
        else:
            fit = []
        rows = tuple(fit)
    return rows[0] if len(rows) == 1 else None


_KERNEL: Final = frozenset({Trigger.HANDOVER, Trigger.ACCEPT_QUEUE_FULL})
"""Steps that no segment asks for, but that the kernel takes while it processes one."""


def _states(timeline: Timeline, event: Event) -> tuple[State, State] | None:
    """From which state to which the event leads its end; None if it does not."""
    if event.name == "socket:state":
        return as_state(event["old"]), as_state(event["new"])
    if event.name == "request:born":
        return State.LISTEN, State.NEW_SYN_RECV
    if event.name in ("timewait:expired", "timewait:cancelled"):
        return as_state(event["substate"]), State.CLOSE
    if event.name not in ("timewait:born", "request:gone"):
        return None
    before = last(timeline, event, "socket:state", WAIT_REACH, sock=event.sock)
    if event.name == "request:gone":
        return None if before else (State.NEW_SYN_RECV, State.CLOSE)
    if before is None:
        return None
    # The full socket's own step to CLOSE stands beside it, before or after (tcp_time_wait()).
    return as_state(before["old" if before["new"] == State.CLOSE else "new"]), as_state(event["substate"])


# How an event is known to belong to another


def _by_context(timeline: Timeline, event: Event) -> Link | None:
    if not event.ctx:
        return None
    packet = last(timeline, event, "packet:received", cpu=event.cpu, probe_time=event.ctx)
    return Link(packet.order, "context", _CTX_WORDS) if packet else None


def _by_call(timeline: Timeline, event: Event) -> Link | None:
    """In task context: the system call that the thread is in, or its end."""
    if event.ctx or not event.tid:
        return None
    call = open_call(timeline, event)
    if call is None:
        return None
    if call.name == "process:exit":
        return Link(call.order, "exit", "the process had ended, and the kernel closed what it left open (exit_files())")
    if not _concerns(call, event):
        return None
    return Link(call.order, "call", f"it happened inside {call.call}(), in the calling thread's own time")


def _concerns(call: Event, event: Event) -> bool:
    """Can the call have done this to the event's socket? A timer that fires in between borrows the thread's time."""
    if not event.sock or event.sock == call.sock:
        return True
    if call.sock:
        # Closing a listener ends what waits in its queues; connect() may take the tuple of a TIME_WAIT object.
        return call.conn == 0 or (call.call == "connect" and event.name.startswith("timewait:"))
    return call.call not in _WAITING


_WAITING: Final = frozenset(
    {"poll", "ppoll", "select", "pselect6", "epoll_wait", "epoll_pwait", "epoll_pwait2", "futex", "nanosleep",
     "clock_nanosleep"}
)  # fmt: skip
"""Calls that change no socket."""


# Rules by kind


def _received(timeline: Timeline, event: Event) -> Link | None:
    for sent in back(timeline, event.order, kind=NUMBER["packet:sent"], conn=event.conn):
        if sent.side == event.side and all(sent[name] == event[name] for name in ("seq", "ack", "flags", "length")):
            return Link(sent.order, "pair", "the same segment, when it left its sender")
    return None


def _state(timeline: Timeline, event: Event) -> Link | None:
    if event.evidence == Evidence.INFERRED:
        return _inferred(timeline, event)
    if event.evidence != Evidence.OBSERVED:
        return None  # a reading of a table: what led there was not seen
    context = _by_context(timeline, event)
    if context is not None:
        return context
    old, new = as_state(event["old"]), as_state(event["new"])
    steps = between(old, new)
    wanted = [row.trigger for row in steps if row.trigger.by_segment]
    by_call = _by_call(timeline, event)
    segment = segment_for(timeline, event, wanted) if wanted else None
    if segment is not None and (by_call is None or segment.order > by_call.order):
        # It came while the thread held the socket, and release_sock() took it from the backlog in the thread's time.
        words = f"the rules of TCP: a segment leads from {old.name} to {new.name}, and this was it"
        return Link(segment.order, "segment", words)
    if by_call is not None and any(row.trigger.by_call or row.trigger == Trigger.HANDOVER for row in steps):
        return by_call
    if by_call is None and any(row.trigger == Trigger.TIMEOUT for row in steps):
        sent = last(timeline, event, "packet:sent", WAIT_REACH, sock=event.sock)
        return Link(sent.order, "timer", "no answer to it had come when the timer fired") if sent else None
    return by_call if not wanted else None


def _sent(timeline: Timeline, event: Event) -> Link | None:
    context = _by_context(timeline, event)
    if context is not None:
        return context
    by_call = _by_call(timeline, event)
    if by_call is not None:
        # An answer given from the backlog follows from the segment that moved the state just before it.
        for before in back(timeline, event.order, 8, sock=event.sock, tid=event.tid) if event.sock else ():
            link = _state(timeline, before) if before.name == "socket:state" else None
            if link is not None and link.rule == "segment":
                return Link(link.order, "segment", "the answer to that segment, taken from the backlog")
            break
        return by_call
    timer = next(back(timeline, event.order, 16, kind=NUMBER["request:timer"], sock=event.sock, cpu=event.cpu), None)
    if timer is not None and event.sock and event["flags"] & SYN:
        return Link(timer.order, "timer", "the SYN-ACK again: its timer had fired")
    if not room(event):
        received = last_acknowledged(timeline, event)
        words = "its acknowledgement, which a timer had held back (delayed ACK, RFC 9293 §3.8.6.3)"
        return Link(received.order, "timer", words) if received else None
    earlier = sent_before(timeline, event)
    words = "the same segment again: no ACK had come when the timer fired"
    return Link(earlier.order, "timer", words) if earlier else None


def _woken(timeline: Timeline, event: Event) -> Link | None:
    by = event["by"]
    if by:
        for notice in back(timeline, event.order, cpu=event.cpu, probe_time=by):
            return Link(notice.order, "wake", "that readiness notice woke it (same processor, the last one before)")
    context = _by_context(timeline, event)
    if context is not None:
        return context
    waker = event["other"]
    for call in back(timeline, event.order, tid=waker):
        if call.name in ("syscall:enter", "syscall:exit"):
            if call.name == "syscall:enter":
                return Link(call.order, "wake", f"thread {waker} woke it from inside {call.call}()")
            break
    # A scenario's actor waits for its cue: the step that names the process is what it was woken for.
    step = step_of(timeline, event)
    near = step is not None and event.order - step.order <= 64
    return Link(step.order, "step", "the script gave it its cue") if step and near else None


def _running(timeline: Timeline, event: Event) -> Link | None:
    for earlier in back(timeline, event.order, WAIT_REACH, tid=event.tid):
        if earlier.name == "thread:woken":
            return Link(earlier.order, "wake", "it had been woken and now got a processor")
        if earlier.name == "thread:blocked":
            if earlier["was"] == 0:
                return Link(earlier.order, "wake", "it had been preempted and now got a processor again")
            return None
    return None


def _exit(timeline: Timeline, event: Event) -> Link | None:
    for earlier in back(timeline, event.order, WAIT_REACH, tid=event.tid):
        if earlier.name == "thread:running":
            came = _running(timeline, earlier)
            if came is not None and timeline[came.order].name == "thread:woken":
                return Link(earlier.order, "return", "its thread had slept in the call and runs again")
        if earlier.name == "syscall:enter" and earlier.ctx == 0:
            return Link(earlier.order, "call", "the end of that call: it did not have to wait")
    return None


def _enter(timeline: Timeline, event: Event) -> Link | None:
    """What an actor calls, it calls because of the step that it was cued for."""
    step = step_of(timeline, event)
    return Link(step.order, "step", "the script told this actor to") if step else None


def _after_exit(timeline: Timeline, event: Event) -> Link | None:
    """Facts that a probe reads as the call returns: the return itself is what they tell about."""
    for earlier in back(timeline, event.order, 64, tid=event.tid):
        if earlier.name in ("syscall:exit", "syscall:enter"):
            return Link(earlier.order, "call", f"it is what {earlier.call}() came back with")
    return None


def _waited(timeline: Timeline, event: Event) -> Link | None:
    """Entries that epoll_wait() brought: by waking up, or because they had been ready before."""
    result = _after_exit(timeline, event)
    came = _exit(timeline, timeline[result.order]) if result and timeline[result.order].name == "syscall:exit" else None
    if event["n"] > 0 and came is not None and came.rule == "call":
        for notice in back(timeline, event.order, kind=NUMBER["epoll:ready"]):
            if notice["ep"] == event["ep"]:
                return Link(notice.order, "ready", "that readiness was there before anyone waited for it")
    return result


def _queues(timeline: Timeline, event: Event) -> Link | None:
    return _by_context(timeline, event) or _after_exit(timeline, event)


def _timewait(timeline: Timeline, event: Event) -> Link | None:
    context = _by_context(timeline, event)
    if context is not None:
        return context
    if event["substate"] == State.FIN_WAIT2:
        return _by_call(timeline, event)  # close() of an orphan: tcp_time_wait(sk, TCP_FIN_WAIT2, ...)
    segment = segment_for(timeline, event, [Trigger.RCV_FIN])
    words = "the peer's FIN: both directions are closed now, and this side waits"
    return Link(segment.order, "segment", words) if segment else None


def _expired(timeline: Timeline, event: Event) -> Link | None:
    kinds = ("timewait:born", "timewait:rearmed")
    armed = [last(timeline, event, kind, WAIT_REACH, sock=event.sock) for kind in kinds]
    latest = max((found for found in armed if found), key=lambda found: found.order, default=None)
    return Link(latest.order, "timer", "the timer that was armed then") if latest else None


def _request_timer(timeline: Timeline, event: Event) -> Link | None:
    armed = last(timeline, event, "request:born", WAIT_REACH, sock=event.sock)
    return Link(armed.order, "timer", "the timer that was armed then, and no ACK had come") if armed else None


def _request_gone(timeline: Timeline, event: Event) -> Link | None:
    known = _by_context(timeline, event) or _by_call(timeline, event)
    timer = None if known else last(timeline, event, "request:timer", 16, sock=event.sock, cpu=event.cpu)
    return known or (Link(timer.order, "timer", "its SYN-ACK timer had fired for the last time") if timer else None)


def _inferred(timeline: Timeline, event: Event) -> Link | None:
    """States worked out from packets stand right behind the packet that they were worked out from."""
    for earlier in back(timeline, event.order, 16, conn=event.conn):
        if earlier.kind.lane == Lane.WIRE:
            return Link(earlier.order, "segment", "worked out from that segment by the rules of TCP")
    return None


def _captured(timeline: Timeline, event: Event) -> Link | None:
    """In a capture only one thing shows: a bare acknowledgement, or a SYN-ACK, is sent for what it acknowledges."""
    if not event["flags"] & ACK or (room(event) and not event["flags"] & SYN):
        return None
    segment = first_acknowledged(timeline, event, "packet:captured")
    return Link(segment.order, "segment", "it is the first to acknowledge that segment") if segment else None


_RULES: Final[dict[str, Callable[[Timeline, Event], Link | None]]] = {
    "packet:received": _received,
    "packet:sent": _sent,
    "packet:captured": _captured,
    "socket:state": _state,
    "thread:woken": _woken,
    "thread:running": _running,
    "thread:blocked": _by_call,
    "syscall:exit": _exit,
    "syscall:enter": _enter,
    "epoll:wait": _waited,
    "epoll:ctl": _after_exit,
    "accept:taken": _after_exit,
    "socket:queues": _queues,
    "request:timer": _request_timer,
    "request:gone": _request_gone,
    **dict.fromkeys(("timewait:born", "timewait:rearmed"), _timewait),
    "timewait:expired": _expired,
    **dict.fromkeys(("actor:step", "actor:report", "process:exit"), lambda *_: None),
    **dict.fromkeys(("trace:note", "trace:lost", "trace:unseen"), lambda *_: None),
}
"""Kinds with a rule of their own; all others are caused by their packet's processing or by their thread's call."""
