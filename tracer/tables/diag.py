"""Asking the kernel for its TCP sockets: the sock_diag(7) netlink protocol, as ss(8) speaks it.

One request makes the kernel walk its hash tables and send a message for every socket: listeners, full sockets, request
socks of the SYN queue and TIME_WAIT objects. A message is a fixed struct inet_diag_msg and attributes behind it. They
are taken apart here directly, because a table is read hundreds of times a second and nearly all messages are the same
as the time before: whether anything has changed is one comparison of bytes, and only what has changed is decoded.

The cookie in each message is the kernel's own (sock_gen_cookie), the same that probes see: a request sock, the socket
it becomes and the TIME_WAIT object that takes over share it.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from tracer.kinds import KNOWN_BACKLOG, KNOWN_BUFFERS, KNOWN_SEQUENCE, KNOWN_TIMERS, KNOWN_WINDOW
from tracer.segments import V4_MAPPED
from tracer.states import State

NETLINK_SOCK_DIAG: Final = 4
SOCK_DIAG_BY_FAMILY: Final = 20
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
NLM_F_REQUEST_DUMP: Final = 0x301
ALL_STATES: Final = 0xFFF
INET_DIAG_INFO: Final = 2
INET_DIAG_SKMEMINFO: Final = 7
INET_DIAG_SHUTDOWN: Final = 8
TIMER_RETRANSMIT, TIMER_KEEPALIVE, TIMER_TIMEWAIT, TIMER_PROBE0 = 1, 2, 3, 4
"""idiag_timer, inet_csk_diag_fill()."""

_REQUEST: Final = struct.Struct("=IHHII BBBxI 48x")
_NLMSG: Final = struct.Struct("=IHHII")
_FIXED: Final = struct.Struct("=BBBB2s2s16s16sIQIIIII")
FIXED_BYTES: Final = _FIXED.size
COOKIE: Final = slice(44, 52)
"""Where the cookie is in a message."""
SPORT: Final = slice(4, 6)
DPORT: Final = slice(6, 8)
_EXPIRES: Final = slice(52, 56)
INODE: Final = slice(68, 72)
RECEIVE_BYTES: Final = 1 << 18
REPLY_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Row:
    """One socket as the table shows it."""

    family: int
    """4 or 6."""
    state: State
    timer: int
    """What the timer is for: 0 none, else a TIMER_ of this module."""
    retransmits: int
    local: tuple[tuple[int, int], int]
    """Address (two halves, IPv4 v4-mapped) and port."""
    peer: tuple[tuple[int, int], int]
    cookie: int
    expires_ms: int
    """Until the timer fires."""
    rqueue: int
    """Bytes not read yet; of a listener: connections in the accept queue."""
    wqueue: int
    """Bytes not acknowledged yet; of a listener: the accept queue's limit."""
    uid: int
    inode: int
    """Of the socket's file; 0 when no descriptor refers to it."""
    attributes: dict[int, bytes] = field(default_factory=dict, repr=False)

    @property
    def is_timewait(self) -> bool:
        """A TIME_WAIT object (its state may be FIN_WAIT2: an orphan), not a full socket."""
        return self.timer == TIMER_TIMEWAIT

    @property
    def is_request(self) -> bool:
        """A request sock in a SYN queue: inet_req_diag_fill() gives it no tcp_info, and no file has it."""
        return self.state == State.NEW_SYN_RECV


def dump(netlink: socket.socket, families: tuple[int, ...] = (socket.AF_INET, socket.AF_INET6)) -> list[bytes]:
    """Every TCP socket of the netlink socket's network, one message (struct inet_diag_msg and attributes) each.

    Raises OSError, TimeoutError when the kernel does not answer.
    """
    netlink.settimeout(REPLY_SECONDS)
    messages: list[bytes] = []
    for family in families:
        wanted = 1 << (INET_DIAG_INFO - 1) | 1 << (INET_DIAG_SKMEMINFO - 1)
        size = _REQUEST.size
        netlink.send(
            _REQUEST.pack(
                size, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST_DUMP, 0, 0, family, socket.IPPROTO_TCP, wanted, ALL_STATES
            )
        )
        while _collect(netlink.recv(RECEIVE_BYTES), messages):
            pass
    return messages


def _collect(answer: bytes, messages: list[bytes]) -> bool:
    """Add the messages of one datagram; False when it was the last."""
    at = 0
    while at + _NLMSG.size <= len(answer):
        size, kind, _, _, _ = _NLMSG.unpack_from(answer, at)
        if kind == NLMSG_DONE:
            return False
        if kind == NLMSG_ERROR:
            number = -int(struct.unpack_from("=i", answer, at + _NLMSG.size)[0])
            raise OSError(number, "sock_diag refused")
        messages.append(answer[at + _NLMSG.size : at + size])
        at += (size + 3) & ~3
    return True


def messages(answer: bytes) -> Iterator[bytes]:
    """What a datagram of notices holds: a struct inet_diag_msg and attributes each."""
    at = 0
    while at + _NLMSG.size <= len(answer):
        size, kind, _, _, _ = _NLMSG.unpack_from(answer, at)
        if size < _NLMSG.size:
            return
        if kind == SOCK_DIAG_BY_FAMILY and size >= _NLMSG.size + FIXED_BYTES:
            yield answer[at + _NLMSG.size : at + size]
        at += (size + 3) & ~3


