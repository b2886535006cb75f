"""Events in words: one line each, in the field's own terms.

The line is the MESSAGE of a recording (Wireshark's Info column), a row of the text form and the first line of the
inspector, so it must stand alone. System calls are written as strace writes them, flags by the names of the headers
they come from, segments as Wireshark lists them. Names that came from outside are made harmless here, because a line
goes to terminals: control characters and the invisible ones that reorder text are shown as a mark, never sent.
"""

from __future__ import annotations

import errno
import functools
import unicodedata
from collections.abc import Callable, Mapping
from typing import Final

from tracer.replay.analysis import findings_of
from tracer.segments import ACK, AE, CWR, ECE, FIN, PSH, RST, SYN, URG
from tracer.states import STATES, State, Transition
from tracer.timeline import Event
from tracer.timeline import endpoint as endpoint

_UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean(text: str, mark: str = "·") -> str:
    """``text`` with every control, format and unassigned character as ``mark``: of the width it seems to have."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(mark if unicodedata.category(char) in _UNSAFE else char for char in text)


Names = Mapping[int, str]
MOST_FDS: Final = 1 << 20
"""A descriptor is below it (fs.nr_open, unless somebody raised it)."""

TCP_FLAGS: Final[Names] = {
    SYN: "SYN", FIN: "FIN", RST: "RST", PSH: "PSH", ACK: "ACK", URG: "URG", ECE: "ECE", CWR: "CWR", AE: "AE",
}  # fmt: skip
EPOLL: Final[Names] = {
    0x001: "EPOLLIN", 0x002: "EPOLLPRI", 0x004: "EPOLLOUT", 0x008: "EPOLLERR", 0x010: "EPOLLHUP",
    0x2000: "EPOLLRDHUP", 1 << 28: "EPOLLEXCLUSIVE", 1 << 30: "EPOLLONESHOT", 1 << 31: "EPOLLET",
}  # fmt: skip
_EPOLL_OP: Final[Names] = {1: "EPOLL_CTL_ADD", 2: "EPOLL_CTL_DEL", 3: "EPOLL_CTL_MOD"}
_EPOLL_CREATE: Final[Names] = {0o2000000: "EPOLL_CLOEXEC"}
_SHUT: Final[Names] = {0: "SHUT_RD", 1: "SHUT_WR", 2: "SHUT_RDWR"}
_FAMILY: Final[Names] = {1: "AF_UNIX", 2: "AF_INET", 10: "AF_INET6", 16: "AF_NETLINK", 17: "AF_PACKET"}
_SOCK_TYPE: Final[Names] = {1: "SOCK_STREAM", 2: "SOCK_DGRAM", 3: "SOCK_RAW", 5: "SOCK_SEQPACKET"}
_SOCK_FLAGS: Final[Names] = {0o4000: "SOCK_NONBLOCK", 0o2000000: "SOCK_CLOEXEC"}
_MSG: Final[Names] = {
    0x1: "MSG_OOB", 0x2: "MSG_PEEK", 0x40: "MSG_DONTWAIT", 0x100: "MSG_WAITALL", 0x4000: "MSG_NOSIGNAL",
    0x8000: "MSG_MORE",
}  # fmt: skip
_LEVEL: Final[Names] = {0: "IPPROTO_IP", 1: "SOL_SOCKET", 6: "IPPROTO_TCP", 41: "IPPROTO_IPV6"}
_SO: Final[Names] = {
    2: "SO_REUSEADDR", 4: "SO_ERROR", 7: "SO_SNDBUF", 8: "SO_RCVBUF", 9: "SO_KEEPALIVE", 13: "SO_LINGER",
    15: "SO_REUSEPORT", 18: "SO_RCVLOWAT", 20: "SO_RCVTIMEO", 21: "SO_SNDTIMEO", 25: "SO_BINDTODEVICE",
    32: "SO_SNDBUFFORCE", 33: "SO_RCVBUFFORCE", 36: "SO_MARK", 46: "SO_BUSY_POLL", 49: "SO_INCOMING_CPU",
    57: "SO_COOKIE", 60: "SO_ZEROCOPY",
}  # fmt: skip
_TCP_OPTION: Final[Names] = {
    1: "TCP_NODELAY", 2: "TCP_MAXSEG", 3: "TCP_CORK", 4: "TCP_KEEPIDLE", 5: "TCP_KEEPINTVL", 6: "TCP_KEEPCNT",
    7: "TCP_SYNCNT", 8: "TCP_LINGER2", 9: "TCP_DEFER_ACCEPT", 11: "TCP_INFO", 12: "TCP_QUICKACK",
    10: "TCP_WINDOW_CLAMP", 13: "TCP_CONGESTION", 18: "TCP_USER_TIMEOUT", 23: "TCP_FASTOPEN", 24: "TCP_TIMESTAMP",
    25: "TCP_NOTSENT_LOWAT", 30: "TCP_FASTOPEN_CONNECT", 31: "TCP_ULP", 36: "TCP_INQ",
}  # fmt: skip
_IPV6_OPTION: Final[Names] = {26: "IPV6_V6ONLY", 67: "IPV6_TCLASS"}
_IP_OPTION: Final[Names] = {1: "IP_TOS", 2: "IP_TTL", 24: "IP_BIND_ADDRESS_NO_PORT"}
_IOCTL: Final[Names] = {0x5421: "FIONBIO", 0x541B: "FIONREAD", 0x5411: "SIOCOUTQ"}
_FILE: Final[Names] = {0o2: "O_RDWR", 0o2000: "O_APPEND", 0o4000: "O_NONBLOCK", 0o20000: "O_ASYNC"}
_FCNTL: Final[Names] = {0: "F_DUPFD", 1: "F_GETFD", 2: "F_SETFD", 3: "F_GETFL", 4: "F_SETFL", 1030: "F_DUPFD_CLOEXEC"}


def bits(value: int, names: Names, join: str = "|", none: str = "0") -> str:
    """The names of the bits set in ``value``; bits without a name in hexadecimal."""
    found = [name for bit, name in names.items() if value & bit]
    rest = value & ~sum(names)
    return join.join([*found, *([hex(rest)] if rest else [])]) or none


@functools.lru_cache(256)
def flags(value: int) -> str:
    """TCP control bits as Wireshark writes them: SYN,ACK."""
    return bits(value, TCP_FLAGS, ",", "none")


def epoll(value: int) -> str:
    """An epoll mask: EPOLLIN|EPOLLRDHUP."""
    return bits(value & 0xFFFF_FFFF, EPOLL)


def result(value: int) -> str:
    """A call's return value: a number, or the errno's name for a negative one."""
    return errno.errorcode.get(-value, str(value)) if -4096 < value < 0 else str(value)


def size(value: int) -> str:
    """A count of bytes, short: 512 B, 64 KiB."""
    if value >= 1 << 20 and value % (1 << 20) == 0:
        return f"{value >> 20} MiB"
    if value >= 10 << 10:
        return f"{value / 1024:.0f} KiB"
    return f"{value} B"


def duration(ns: int) -> str:
    """A time span, three digits and a unit: 41.2 µs, 2.30 s."""
    for unit, name in ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs")):
        if abs(ns) >= unit:
            value = ns / unit
            return f"{value:.{max(0, 3 - len(str(int(abs(value)))))}f} {name}"
    return f"{ns} ns"


def label(state: int) -> str:
    """A state's name for people."""
    try:
        return STATES[State(state)].label
    except ValueError:
        return f"state {state}"


