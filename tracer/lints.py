"""Lints: patterns on the timeline that are trouble more often than not, in words, with evidence and advice.

A lint is a row of ``LINTS``: what it looks for, what it means, what to do. Each check reads the finished timeline and
yields findings, and a finding names the event that shows it, so that whoever doubts it can look. Checks claim nothing
beyond their events: what a probe did not see (a group left out, events lost) does not appear here either.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import numpy as np

from tracer.events import NUMBER
from tracer.kinds import KINDS, KNOWN_SEQUENCE, KNOWN_WINDOW, Evidence
from tracer.states import State
from tracer.timeline import Event, Timeline
from tracer.words import HARMLESS, duration, endpoint, ends, size, unacked

SECOND: Final = 1_000_000_000
CLOSE_WAIT_NS: Final = 5 * SECOND
"""A program that has been told end-of-file normally closes within milliseconds."""
ZERO_WINDOW_NS: Final = SECOND
UNACCEPTED_NS: Final = 2 * SECOND
"""How long a connection may wait in the accept queue."""
TIMEWAIT_PILE: Final = 2000
"""TIME_WAIT objects at once towards one server address and port; ports for clients are 28,232 by default."""


class Finding(NamedTuple):
    """One thing found."""

    lint: str
    """Name of the row."""
    order: int
    """Of the event that shows it."""
    conn: int
    """Its connection; 0 where it is about a listener."""
    words: str
    """What is so, one sentence."""
    evidence: Evidence


Check = Callable[[Timeline], Iterator[Finding]]


class Lint(NamedTuple):
    """One thing looked for."""

    name: str
    severity: str
    """note, warn or error, as Wireshark's expert information has them."""
    meaning: str
    """What it means."""
    advice: str
    """What to do."""
    check: Check


def check(timeline: Timeline) -> list[Finding]:
    """All findings, in the order of the events that show them."""
    found = [finding for lint in LINTS for finding in lint.check(timeline)]
    return sorted(found, key=lambda finding: finding.order)


def summary(findings: list[Finding], most: int = 3) -> Iterator[str]:
    """The findings by lint, the first ``most`` of each in words, and what to do: lines of text."""
    by_name: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_name[finding.lint].append(finding)
    for lint in LINTS:
        mine = by_name.get(lint.name, [])
        if not mine:
            continue
        yield f"{lint.severity}: {lint.name} ({len(mine)}): {lint.meaning}"
        for finding in mine[:most]:
            where = f" (connection {finding.conn})" if finding.conn else ""
            yield f"  event {finding.order}{where}: {finding.words}"
        if len(mine) > most:
            yield f"  and {len(mine) - most} more"
        yield f"  what to do: {lint.advice}"
    if not findings:
        yield "no lint found anything"


def _events(timeline: Timeline, *names: str) -> Iterator[Event]:
    """All events of these kinds, in order."""
    parts = [timeline.indices("kind", NUMBER[name]) for name in names]
    for order in np.sort(np.concatenate(parts)).tolist():
        yield timeline[order]


def _end(timeline: Timeline) -> int:
    """ns, of the last event."""
    return timeline[len(timeline) - 1].time if len(timeline) else 0


def _found(name: str, event: Event, words: str) -> Finding:
    return Finding(name, event.order, event.conn, words, event.evidence)


# The checks


def _close_wait(timeline: Timeline) -> Iterator[Finding]:
    since: dict[int, Event] = {}
    for event in _events(timeline, "socket:state"):
        begun = since.pop(event.sock, None)
        if begun is not None and event.time - begun.time > CLOSE_WAIT_NS:
            yield _found("close-wait", begun, f"{ends(begun)} stayed in CLOSE-WAIT for "
                                              f"{duration(event.time - begun.time)}")  # fmt: skip
        if event["new"] == State.CLOSE_WAIT and event.sock:
            since[event.sock] = event
    last = _end(timeline)
    for begun in since.values():
        if last - begun.time > CLOSE_WAIT_NS:
            yield _found("close-wait", begun, f"{ends(begun)} is in CLOSE-WAIT since {duration(last - begun.time)}")