def attributes(message: bytes) -> dict[int, bytes]:
    """The attributes behind the fixed part, by their numbers (INET_DIAG_...)."""
    return dict(_attributes(message))


def signature(message: bytes) -> bytes:
    """What must differ for the socket to count as changed: everything fixed but the countdown of its timer."""
    return message[: _EXPIRES.start] + message[_EXPIRES.stop : FIXED_BYTES]


def expires_ms(message: bytes) -> int:
    """Milliseconds until the socket's timer fires."""
    return int.from_bytes(message[_EXPIRES], sys.byteorder)


def decode(message: bytes) -> Row:
    """Take one message apart."""
    (
        family,
        state,
        timer,
        retransmits,
        sport,
        dport,
        source,
        target,
        _,
        cookie,
        expires,
        rqueue,
        wqueue,
        uid,
        inode,
    ) = _FIXED.unpack_from(message)
    attributes = dict(_attributes(message))
    if state == State.SYN_RECV and not inode and INET_DIAG_INFO not in attributes:
        state = State.NEW_SYN_RECV
    return Row(
        4 if family == socket.AF_INET else 6,
        State(state),
        timer,
        retransmits,
        (_address(family, source), int.from_bytes(sport, "big")),
        (_address(family, target), int.from_bytes(dport, "big")),
        cookie,
        expires,
        rqueue,
        wqueue,
        uid,
        inode,
        attributes,
    )


def _attributes(message: bytes) -> Iterator[tuple[int, bytes]]:
    at = FIXED_BYTES
    while at + 4 <= len(message):
        size, kind = struct.unpack_from("=HH", message, at)
        if size < 4:
            return
        yield kind, message[at + 4 : at + size]
        at += (size + 3) & ~3


def _address(family: int, raw: bytes) -> tuple[int, int]:
    if family == socket.AF_INET:
        return 0, V4_MAPPED | int.from_bytes(raw[:4], "big")
    return int.from_bytes(raw[:8], "big"), int.from_bytes(raw[8:], "big")


def snapshot(row: Row) -> dict[str, int]:
    """The fields of `tracer.kinds.SNAPSHOT` that the table knows, `known` says which groups.

    sock_diag shows no sequence numbers, but how many bytes were received, acknowledged and are queued. The sequence
    fields are therefore counted from the connection's beginning: differences are true, absolute values are not the
    wire's.
    """
    values: dict[str, int] = {"family": row.family, "state": row.state}
    known = 0
    memory = row.attributes.get(INET_DIAG_SKMEMINFO, b"")
    if len(memory) >= 24:
        rmem, rcvbuf, _, sndbuf, _, wmem = struct.unpack_from("=6I", memory)
        values |= {"rmem": rmem, "rcvbuf": rcvbuf, "wmem": wmem, "sndbuf": sndbuf}
        known |= KNOWN_BUFFERS
    shut = row.attributes.get(INET_DIAG_SHUTDOWN, b"")
    if shut:
        values["shutdown"] = shut[0]
    if row.state == State.LISTEN:
        values |= {"ack_backlog": row.rqueue, "max_ack_backlog": row.wqueue}
        return values | {"known": known | KNOWN_BACKLOG}
    info = row.attributes.get(INET_DIAG_INFO, b"")
    if len(info) >= 148:
        values |= _tcp_info(row, info)
        known |= KNOWN_SEQUENCE | KNOWN_WINDOW | KNOWN_TIMERS
    # inet_csk_diag_fill() tells retransmit and probe timers apart, not the reasons for the former.
    values["pending"] = {TIMER_RETRANSMIT: 1, TIMER_PROBE0: 3}.get(row.timer, 0)
    return values | {"known": known}


def _tcp_info(row: Row, info: bytes) -> dict[str, int]:
    """struct tcp_info of include/uapi/linux/tcp.h, which only ever grows at its end."""
    _, ca_state, retransmits, _, backoff = struct.unpack_from("=5B", info)
    rto, _, mss = struct.unpack_from("=3I", info, 8)
    (unacked,) = struct.unpack_from("=I", info, 24)
    rtt, _, ssthresh, cwnd = struct.unpack_from("=4I", info, 68)
    acked, received = struct.unpack_from("=2Q", info, 120)
    (notsent,) = struct.unpack_from("=I", info, 144)
    snd_wnd = struct.unpack_from("=I", info, 228)[0] if len(info) >= 232 else 0
    rcv_wnd = struct.unpack_from("=I", info, 232)[0] if len(info) >= 236 else 0
    mask = 0xFFFF_FFFF
    return {
        "ca_state": ca_state,
        "retransmits": retransmits,
        "backoff": backoff,
        "rto": rto,
        "mss": mss,
        "packets_out": unacked,
        "srtt": rtt,
        "ssthresh": ssthresh,
        "snd_cwnd": cwnd,
        "snd_wnd": snd_wnd,
        "rcv_wnd": rcv_wnd,
        "rcv_nxt": received & mask,
        "copied_seq": (received - row.rqueue) & mask,
        "snd_una": acked & mask,
        "write_seq": (acked + row.wqueue) & mask,
        "snd_nxt": (acked + row.wqueue - notsent) & mask,
    }