def ends(event: Event) -> str:
    """Local end and peer of an event that has them: 127.0.0.1:40000 → 127.0.0.1:8080."""
    return event.ends


def _socket(args: list[int]) -> str:
    kind = bits(args[1] & ~0xF, _SOCK_FLAGS, none="")
    kind = _SOCK_TYPE.get(args[1] & 0xF, str(args[1] & 0xF)) + (f"|{kind}" if kind else "")
    return f"{_FAMILY.get(args[0], args[0])}, {kind}, {args[2]}"


def _option(args: list[int]) -> str:
    names = {0: _IP_OPTION, 1: _SO, 6: _TCP_OPTION, 41: _IPV6_OPTION}.get(args[1], {})
    return f"{args[0]}, {_LEVEL.get(args[1], args[1])}, {names.get(args[2], args[2])}"


def _set_option(args: list[int]) -> str:
    level, option, value = args[1:]
    if (level, option) == (1, 13):  # struct linger
        shown = f"{{onoff={value & 0xFFFF_FFFF}, linger={value >> 32}}}"
    elif (level, option) in ((6, 13), (6, 31)):  # a name
        shown = clean(value.to_bytes(8, "little").rstrip(b"\0").decode("ascii", "replace"))
    else:
        shown = str((value ^ 1 << 31) - (1 << 31)) if value < 1 << 32 else "…"  # an int, or more than that
    return f"{_option(args)}, {shown}"


