"""Lints: patterns on the timeline that are trouble more often than not, in words, with evidence and advice.

A lint is a row of ``LINTS``: what it looks for, what it means, what to do. Each check reads the finished timeline and
yields findings, and a finding names the event that shows it, so that whoever doubts it can look. Checks claim nothing
beyond their events: what a probe did not see (a group left out, events lost) does not appear here either.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from tracer.lints import connections, programs
from tracer.lints.basis import Finding, Limits
from tracer.timeline import Timeline

Check = Callable[[Timeline, Limits], Iterator[Finding]]


class Lint(NamedTuple):
    """One thing looked for."""

    name: str
    severity: str
    """chat, note, warn or error, as Wireshark's expert information has them."""
    shows: str
    """What on the timeline shows it."""
    meaning: str
    """What it means."""
    advice: str
    """What to do."""
    check: Check


def check(timeline: Timeline, limits: Limits | None = None) -> list[Finding]:
    """All findings, in the order of the events that show them."""
    found = [finding for lint in LINTS for finding in lint.check(timeline, limits or Limits())]
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


LINTS: Final[tuple[Lint, ...]] = (
    Lint("accept-overflow", "error", "accept:overflow, request:overflow, or a segment dropped with TCP_LISTEN_OVERFLOW",
         "a full queue of a listener turned clients away",
         "accept faster (more workers, no work in the accepting thread) or raise listen()'s backlog and "
         "net.core.somaxconn; `nstat TcpExtListenOverflows` counts on", connections.overflow),
    Lint("no-accept", "warn", "2 s from accept:queued to the next accept:taken of that listener",
         "connections wait in the accept queue for a program that does not take them",
         "look what the listening thread does instead of accept()", connections.unaccepted),
    Lint("fd-leak", "error", "ten connections of one process in CLOSE-WAIT for 5 s at once, or a call that says EMFILE",
         "descriptors of finished connections are kept until there are none left",
         "close the descriptor on every way out of the handler, errors included; `ls /proc/PID/fd` shows them all",
         programs.leak),
    Lint("port-pressure", "error", "connect() or bind() returns EADDRNOTAVAIL",
         "all local ports towards one address are taken, by connections or by their TIME-WAIT",
         "keep connections open and reuse them; more addresses, net.ipv4.ip_local_port_range and "
         "net.ipv4.tcp_tw_reuse give more room", programs.port_pressure),
    Lint("spinning-epoll", "warn", "epoll:wait names a level-triggered socket 100 times while no call touches it",
         "the program is woken again and again for something that it does not do: a processor is burnt",
         "read until EAGAIN, or take away the interest (EPOLLOUT above all) until there is something to do",
         programs.spinning),
    Lint("lost-edge", "warn", "bytes unread for 1 s after a read, on a socket watched with EPOLLET",
         "an edge tells once: what the reader leaves lies there until the peer sends more",
         "with EPOLLET read until EAGAIN, or remember what is left and go on before waiting", programs.lost_edge),
    Lint("small-write-stall", "warn", "less than a segment unsent for 30 ms while a smaller one is not acknowledged",
         "Nagle's algorithm waits for an ACK, and the peer delays it",
         "write what belongs together in one call (writev), or set TCP_NODELAY", programs.stall),
    Lint("syn-retransmitted", "warn", "socket:retransmit in SYN-SENT",
         "a first SYN had no answer, which costs a second at least",
         "see whether the SYN arrived (segment:dropped, accept-overflow) or the SYN-ACK was lost",
         connections.syn_again),
    Lint("retransmission-timeout", "warn", "socket:timer, the retransmission timer",
         "data was lost and no ACK told so: the slow way to recover",
         "look for drops on the path; with few bytes under way there are no duplicate ACKs to recover fast",
         connections.timeouts),
    Lint("zero-window", "warn", "data waits for a window of 0 for 1 s", "the receiving program does not read",
         "look what the peer's program does while its receive queue is full", connections.zero_window),
    Lint("close-wait", "warn", "5 s from CLOSE-WAIT to the next state", "the peer has closed, and the program does not",
         "find the read that returned 0 and close the descriptor there; many of these are a leak of descriptors",
         connections.close_wait),
    Lint("reset-unread", "warn", "reset:sent by a close() with bytes unread",
         "close() with unread data sends a RST, which may destroy what was written before it",
         "read to the end before close(), or shutdown(SHUT_WR) and read until 0", connections.unread_reset),
    Lint("dead-peer", "note", "reset:sent with TCP_KEEPALIVE_TIMEOUT", "keepalive found that a peer is gone",
         "nothing, if the peer may vanish; else look for a middlebox that forgets idle connections",
         connections.dead_peer),
    Lint("dropped", "warn", "segment:dropped with a reason that is not harmless", "the stack throws segments away",
         "NETFILTER_DROP: look at the rules (`nft list ruleset`); other names are the kernel's enum skb_drop_reason",
         connections.dropped),
    Lint("timewait-pile", "note", "2,000 connections of one port in TIME-WAIT at once",
         "many ports are tied up for a minute each",
         "keep connections open and reuse them, or let the side with many ports close first; net.ipv4.tcp_tw_reuse "
         "helps clients", connections.timewait_pile),
)  # fmt: skip
"""Every lint, the gravest first."""
