"""Which connection a segment belongs to, how long connections are remembered, and what time alone brings about.

A connection is found by its endpoints and its stream number: of those on the same addresses and ports two are
remembered, because the older one ends where the newer begins. TIME_WAIT and attempts to open end by timers, in a
binary heap. A connection that is open is kept. The others (opening, closed, or in TIME_WAIT) wait in a list in the
order in which they came to be so, because stragglers would otherwise look like a connection seen from the middle; one
is given up ``LINGER`` after it was closed, or when more than ``KEPT`` wait. Of one in TIME_WAIT its timer goes on.
So memory follows what is open, as in ``lifetimes``, whose list this is.

The functions run as they stand on objects and, compiled, on records.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tracer.replay import lifetimes
from tracer.replay.infer_rows import UNSEEN, End, before
from tracer.replay.infer_rules import (
    CERTAIN,
    CLOSE,
    CONNECT,
    LISTEN,
    PROVISIONAL,
    RCV_SYN,
    SYN_RECV,
    SYN_SENT,
    TIME_WAIT,
    TIMEOUT,
    TIMEWAIT_TIMEOUT,
    UNKNOWN,
    move,
    segment,
)
from tracer.replay.infer_tables import FORGOTTEN, Tables, Timer, blank, logged, note, note_late, room
from tracer.segments import ACK, SYN

append: Callable[[Any, int], None] = lifetimes.append
unlink: Callable[[Any, int], None] = lifetimes.unlink
insert: Callable[[Any, int], None] = lifetimes.insert
remove: Callable[[Any, int], None] = lifetimes.remove
find: Callable[..., int] = lifetimes.find

LINGER = 120_000_000_000
"""ns that a closed connection is remembered, for segments that come late (the MSL of RFC 9293 section 3.4.2)."""

KEPT = 32_768
"""Connections remembered that are not open, at most."""

OWED = 131_072
"""Timers of connections given up that go on, at most. Beyond, how a TIME_WAIT ends is not told (a host has its limit,
too: tcp_max_tw_buckets)."""


def judge(
    tables: Tables, place: int, stream: int, sender: int, low_hi: int, low_lo: int, low_port: int, high_hi: int,
    high_lo: int, high_port: int, time: int, seq: int, ack: int, flags: int, length: int, window: int, wscale: int,
) -> None:  # fmt: skip
    """Judge one segment; the endpoint that sorts first comes first, and ``sender`` is 0 if that one sends."""
    flows = tables.flows
    number = find(tables, low_hi, low_lo, low_port, high_hi, high_lo, high_port) >> 1
    while number > 0 and flows[number].stream != stream:
        number = flows[number].earlier
    if number <= 0:
        number = begin(tables, stream, sender, low_hi, low_lo, low_port, high_hi, high_lo, high_port, flags)
    book = tables.book[0]
    book.place = place
    if flags & SYN and flows[number].earlier:
        earlier = flows[number].earlier
        book.number = earlier
        known = logged(tables)
        supersede(tables.ends[2 * earlier + sender], tables.ends[2 * earlier + 1 - sender], tables, time, seq, flags)
        if logged(tables) != known:
            settle(tables, earlier, time)
    book.number = number
    known = logged(tables)
    ends = tables.ends
    one, other = ends[2 * number + sender], ends[2 * number + 1 - sender]
    segment(one, other, tables, time, seq, ack, flags, length, window, wscale)
    if logged(tables) != known:
        settle(tables, number, time)


def begin(
    tables: Tables, stream: int, sender: int, low_hi: int, low_lo: int, low_port: int, high_hi: int, high_lo: int,
    high_port: int, flags: int,
) -> int:  # fmt: skip
    """Rows for a new connection: its number."""
    book, flows, ends = tables.book[0], tables.flows, tables.ends
    earlier = max(find(tables, low_hi, low_lo, low_port, high_hi, high_lo, high_port) >> 1, 0)
    if earlier and flows[earlier].earlier:
        give_up(tables, flows[earlier].earlier)
    number = book.free_flow
    book.free_flow = flows[number].newer
    book.free_flows -= 1
    book.kept += 1
    blank(tables, number)
    flow = flows[number]
    flow.stream = stream
    flow.src_hi = low_hi
    flow.src_lo = low_lo
    flow.sport = low_port
    flow.dst_hi = high_hi
    flow.dst_lo = high_lo
    flow.dport = high_port
    flow.client = 1 - sender if flags & SYN and flags & ACK else sender
    if earlier:
        remove(tables, earlier)
        flow.earlier = earlier
        if flags & SYN:
            state = ends[2 * earlier + 1 - sender].state
            ends[2 * number + 1 - sender].before = 0 if state == CLOSE else state
    insert(tables, number)
    append(tables, number)
    if book.listed > KEPT:
        give_up(tables, book.oldest)
    return number


def supersede(s: End, r: End, log: Tables, time: int, seq: int, flags: int) -> None:
    """A SYN from ``s`` to ``r`` begins a new connection on the addresses and ports of this one.

    Who sends a SYN or SYN-ACK has no other connection there. Who receives a SYN gives up a TIME_WAIT for it if the SYN
    is new (RFC 9293 section 3.6.1; tcp_timewait_state_process()); in any other state it would send a challenge ACK.
    """
    if s.state not in (CLOSE, UNKNOWN):
        trigger = UNSEEN
        if s.state == TIME_WAIT:
            trigger = RCV_SYN if flags & ACK else CONNECT
        move(s, CLOSE, trigger, CERTAIN, log, time)
    if r.state == TIME_WAIT and not flags & ACK and before(s.top, seq):
        move(r, CLOSE, RCV_SYN, PROVISIONAL, log, time)


def settle(tables: Tables, number: int, time: int) -> None:
    """After changes of a connection: its timers, and the list of connections that are not open."""
    flow = tables.flows[number]
    one = tables.ends[2 * number]
    other = tables.ends[2 * number + 1]
    for place in range(2 * number, 2 * number + 2):
        end = tables.ends[place]
        if end.timer:
            arm(tables, place)
        else:
            disarm(tables, end)
    over = one.state in (CLOSE, UNKNOWN) and other.state in (CLOSE, UNKNOWN)
    waiting = waits(one.state) and waits(other.state)
    if flow.listed and (not waiting or (over and not flow.closed)):
        unlink(tables, number)
    if waiting and not flow.listed:
        append(tables, number)
    if not over:
        flow.closed = 0
    elif not flow.closed:
        flow.closed = time


def waits(state: int) -> bool:
    """Whether an end in this state has no open connection."""
    return state in (UNKNOWN, CLOSE, LISTEN, SYN_SENT, SYN_RECV, TIME_WAIT)


def give_up(tables: Tables, number: int) -> None:
    """Forget a connection; of what still waits only the timers stay."""
    book = tables.book[0]
    flow = tables.flows[number]
    one = tables.ends[2 * number]
    other = tables.ends[2 * number + 1]
    for row in range(2):
        end = tables.ends[2 * number + row]
        disarm(tables, end)
        if end.timer and end.state != CLOSE and book.owed < OWED:
            book.owed += 1
            timer = tables.timers[free_timer(tables, end.timer)]
            timer.stream = flow.stream
            timer.place = row
            timer.state = end.state
            timer.src_hi = flow.src_hi
            timer.src_lo = flow.src_lo
            timer.sport = flow.sport
            timer.dst_hi = flow.dst_hi
            timer.dst_lo = flow.dst_lo
            timer.dport = flow.dport
            timer.client = flow.client
    before_that = book.number
    book.number = number
    note(tables, 0, 0, one.state, other.state, FORGOTTEN, one.certainty | other.certainty << 2)
    book.number = before_that
    if flow.listed:
        unlink(tables, number)
    newest = find(tables, flow.src_hi, flow.src_lo, flow.sport, flow.dst_hi, flow.dst_lo, flow.dport) >> 1
    if newest == number:
        remove(tables, number)
        if flow.earlier:
            insert(tables, flow.earlier)
    else:
        tables.flows[newest].earlier = 0
    blank(tables, number)
    tables.flows[number].newer = book.free_flow
    book.free_flow = number
    book.free_flows += 1
    book.kept -= 1


# Time


def advance(tables: Tables, now: int) -> bool:
    """Let time pass: what timers bring about up to ``now`` (ns), oldest first; whether the log had room for all."""
    book, timers, heap = tables.book[0], tables.timers, tables.heap
    book.place = -1
    while book.armed and timers[heap[0]].due <= now:
        if not room(tables):
            return False
        number = heap[0]
        take_out(tables, number)
        fire(tables, timers[number])
        release(tables, number)
    while book.oldest >= 0 and tables.flows[book.oldest].closed and now - tables.flows[book.oldest].closed > LINGER:
        if not room(tables):
            return False
        give_up(tables, book.oldest)
    return True


def fire(tables: Tables, timer: Timer) -> None:
    """A timer is due: whether its time is really over, and what that means."""
    if timer.place < 2:
        tables.book[0].owed -= 1
        number = find(tables, timer.src_hi, timer.src_lo, timer.sport, timer.dst_hi, timer.dst_lo, timer.dport) >> 1
        if number <= 0 or tables.flows[number].stream != timer.stream:  # else it has spoken since
            note_late(tables, timer, _expiry(timer.state), PROVISIONAL, CLOSE)
        return
    number = timer.place >> 1
    end = tables.ends[timer.place]
    end.armed = 0
    if end.timer > timer.due:
        arm(tables, timer.place)
    elif end.timer == timer.due and end.state != CLOSE:
        tables.book[0].number = number
        move(end, CLOSE, _expiry(end.state), PROVISIONAL, tables, timer.due)
        settle(tables, number, timer.due)


def _expiry(state: int) -> int:
    return TIMEWAIT_TIMEOUT if state == TIME_WAIT else TIMEOUT


def arm(tables: Tables, place: int) -> None:
    """See to it that a timer fires when, or before, the end's time is over."""
    end = tables.ends[place]
    if end.armed and tables.timers[end.armed - 1].due <= end.timer:
        return
    disarm(tables, end)
    number = free_timer(tables, end.timer)
    end.armed = number + 1
    timer = tables.timers[number]
    timer.stream = tables.flows[place >> 1].stream
    timer.place = place