def _file_control(args: list[int]) -> str:
    flags = f", {bits(args[2], _FILE)}" if args[1] == 4 else ""
    return f"{args[0]}, {_FCNTL.get(args[1], args[1])}{flags}"


def _device_control(args: list[int]) -> str:
    return f"{args[0]}, {_IOCTL.get(args[1], hex(args[1]))}" + (f", {args[3]}" if args[1] == 0x5421 else "")


def _data(args: list[int]) -> str:
    return f"{args[0]}, {args[2]}" + (f", {bits(args[3], _MSG)}" if args[3] else "")


_ARGS: Final[dict[str, Callable[[list[int]], str]]] = {
    "socket": _socket,
    "listen": lambda a: f"{a[0]}, {a[1]}",
    "accept4": lambda a: f"{a[0]}" + (f", {bits(a[3], _SOCK_FLAGS)}" if a[3] else ""),
    "shutdown": lambda a: f"{a[0]}, {_SHUT.get(a[1], a[1])}",
    "setsockopt": _set_option,
    "getsockopt": _option,
    "sendto": _data,
    "recvfrom": _data,
    "read": lambda a: f"{a[0]}, {a[2]}",
    "write": lambda a: f"{a[0]}, {a[2]}",
    "epoll_create": lambda a: str(a[0]),
    "epoll_create1": lambda a: bits(a[0], _EPOLL_CREATE),
    "epoll_ctl": lambda a: f"{a[0]}, {_EPOLL_OP.get(a[1], a[1])}, {a[2]}",
    "fcntl": _file_control,
    "ioctl": _device_control,
    "sendfile": lambda a: f"{a[0]}, {a[1]}, {a[3]}",
    "dup2": lambda a: f"{a[0]}, {a[1]}",
    "dup3": lambda a: f"{a[0]}, {a[1]}",
    "poll": lambda a: f"{a[1]} fds",
    "select": lambda a: f"{a[0]}",
}
"""How the arguments of a call are written; other calls show the descriptor they begin with."""
LIBC: Final = {"sendto": "send", "recvfrom": "recv", "accept4": "accept"}
"""What the program wrote: the C library makes these calls for it."""
_MAKES_FD: Final = frozenset({"socket", "epoll_create", "epoll_create1"})
"""Calls without a descriptor before they return one."""
_NO_FD: Final = frozenset({"nanosleep", "clock_nanosleep", "futex", "ppoll", "pselect6", "io_uring_setup"})


def call(event: Event) -> str:
    """A system call as strace would begin or end it: ``shutdown(5, SHUT_WR)``, ``accept(3) = 7``."""
    name = event.call
    shown = LIBC.get(name, name)
    if event.name == "syscall:enter":
        args = event["args"]
        if not any(args) and event.fd >= 0:
            return f"{shown}({event.fd})"  # reported by an actor, who does not tell the others
        write = _ARGS.get(name)
        return f"{shown}({write(args) if write else '' if name in _NO_FD else args[0]})"
    fd = "" if event.fd < 0 or name in _MAKES_FD else str(event.fd)
    if name == "shutdown":
        fd += f", {_SHUT.get(event['arg1'], event['arg1'])}"
    told = f"{shown}({fd}) = {result(event['ret'])}"
    return f"{told} (what goes through io_uring is not followed)" if name == "io_uring_setup" else told