def _overflow(timeline: Timeline) -> Iterator[Finding]:
    for event in _events(timeline, "accept:overflow", "segment:dropped"):
        if event.name == "accept:overflow":
            queue = f"{event['ack_backlog']}/{event['max_ack_backlog']}"
            who = endpoint(event["peer"], event["peer_port"])
            yield _found("accept-overflow", event, f"{ends(event)} was full ({queue}): the SYN of {who} was dropped")
        elif event["why"] == "TCP_LISTEN_OVERFLOW":
            who = endpoint(event["daddr"], event["dport"])
            here = endpoint(event["saddr"], event["sport"])
            yield _found("accept-overflow", event, f"{here} was full: the last ACK of {who}'s handshake was dropped")


def _syn_again(timeline: Timeline) -> Iterator[Finding]:
    told: set[int] = set()
    for event in _events(timeline, "socket:retransmit"):
        if event["state"] == State.SYN_SENT and event.sock not in told:
            told.add(event.sock)
            waited = f"after {duration(event['rto'] * 1000)} without an answer"
            yield _found("syn-retransmitted", event, f"{ends(event)} sent its SYN again {waited}")


def _timeouts(timeline: Timeline) -> Iterator[Finding]:
    told: set[int] = set()
    for event in _events(timeline, "socket:timer"):
        if event["timer"] == 1 and event["state"] != State.SYN_SENT and event.sock not in told:
            told.add(event.sock)
            waiting = f"{size(unacked(event))} were not acknowledged within {duration(event['rto'] * 1000)}"
            yield _found("retransmission-timeout", event, f"{ends(event)}: {waiting}")


def _timewait_pile(timeline: Timeline) -> Iterator[Finding]:
    waiting: dict[tuple[object, ...], set[int]] = defaultdict(set)
    told: set[tuple[object, ...]] = set()
    for event in _events(timeline, "timewait:born", "timewait:cancelled", "timewait:expired"):
        ends_at = min((event["sport"], *event["saddr"]), (event["dport"], *event["daddr"]))  # the service, mostly
        mine = waiting[ends_at]
        if event.name != "timewait:born":
            mine.discard(event.sock)
            continue
        mine.add(event.sock)
        if len(mine) >= TIMEWAIT_PILE and ends_at not in told:
            told.add(ends_at)
            words = f"{len(mine)} connections of port {ends_at[0]} are in TIME-WAIT at once"
            yield _found("timewait-pile", event, words)


_WITH_WINDOW: Final = tuple(
    kind.name for kind in KINDS if {"known", "snd_wnd"} <= {f.name for f in kind.fields} and kind.name[:7] == "socket:"
)


def _zero_window(timeline: Timeline) -> Iterator[Finding]:
    since: dict[int, Event] = {}
    last: dict[int, Event] = {}
    for event in _events(timeline, *_WITH_WINDOW):
        if not event.sock or not event["known"] & KNOWN_WINDOW:
            continue
        open_for_data = event["state"] in (State.ESTABLISHED, State.CLOSE_WAIT)
        if open_for_data and event["snd_wnd"] == 0 and unacked(event):
            since.setdefault(event.sock, event)
            last[event.sock] = event
        elif (begun := since.pop(event.sock, None)) is not None and event.time - begun.time > ZERO_WINDOW_NS:
            yield _zero(begun, event.time)
    end = _end(timeline)
    for begun in since.values():
        if end - begun.time > ZERO_WINDOW_NS:
            yield _zero(begun, end)


def _zero(begun: Event, until: int) -> Finding:
    held = f"{size(unacked(begun))} wait for a window of 0 since {duration(until - begun.time)}"
    return _found("zero-window", begun, f"{ends(begun)}: {held}")


def _unread_reset(timeline: Timeline) -> Iterator[Finding]:
    closed: dict[int, Event] = {}
    for event in _events(timeline, "socket:state", "reset:sent"):
        if event.name == "socket:state":
            closed[event.sock] = event
            continue
        left = _left_unread(closed.get(event.sock)) if event.sock else 0
        if left or event["why"] == "TCP_ABORT_ON_CLOSE":
            count = size(left) if left else "data"
            yield _found("reset-unread", event, f"{ends(event)} was closed with {count} unread: the peer gets a RST")


