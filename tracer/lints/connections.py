"""Lints of connections: what their states, queues and segments show, whatever the program behind them is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from tracer.kinds import KINDS, KNOWN_SEQUENCE, KNOWN_WINDOW
from tracer.lints.basis import Finding, Limits, end_of, events, found
from tracer.states import State
from tracer.timeline import Event, Timeline
from tracer.words import HARMLESS, duration, endpoint, ends, size, unacked


def close_wait(timeline: Timeline, limits: Limits) -> Iterator[Finding]:
    """Told of the end, and not closed."""
    since: dict[int, Event] = {}
    for event in events(timeline, "socket:state"):
        begun = since.pop(event.sock, None)
        if begun is not None and event.time - begun.time > limits.close_wait:
            yield found("close-wait", begun, f"{ends(begun)} stayed in CLOSE-WAIT for "
                                              f"{duration(event.time - begun.time)}")  # fmt: skip
        if event["new"] == State.CLOSE_WAIT and event.sock:
            since[event.sock] = event
    last = end_of(timeline)
    for begun in since.values():
        if last - begun.time > limits.close_wait:
            yield found("close-wait", begun, f"{ends(begun)} is in CLOSE-WAIT since {duration(last - begun.time)}")


def overflow(timeline: Timeline, limits: Limits) -> Iterator[Finding]:
    """A full queue of a listener."""
    for event in events(timeline, "accept:overflow", "request:overflow", "segment:dropped"):
        if event.name == "accept:overflow":
            queue = f"{event['ack_backlog']}/{event['max_ack_backlog']}"
            who = endpoint(event["peer"], event["peer_port"])
            yield found("accept-overflow", event, f"{ends(event)} was full ({queue}): the SYN of {who} was dropped")
        elif event.name == "request:overflow":
            queue = f"SYN queue, {event['qlen']}/{event['max_ack_backlog']}"
            who = endpoint(event["peer"], event["peer_port"])
            yield found("accept-overflow", event, f"{ends(event)} was full ({queue}): the SYN of {who} was dropped")
        elif event["why"] == "TCP_LISTEN_OVERFLOW":
            who = endpoint(event["daddr"], event["dport"])
            here = endpoint(event["saddr"], event["sport"])
            yield found("accept-overflow", event, f"{here} was full: the last ACK of {who}'s handshake was dropped")


def syn_again(timeline: Timeline, limits: Limits) -> Iterator[Finding]:
    """A first SYN without an answer."""
    told: set[int] = set()
    for event in events(timeline, "socket:retransmit"):
        if event["state"] == State.SYN_SENT and event.sock not in told:
            told.add(event.sock)
            waited = f"after {duration(event['rto'] * 1000)} without an answer"
            yield found("syn-retransmitted", event, f"{ends(event)} sent its SYN again {waited}")


def timeouts(timeline: Timeline, limits: Limits) -> Iterator[Finding]:
    """Data that had to wait for the retransmission timer."""
    told: set[int] = set()
    for event in events(timeline, "socket:timer"):
        if event["timer"] == 1 and event["state"] != State.SYN_SENT and event.sock not in told:
            told.add(event.sock)
            count = unacked(event)
            what = f"{size(count)} were" if count else "its FIN was"
            waiting = f"{what} not acknowledged within {duration(event['rto'] * 1000)}"
            yield found("retransmission-timeout", event, f"{ends(event)}: {waiting}")


def timewait_pile(timeline: Timeline, limits: Limits) -> Iterator[Finding]:
    """Many TIME_WAIT objects of one service at once."""
    waiting: dict[tuple[object, ...], set[int]] = defaultdict(set)
    told: set[tuple[object, ...]] = set()
    for event in events(timeline, "timewait:born", "timewait:cancelled", "timewait:expired"):
        ends_at = min((event["sport"], *event["saddr"]), (event["dport"], *event["daddr"]))  # the service, mostly
        mine = waiting[ends_at]
        if event.name != "timewait:born":
            mine.discard(event.sock)
            continue
        mine.add(event.sock)
        if len(mine) >= limits.timewait_pile and ends_at not in told:
            told.add(ends_at)
            words = f"{len(mine)} connections of port {ends_at[0]} are in TIME-WAIT at once"
            yield found("timewait-pile", event, words)


_WITH_WINDOW: Final = tuple(
    kind.name for kind in KINDS if {"known", "snd_wnd"} <= {f.name for f in kind.fields} and kind.name[:7] == "socket:"
)


def zero_window(timeline: Timeline, limits: Limits) -> Iterator[Finding]:
    """Data that waits for a window of 0."""
    since: dict[int, Event] = {}
    last: dict[int, Event] = {}
    for event in events(timeline, *_WITH_WINDOW):
        if not event.sock or not event["known"] & KNOWN_WINDOW:
            continue
        open_for_data = event["state"] in (State.ESTABLISHED, State.CLOSE_WAIT)
        if open_for_data and event["snd_wnd"] == 0 and unacked(event):
            since.setdefault(event.sock, event)
            last[event.sock] = event
        elif (begun := since.pop(event.sock, None)) is not None and event.time - begun.time > limits.zero_window:
            yield _zero(begun, event.time)
    end = end_of(timeline)
    for begun in since.values():
        if end - begun.time > limits.zero_window:
            yield _zero(begun, end)


def _zero(begun: Event, until: int) -> Finding:
    held = f"{size(unacked(begun))} wait for a window of 0 since {duration(until - begun.time)}"
    return found("zero-window", begun, f"{ends(begun)}: {held}")


def unread_reset(timeline: Timeline, limits: Limits) -> Iterator[Finding]:
    """close() before all was read."""
    closed: dict[int, Event] = {}
    for event in events(timeline, "socket:state", "reset:sent"):
        if event.name == "socket:state":
            closed[event.sock] = event
            continue
        left = _left_unread(closed.get(event.sock)) if event.sock else 0
        if left or event["why"] == "TCP_ABORT_ON_CLOSE":
            count = size(left) if left else "data"
            yield found("reset-unread", event, f"{ends(event)} was closed with {count} unread: the peer gets a RST")


def _left_unread(step: Event | None) -> int:
    """Bytes unread when a socket went straight to CLOSE, as tcp_close() lets it when there are any (RFC 2525 2.17)."""
    if step is None or step["new"] != State.CLOSE or not step["known"] & KNOWN_SEQUENCE:
        return 0
    if step["old"] not in (State.ESTABLISHED, State.CLOSE_WAIT):
        return 0
    count = (step["rcv_nxt"] - step["copied_seq"]) & 0xFFFF_FFFF
    return int(count - (count > 0 and step["old"] == State.CLOSE_WAIT))  # the FIN is no byte


def dead_peer(timeline: Timeline, limits: Limits) -> Iterator[Finding]:
    """Keepalive probes without an answer."""
    for event in events(timeline, "reset:sent"):
        if event["why"] == "TCP_KEEPALIVE_TIMEOUT":
            yield found("dead-peer", event, f"{ends(event)} gave its peer up: keepalive probes had no answer")


def dropped(timeline: Timeline, limits: Limits) -> Iterator[Finding]:
    """Segments that the stack threw away, and did not say so elsewhere."""
    expected = {*HARMLESS, "", "NOT_SPECIFIED", "NO_SOCKET", "TCP_LISTEN_OVERFLOW"}  # told elsewhere, or tell nothing
    told: set[tuple[int, str]] = set()
    for event in events(timeline, "segment:dropped"):
        why = event["why"]
        if why not in expected and (event.conn, why) not in told:
            told.add((event.conn, why))
            yield found("dropped", event, f"{ends(event)}: segments are thrown away: {why}")


def unaccepted(timeline: Timeline, limits: Limits) -> Iterator[Finding]:
    """A queue that nobody takes connections from."""
    waiting: dict[int, Event] = {}
    for event in events(timeline, "accept:queued", "accept:taken", "socket:state"):
        if event.name == "accept:queued":
            waiting.setdefault(event.sock, event)
            continue
        if event.name == "socket:state" and event["old"] != State.LISTEN:
            continue
        if event.name == "socket:state" and event["new"] != State.CLOSE:
            continue
        begun = waiting.pop(event.sock, None)
        if begun is not None:
            yield from _late(begun, event.time, limits)
    for begun in waiting.values():
        yield from _late(begun, end_of(timeline), limits)


def _late(begun: Event, until: int, limits: Limits) -> Iterator[Finding]:
    if until - begun.time > limits.unaccepted:
        waited = duration(until - begun.time)
        yield found("no-accept", begun, f"{ends(begun)}: a connection waited {waited} for accept()")