def segment(event: Event) -> str:
    """A segment as Wireshark lists it: 40000 → 80 [SYN] Seq=1 Win=64240 Len=0."""
    ack = f" Ack={event['ack']}" if event["flags"] & ACK else ""
    found = "".join(f"[{row.label.partition(' {')[0]}] " for row in findings_of(event["analysis"]))
    options = (f" MSS={event['mss']}" if event["mss"] else "") + (
        f" WS={1 << event['wscale']}" if event["wscale"] >= 0 and event["flags"] & SYN else ""
    )
    return (
        f"{found}{event['sport']} → {event['dport']} [{flags(event['flags'])}] Seq={event['seq']}{ack} "
        f"Win={event['window']} Len={event['length']}{options}"
    )


def _waited_for(data: int) -> str:
    """Of the 64 bits programs that store the descriptor set 32 (epoll_data_t is a union); others store a pointer."""
    return f"fd {data & 0xFFFF_FFFF}" if data & 0xFFFF_FFFF < MOST_FDS else f"data {data:#x}"


def ready(event: Event) -> str:
    """What epoll_wait() returned: fd 7 EPOLLIN|EPOLLRDHUP. The program's data stands for the descriptor."""
    n = event["n"]
    if n < 0:
        return result(n)
    shown = list(zip(event["data"], event["events"], strict=True))[: min(n, 8)]
    entries = [f"{_waited_for(data)} {epoll(mask)}" for data, mask in shown]
    return ", ".join(entries) + (f" and {n - 8} more" if n > 8 else "") if entries else "nothing (timeout)"


def _queue(event: Event) -> str:
    return f"accept queue {event['ack_backlog']}/{event['max_ack_backlog']}"


def _request(what: str) -> Callable[[Event], str]:
    return lambda e: f"{what} {ends(e)}, SYN queue {e['qlen']}/{e['max_ack_backlog']}"


def _wait(what: str) -> Callable[[Event], str]:
    def write(event: Event) -> str:
        left = f", {duration(event['left'])} left" if event["left"] > 0 else ""
        return f"{label(event['substate'])} {what} {ends(event)}{left}"

    return write


_FIN_RECEIVED: Final = frozenset({State.CLOSE_WAIT, State.LAST_ACK, State.CLOSING, State.TIME_WAIT, State.CLOSE})
_FIN_UNACKED: Final = frozenset({State.FIN_WAIT1, State.CLOSING, State.LAST_ACK})


def unread(event: Event) -> int:
    """Bytes that the program has not read yet. A FIN takes a sequence number (RFC 9293 section 3.4) but is no byte."""
    count = int(event["rcv_nxt"] - event["copied_seq"]) & 0xFFFF_FFFF
    return count - (count > 0 and event["state"] in _FIN_RECEIVED)


def unacked(event: Event) -> int:
    """Bytes written and not acknowledged, sent or not; a FIN is not counted."""
    count = int(event["write_seq"] - event["snd_una"]) & 0xFFFF_FFFF
    return count - (count > 0 and event["state"] in _FIN_UNACKED)


def _buffers(event: Event) -> str:
    return f"receive queue {size(unread(event))}, send queue {size(unacked(event))}"


_TIMER: Final[Names] = {
    1: "retransmission timeout", 2: "zero window probe timer", 3: "keepalive timer", 4: "delayed ACK timer",
    5: "tail loss probe timer", 6: "reordering timer", 7: "FIN-WAIT-2 timer",
}  # fmt: skip
CONGESTION: Final[Names] = {0: "Open", 1: "Disorder", 2: "CWR", 3: "Recovery", 4: "Loss"}
"""enum tcp_ca_state."""
HARMLESS: Final[Mapping[str, str]] = {
    "TCP_OLD_SEQUENCE": "an old sequence number, as in a keepalive or window probe: it is answered",
    "TCP_OLD_DATA": "it came twice",
    "TCP_OLD_ACK": "a newer ACK has come before",
    "TCP_TOO_OLD_ACK": "a newer ACK has come before",
    "TCP_INVALID_SYN": "a SYN in an open connection: it is answered with an ACK (RFC 5961)",
    "TCP_OFOMERGE": "another segment in the out-of-order queue holds its bytes",
    "TCP_RESET": "the RST has done its work",
    "QUEUE_PURGE": "the queue it was in has ended",
    "SOCKET_CLOSE": "its socket has ended",
    "SKB_CONSUMED": "it was used up",
    "OTHERHOST": "a frame that passed an interface on its way to another one",
}
"""Reasons to throw a segment away that are nothing to worry about, and why."""