def disarm(tables: Tables, end: End) -> None:
    """Take back the end's timer, if it has one."""
    if end.armed:
        take_out(tables, end.armed - 1)
        release(tables, end.armed - 1)
        end.armed = 0


def release(tables: Tables, number: int) -> None:
    """A timer's row is free."""
    book = tables.book[0]
    tables.timers[number].newer = book.free_timer
    book.free_timer = number
    book.free_timers += 1


def free_timer(tables: Tables, due: int) -> int:
    """A timer for that moment, put where it belongs: its number."""
    book = tables.book[0]
    number = book.free_timer
    timer = tables.timers[number]
    book.free_timer = timer.newer
    book.free_timers -= 1
    timer.due = due
    timer.tie = book.ties
    book.ties += 1
    book.armed += 1
    put(tables, book.armed - 1, number)
    return number


def sooner(tables: Tables, number: int, other: int) -> bool:
    """Which of two timers fires first."""
    one, two = tables.timers[number], tables.timers[other]
    return one.due < two.due or (one.due == two.due and one.tie < two.tie)


def put(tables: Tables, k: int, number: int) -> None:
    """Put a timer in place ``k`` of the heap, or where it belongs (Williams: a father fires no later than his sons)."""
    heap, timers, count = tables.heap, tables.timers, tables.book[0].armed
    while k > 0 and sooner(tables, number, heap[(k - 1) >> 1]):
        heap[k] = heap[(k - 1) >> 1]
        timers[heap[k]].spot = k
        k = (k - 1) >> 1
    while 2 * k + 1 < count:
        son = 2 * k + 1
        if son + 1 < count and sooner(tables, heap[son + 1], heap[son]):
            son += 1
        if not sooner(tables, heap[son], number):
            break
        heap[k] = heap[son]
        timers[heap[k]].spot = k
        k = son
    heap[k] = number
    timers[number].spot = k


def take_out(tables: Tables, number: int) -> None:
    """Out of the heap; what was last in it takes the place."""
    book = tables.book[0]
    k = tables.timers[number].spot
    book.armed -= 1
    if k != book.armed:
        put(tables, k, tables.heap[book.armed])