def _left_unread(step: Event | None) -> int:
    """Bytes unread when a socket went straight to CLOSE, as tcp_close() lets it when there are any (RFC 2525 2.17)."""
    if step is None or step["new"] != State.CLOSE or not step["known"] & KNOWN_SEQUENCE:
        return 0
    if step["old"] not in (State.ESTABLISHED, State.CLOSE_WAIT):
        return 0
    count = (step["rcv_nxt"] - step["copied_seq"]) & 0xFFFF_FFFF
    return int(count - (count > 0 and step["old"] == State.CLOSE_WAIT))  # the FIN is no byte


def _dead_peer(timeline: Timeline) -> Iterator[Finding]:
    for event in _events(timeline, "reset:sent"):
        if event["why"] == "TCP_KEEPALIVE_TIMEOUT":
            yield _found("dead-peer", event, f"{ends(event)} gave its peer up: keepalive probes had no answer")


def _dropped(timeline: Timeline) -> Iterator[Finding]:
    expected = {*HARMLESS, "", "NOT_SPECIFIED", "NO_SOCKET", "TCP_LISTEN_OVERFLOW"}  # told elsewhere, or tell nothing
    told: set[tuple[int, str]] = set()
    for event in _events(timeline, "segment:dropped"):
        why = event["why"]
        if why not in expected and (event.conn, why) not in told:
            told.add((event.conn, why))
            yield _found("dropped", event, f"{ends(event)}: segments are thrown away: {why}")


def _unaccepted(timeline: Timeline) -> Iterator[Finding]:
    waiting: dict[int, Event] = {}
    for event in _events(timeline, "accept:queued", "accept:taken", "socket:state"):
        if event.name == "accept:queued":
            waiting.setdefault(event.sock, event)
            continue
        if event.name == "socket:state" and event["old"] != State.LISTEN:
            continue
        if event.name == "socket:state" and event["new"] != State.CLOSE:
            continue
        begun = waiting.pop(event.sock, None)
        if begun is not None:
            yield from _late(begun, event.time)
    for begun in waiting.values():
        yield from _late(begun, _end(timeline))


def _late(begun: Event, until: int) -> Iterator[Finding]:
    if until - begun.time > UNACCEPTED_NS:
        waited = duration(until - begun.time)
        yield _found("no-accept", begun, f"{ends(begun)}: a connection waited {waited} for accept()")


LINTS: Final[tuple[Lint, ...]] = (
    Lint("accept-overflow", "error", "a full accept queue turned clients away",
         "accept faster (more workers, no work in the accepting thread) or raise listen()'s backlog and "
         "net.core.somaxconn; `nstat TcpExtListenOverflows` counts on", _overflow),
    Lint("no-accept", "warn", "connections wait in the accept queue for a program that does not take them",
         "look what the listening thread does instead of accept()", _unaccepted),
    Lint("syn-retransmitted", "warn", "a first SYN had no answer, which costs a second at least",
         "see whether the SYN arrived (segment:dropped, accept-overflow) or the SYN-ACK was lost", _syn_again),
    Lint("retransmission-timeout", "warn", "data was lost and no ACK told so: the slow way to recover",
         "look for drops on the path; with few bytes under way there are no duplicate ACKs to recover fast", _timeouts),
    Lint("zero-window", "warn", "the receiving program does not read",
         "look what the peer's program does while its receive queue is full", _zero_window),
    Lint("close-wait", "warn", "the peer has closed, and the program does not",
         "find the read that returned 0 and close the descriptor there; many of these are a leak of descriptors",
         _close_wait),
    Lint("reset-unread", "warn", "close() with unread data sends a RST, which may destroy what was written before it",
         "read to the end before close(), or shutdown(SHUT_WR) and read until 0", _unread_reset),
    Lint("dead-peer", "note", "keepalive found that a peer is gone",
         "nothing, if the peer may vanish; else look for a middlebox that forgets idle connections", _dead_peer),
    Lint("dropped", "warn", "the stack throws segments away",
         "NETFILTER_DROP: look at the rules (`nft list ruleset`); other names are the kernel's enum skb_drop_reason",
         _dropped),
    Lint("timewait-pile", "note", "many ports are tied up for a minute each",
         "keep connections open and reuse them, or let the side with many ports close first; net.ipv4.tcp_tw_reuse "
         "helps clients", _timewait_pile),
)  # fmt: skip
"""Every lint, the gravest first."""