def _timer(event: Event) -> str:
    name = _TIMER.get(event["timer"], f"timer {event['timer']}")
    more = {
        1: f": {duration(event['rto'] * 1000)} were up, backoff {event['backoff']}",
        2: f": {event['probes']} probes without an answer, backoff {event['backoff']}",
        3: f": {event['probes']} probes without an answer",
    }
    return f"{name} of {ends(event)} fires{more.get(event['timer'], '')}"


def _reset(event: Event) -> str:
    state = f" in {label(event['state'])}" if event["state"] else ""
    return f"{ends(event)} sends a RST{state}" + (f": {clean(event['why'])}" if event["why"] else "")


def _dropped(event: Event) -> str:
    why = event["why"]
    ease = f" (harmless: {HARMLESS[why]})" if why in HARMLESS else ""
    here, there = endpoint(event["saddr"], event["sport"]), endpoint(event["daddr"], event["dport"])
    path = f"{here} → {there} on its way out" if event["outgoing"] else f"{there} → {here}"
    told = clean(why) or "the kernel gives no reason"
    return f"dropped [{flags(event['flags'])}] Seq={event['seq']} {path}: {told}{ease}"


def _fate(did: str) -> Callable[[Event], str]:
    def words(event: Event) -> str:
        later = f" by {duration(event['delay'])}" if event["delay"] else ""
        what = f"[{flags(event['flags'])}] Seq={event['seq']} Len={event['length']} {ends(event)}"
        return f"the wire {did} {what}{later}: {clean(event['why'])}"

    return words


def _woken(event: Event) -> str:
    return f"{clean(event['comm'])} ({event.tid}) is woken by thread {event['other']}"


def _task(event: Event) -> str:
    name = f" ({clean(event['name'])})" if event["name"] else ""
    who = f"{clean(event['runtime'])} task {event['task']}{name}"
    what = f"{clean(event['old'])} → {clean(event['new'])}" if event["old"] else clean(event["new"])
    why = f": {clean(event['why'])}" if event["why"] else ""
    fd = f" on fd {event.fd}" if event.fd >= 0 else ""
    by = f", by task {event['by']}" if event["by"] not in (0, event["task"]) else ""
    return f"{who} {what}{why}{fd}{by}"


def _poll(event: Event) -> str:
    def place(name: str) -> str:
        was, now = clean(event[f"{name}_was"]), clean(event[name])
        return f"{name} {now}" if was in ("", now) else f"{name} {was} → {now}"

    return f"poll descriptor of fd {event.fd}: {place('rg')}, {place('wg')} ({clean(event['why'])})"


def _asks(event: Event) -> str:
    delay = event["delay"]
    how = "until something is" if delay < 0 else f"for at most {duration(delay)}" if delay else "without waiting"
    return f"{clean(event['runtime'])} asks epoll what is ready, {how}: {clean(event['caller'])} on thread {event.tid}"


