"""The numbers an event carries, as the inspector writes them: only what is known, each with its unit.

A probe reads what it can of a socket (the `known` bits say which groups), a packet has its header, and a zero from a
field that nobody filled must never look like a measured zero.
"""

from __future__ import annotations

from tracer.events import PACKETS
from tracer.kinds import KNOWN_BACKLOG, KNOWN_BUFFERS, KNOWN_SEQUENCE, KNOWN_TIMERS, KNOWN_WINDOW
from tracer.segments import ACK
from tracer.timeline import Event
from tracer.words import duration, flags, size

NO_SSTHRESH = 0x7FFF_FFFF
"""TCP_INFINITE_SSTHRESH: no loss yet."""
_TIMERS = {1: "retransmit", 2: "delayed ACK", 3: "persist", 5: "loss probe", 6: "reordering"}
_MASK = 0xFFFF_FFFF


def numbers(event: Event) -> list[str]:
    """Lines of numbers; none where the event has none."""
    if event.number in PACKETS:
        return _segment(event)
    return _socket(event) if "known" in event else []


def sequence_space(event: Event) -> tuple[int, int]:
    """Bytes received and not read by the program; bytes written by it and not acknowledged. A FIN counts as one."""
    return (event["rcv_nxt"] - event["copied_seq"]) & _MASK, (event["write_seq"] - event["snd_una"]) & _MASK


def _segment(event: Event) -> list[str]:
    ack = f"  ack {event['ack']}" if event["flags"] & ACK else ""
    lines = [
        f"{flags(event['flags'])}  len {event['length']}",
        f"seq {event['seq']}{ack}",
        f"win {event['window']} (unscaled)  ttl {event['ttl']}",
    ]
    options = [f"mss {event['mss']}"] if event["mss"] else []
    options += [f"wscale {event['wscale']}"] if event["wscale"] >= 0 and event["flags"] & 2 else []
    options += ["sackOK"] if event["sack_permitted"] else []
    options += [f"TS val {event['tsval']} ecr {event['tsecr']}"] if event["has_ts"] else []
    blocks = zip(event["sack_left"], event["sack_right"], strict=True)
    options += [f"sack {left}-{right}" for left, right in list(blocks)[: event["n_sack"]]]
    return lines + ([", ".join(options)] if options else [])


def _socket(event: Event) -> list[str]:
    known = event["known"]
    lines = []
    if known & KNOWN_SEQUENCE:
        unread, unacked = sequence_space(event)
        lines.append(f"unread {unread} B  unacked {unacked} B")
        lines.append(f"snd_nxt {event['snd_nxt']}  rcv_nxt {event['rcv_nxt']}")
    if known & KNOWN_WINDOW:
        ssthresh = "∞" if event["ssthresh"] >= NO_SSTHRESH else str(event["ssthresh"])
        lines.append(f"cwnd {event['snd_cwnd']}  ssthresh {ssthresh}  out {event['packets_out']}")
        lines.append(f"wnd peer's {size(event['snd_wnd'])}  ours {size(event['rcv_wnd'])}")
    if known & KNOWN_TIMERS:
        lines.append(f"srtt {duration(event['srtt'] * 1000)}  rto {duration(event['rto'] * 1000)}")
        if event["pending"]:
            name = _TIMERS.get(event["pending"], str(event["pending"]))
            lines.append(f"timer {name}  backoff {event['backoff']}  rtx {event['retransmits']}")
    if known & KNOWN_BUFFERS:
        lines.append(f"rmem {size(event['rmem'])} of {size(event['rcvbuf'])}")
        lines.append(f"wmem {size(event['wmem'])} of {size(event['sndbuf'])}")
    if known & KNOWN_BACKLOG:
        lines.append(f"SYN queue {event['qlen']}  accept queue {event['ack_backlog']}/{event['max_ack_backlog']}")
    return lines


def hexdump(data: bytes, columns: int = 8) -> list[str]:
    """`0000  45 00 00 3c ...`, so many bytes a line."""
    return [f"{at:04x}  {data[at : at + columns].hex(' ')}" for at in range(0, len(data), columns)]