_WORDS: Final[dict[str, Callable[[Event], str]]] = {
    "trace:note": lambda e: clean(e["text"]),
    "trace:lost": lambda e: f"{e['lost']} events lost here, {e['total']} in all",
    "trace:unseen": lambda e: f"softirqs of this machine in which the kernel ran no probe: {e['softirqs']}",
    "trace:anomaly": lambda e: clean(e["text"]),
    "actor:step": lambda e: f"[{e['step']}] {clean(e['actor'])}: {clean(e['text'])}",
    "actor:report": lambda e: f"{clean(e['actor'])}: {clean(e['text'])}",
    "process:fork": lambda e: f"{clean(e['comm'])} forks {e['child']}",
    "process:exit": lambda e: f"{clean(e['comm'])} ({e.tid}) ends",
    "syscall:enter": call,
    "syscall:exit": call,
    "thread:blocked": lambda e: f"{clean(e['comm'])} ({e.tid}) " + ("sleeps" if e["was"] else "is preempted"),
    "thread:woken": _woken,
    "thread:running": lambda e: f"{clean(e['comm'])} ({e.tid}) runs",
    "epoll:ctl": lambda e: f"{_EPOLL_OP.get(e['op'], e['op'])} fd {e.fd} in epoll {e['epfd']}: {epoll(e['events'])}",
    "epoll:ready": lambda e: f"readiness of fd {e.fd} reaches its epoll ({label(e['state'])})",
    "epoll:wait": lambda e: f"epoll_wait({e['epfd']}) = " + (f"{e['n']}: {ready(e)}" if e["n"] >= 0 else ready(e)),
    "socket:state": lambda e: f"{label(e['old'])} → {label(e['new'])} {ends(e)}",
    "socket:destroy": lambda e: f"socket {ends(e)} is freed",
    "socket:readable": lambda e: f"{ends(e)} is readable: {_buffers(e)}",
    "socket:writable": lambda e: f"{ends(e)} is writable again: {_buffers(e)}",
    "socket:queues": lambda e: f"{ends(e)}: {_queue(e)}" if e["state"] == State.LISTEN else f"{ends(e)}: {_buffers(e)}",
    "request:born": _request("request sock enters the SYN queue:"),
    "request:timer": _request("SYN-ACK timer of request sock"),
    "request:gone": _request("request sock leaves the SYN queue:"),
    "accept:queued": lambda e: f"a connection enters the {_queue(e)}",
    "accept:taken": lambda e: f"accept() took fd {e['child_fd']}: {_queue(e)}",
    "timewait:born": _wait("object takes over"),
    "timewait:rearmed": _wait("timer begins anew"),
    "timewait:cancelled": _wait("object ends early"),
    "timewait:expired": _wait("object's time is over"),
    "socket:retransmit": lambda e: (
        f"{ends(e)} retransmits Seq={e['seq']} Len={(e['end_seq'] - e['seq']) & 0xFFFF_FFFF}, cwnd {e['snd_cwnd']}"
    ),
    "socket:timer": _timer,
    "socket:congestion": lambda e: (
        f"{ends(e)} congestion {CONGESTION.get(e['ca_state'], e['ca_state'])} → "
        f"{CONGESTION.get(e['ca_next'], e['ca_next'])}, cwnd {e['snd_cwnd']}"
    ),
    "request:retransmit": lambda e: f"SYN-ACK of {ends(e)} is sent again",
    "reset:sent": _reset,
    "reset:received": lambda e: f"RST ends {ends(e)} in {label(e['state'])}: {_buffers(e)}",
    "segment:dropped": _dropped,
    "request:overflow": lambda e: (
        f"SYN of {endpoint(e['peer'], e['peer_port'])} dropped: SYN queue {e['qlen']}/{e['max_ack_backlog']} is full"
    ),
    "accept:overflow": lambda e: f"SYN of {endpoint(e['peer'], e['peer_port'])} dropped: {_queue(e)} is full",
    "counters:listen": lambda e: (
        f"turned away by full accept queues: {e['overflows']} ({e['all_overflows']} in all), "
        f"by listeners for any reason: {e['drops']} ({e['all_drops']})"
    ),
    "packet:sent": lambda e: f"sent {segment(e)}",
    "packet:received": lambda e: f"received {segment(e)}",
    "packet:captured": segment,
    "network:dropped": _fate("loses"),
    "network:delayed": _fate("delays"),
    "network:held": _fate("keeps"),
    "network:released": _fate("lets go"),
    "network:duplicated": _fate("doubles"),
    "network:reordered": _fate("lets others overtake"),
    "network:damaged": _fate("damages"),
    "task:state": _task,
    "polldesc:change": _poll,
    "poller:asks": _asks,
}


def why(step: Transition) -> str:
    """Why a step of the table follows, in a sentence, and where that is written."""
    return f"{step.why} ({step.rfc})"


def message(event: Event) -> str:
    """The event in one line of harmless text."""
    return _WORDS[event.name](event)
