"""Every kind of event, declared once.

The timeline holds one thing: events. What an event is called, in which lane it is drawn, which fields it carries, in
which unit and with what meaning stands in the table ``KINDS`` and nowhere else. The numpy dtypes of the timeline, the
C structs and enum of the probes, the JSON names, the journal fields of a recording and the reference page of the docs
are all made from it. A field that the probes do not fill (it is worked out in user space) is marked ``derived``.

Every event begins with the same head (``HEAD``): when, where, who, which socket and connection, and how we know it
(its evidence). ``time`` is nanoseconds since the Unix epoch on one clock; the *order* of an event is its position in
the timeline, because two events may share a nanosecond but never a position.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from tracer.field_types import MAX_HEADER_BYTES as MAX_HEADER_BYTES
from tracer.field_types import MAX_READY as MAX_READY
from tracer.field_types import TYPES as TYPES
from tracer.field_types import Field as Field
from tracer.task_fields import ASKS, POLL, TASK


class Evidence(IntEnum):
    """How a fact is known. Shown with every fact."""

    OBSERVED = 1  # a probe in the kernel or the program saw it happen
    CAPTURED = 2  # it was on the wire, or in a capture file
    SAMPLED = 3  # a table (sock_diag) was read at that moment; what was between two readings is not known
    INFERRED = 4  # worked out from packets by the rules of RFC 9293
    REPORTED = 5  # a scenario's actor or the tracer itself says so


EVIDENCE_MARK: Final[dict[Evidence, str]] = {
    Evidence.OBSERVED: "",
    Evidence.CAPTURED: "",
    Evidence.SAMPLED: "~",
    Evidence.INFERRED: "?",
    Evidence.REPORTED: "",
}
"""What follows a state on screen so that a guess never looks like a sighting."""


class Certainty(IntEnum):
    """How firmly an inferred state stands. Packets show what was sent; what arrived is only deduced."""

    NONE = 0  # not inferred
    CERTAIN = 1  # the end's own segments show it
    PROVISIONAL = 2  # deduced from a segment that it should have received, or partly seen
    CORRECTED = 3  # an earlier deduction was wrong: the step back, which is no transition of the table


class Source(IntEnum):
    """Which part of the tracer brought the event in."""

    KERNEL = 1  # eBPF probes
    WIRE = 2  # AF_PACKET
    TABLE = 3  # sock_diag
    FILE = 4  # a capture file
    ENGINE = 5  # the analysis engine, from packets
    STAGE = 6  # a scenario
    RUNTIME = 7  # Go, asyncio, a netpoller
    TRACER = 8  # the tracer about itself


class Side(IntEnum):
    """Which end of its connection an event belongs to; for a packet, the end that sent it."""

    NONE = 0
    CLIENT = 1  # opened actively: sent the first SYN
    SERVER = 2


class Lane(IntEnum):
    """Where an event is drawn."""

    PROGRAM = 1
    THREAD = 2
    EPOLL = 3
    SOCKET = 4
    QUEUE = 5
    TIMER = 6
    WIRE = 7
    TRACE = 8


class Ring(IntEnum):
    """Which kernel ring carries the kind; every ring has records of one size. NONE: not made by probes."""

    NONE = 0
    SMALL = 1
    OBJECT = 2
    SOCKET = 3


STRIDE: Final[dict[Ring, int]] = {Ring.SMALL: 104, Ring.OBJECT: 192, Ring.SOCKET: 256}
"""Bytes from one ring record to the next, the ring's own 8-byte header included."""


class Kind(NamedTuple):
    """One kind of event."""

    name: str
    """``category:event``."""
    lane: Lane
    ring: Ring
    meaning: str
    fields: tuple[Field, ...]


HEAD_FIELDS: Final[tuple[Field, ...]] = (
    Field("time", "u64", "ns", "when, since the Unix epoch (in a probe's record: CLOCK_MONOTONIC)"),
    Field("ctx", "u64", "ns", "probe time of the packet:received in whose processing this happened; 0 outside of one"),
    Field("addr", "ptr", "", "kernel address of the socket object; reused, so never an identity by itself"),
    Field("cookie", "u64", "", "the kernel's socket cookie, unique; 0 where none is known"),
    Field("pid", "u32", "", "process (thread group); in softirq context whoever was on the CPU, see ctx"),
    Field("tid", "u32", "", "thread"),
    Field("fd", "i32", "", "file descriptor in that process; -1 where none"),
    Field("kind", "u16", "", "number of the kind"),
    Field("cpu", "u16", "", "processor"),
    Field("probe_time", "u64", "ns", "the probe's own clock, to match ctx and by", derived=True),
    Field("sock", "u32", "", "sequential number of the socket on this timeline; 0 none", derived=True),
    Field("conn", "u32", "", "sequential number of the connection on this timeline; 0 none", derived=True),
    Field("row", "u32", "", "position in the table of this kind's fields", derived=True),
    Field("source", "u8", "", "which part of the tracer brought it", derived=True),
    Field("evidence", "u8", "", "how it is known", derived=True),
    Field("side", "u8", "", "which end of the connection; for a packet its sender", derived=True),
)

_TUPLE: Final = (
    Field("saddr", "addr", "", "local address"),
    Field("daddr", "addr", "", "peer's address"),
    Field("sport", "u16", "", "local port; 0 while not chosen yet"),
    Field("dport", "u16", "", "peer's port"),
    Field("netns", "u32", "", "inode of the network namespace"),
)

KNOWN_SEQUENCE: Final = 1
KNOWN_WINDOW: Final = 2
KNOWN_BUFFERS: Final = 4
KNOWN_BACKLOG: Final = 8
KNOWN_TIMERS: Final = 16

SNAPSHOT: Final = (
    *_TUPLE,
    Field("rcv_nxt", "u32", "sequence", "next byte expected from the peer"),
    Field("copied_seq", "u32", "sequence", "first byte the program has not read"),
    Field("snd_una", "u32", "sequence", "oldest byte not acknowledged"),
    Field("snd_nxt", "u32", "sequence", "next byte to send"),
    Field("write_seq", "u32", "sequence", "end of what the program has written"),
    Field("snd_wnd", "u32", "bytes", "window the peer offers"),
    Field("rcv_wnd", "u32", "bytes", "window we offer"),
    Field("snd_cwnd", "u32", "segments", "congestion window"),
    Field("ssthresh", "u32", "segments", "slow start threshold; 2147483647 before any loss"),
    Field("srtt", "u32", "us", "smoothed round-trip time"),
    Field("rto", "u32", "us", "retransmission timeout"),
    Field("mss", "u32", "bytes", "maximum segment size in use"),
    Field("packets_out", "u32", "segments", "sent and not acknowledged"),
    Field("rmem", "i32", "bytes", "memory taken by the receive queue"),
    Field("rcvbuf", "i32", "bytes", "its limit"),
    Field("wmem", "i32", "bytes", "memory taken by the send queue"),
    Field("sndbuf", "i32", "bytes", "its limit"),
    Field("ack_backlog", "u32", "connections", "accept queue of a listener"),
    Field("max_ack_backlog", "u32", "connections", "its limit"),
    Field("qlen", "i32", "requests", "SYN queue of a listener"),
    Field("young", "i32", "requests", "those of it whose SYN-ACK was sent once"),
    Field("err", "i32", "errno", "pending error (SO_ERROR)"),
    Field("known", "u8", "bits", "which groups above are known: 1 sequence, 2 window, 4 buffers, 8 backlog, 16 timers"),
    Field("family", "u8", "", "of the socket: 4 or 6"),
    Field("state", "state", "", "of the socket when this was recorded"),
    Field("shutdown", "u8", "bits", "1 receiving, 2 sending half shut"),
    Field("pending", "u8", "", "timer pending (ICSK_TIME_*): 1 retransmit, 3 probe0, 5 loss probe, 6 reordering"),
    Field("backoff", "u8", "", "doublings of the timeout"),
    Field("retransmits", "u8", "", "retransmissions in a row without an answer"),
    Field("ca_state", "u8", "", "congestion state: 0 open, 1 disorder, 2 cwr, 3 recovery, 4 loss"),
)
"""What is read of a socket at every event about it: its queues, windows and timers at that moment. At changes of state
and at the end only where the groups queues or resets are asked for; else ``known`` is 0."""

_TURNED_AWAY: Final = (
    *SNAPSHOT,
    Field("peer", "addr", "", "who knocked"),
    Field("peer_port", "u16", "", "and from which port"),
)

_REQUEST: Final = (
    *_TUPLE,
    Field("listener", "ptr", "", "kernel address of the listener"),
    Field("qlen", "i32", "requests", "SYN queue of the listener, after this"),
    Field("young", "i32", "requests", "those of it whose SYN-ACK was sent once"),
    Field("ack_backlog", "u32", "connections", "accept queue of the listener"),
    Field("max_ack_backlog", "u32", "connections", "limit of both queues"),
    Field("family", "u8", "", "4 or 6"),
    Field("timeouts", "u8", "", "SYN-ACK timeouts so far"),
)

_TIMEWAIT: Final = (
    *_TUPLE,
    Field("left", "i64", "ns", "until the timer as armed fires; 0 when it fired or was cancelled"),
    Field("family", "u8", "", "4 or 6"),
    Field("substate", "state", "", "TIME_WAIT, or FIN_WAIT2 for an orphan"),
)

_PACKET: Final = (
    Field("skb", "ptr", "", "kernel address of the buffer: on loopback the same when sent and when received"),
    Field("netns", "u32", "", "inode of the network namespace"),
    Field("ifindex", "u32", "", "interface"),
    Field("wire_len", "u32", "bytes", "length from the IP header on"),
    Field("caplen", "u16", "bytes", "how much of it is in raw"),
    Field("raw", "header", "", "the IP and TCP header, no payload"),
    Field("saddr", "addr", "", "sender", derived=True),
    Field("daddr", "addr", "", "receiver", derived=True),
    Field("offset", "u64", "bytes", "where the frame begins in its file", derived=True),
    Field("seq", "u32", "sequence", "sequence number", derived=True),
    Field("ack", "u32", "sequence", "acknowledgement number", derived=True),
    Field("length", "u32", "bytes", "payload", derived=True),
    Field("tsval", "u32", "", "RFC 7323 timestamp", derived=True),
    Field("tsecr", "u32", "", "RFC 7323 timestamp echoed", derived=True),
    Field("sack_left", "edge4", "sequence", "left edges of SACK blocks (RFC 2018)", derived=True),
    Field("sack_right", "edge4", "sequence", "right edges of SACK blocks", derived=True),
    Field("frame", "u32", "", "number of the packet in its file, or of this kind on the timeline", derived=True),
    Field("sport", "u16", "", "sender's port", derived=True),
    Field("dport", "u16", "", "receiver's port", derived=True),
    Field("flags", "tcpflags", "", "control bits", derived=True),
    Field("window", "u16", "bytes", "as in the header, unscaled", derived=True),
    Field("urgent", "u16", "bytes", "urgent pointer", derived=True),
    Field("mss", "u16", "bytes", "maximum segment size option; 0 absent", derived=True),
    Field("ip_id", "u16", "", "IPv4 identification; 0 for IPv6", derived=True),
    Field("wscale", "i8", "bits", "window scale option; -1 absent", derived=True),
    Field("sack_permitted", "u8", "", "SACK permitted option", derived=True),
    Field("n_sack", "u8", "", "SACK blocks", derived=True),
    Field("has_ts", "u8", "", "timestamps option present", derived=True),
    Field("family", "u8", "", "4 or 6", derived=True),
    Field("ttl", "u8", "hops", "TTL or hop limit", derived=True),
    Field("header", "u8", "bytes", "TCP header length", derived=True),
    Field("partial", "u8", "", "1: the snapshot cut the TCP options", derived=True),
    Field("analysis", "u32", "bits", "Wireshark-class findings (tracer.replay)", derived=True),
)

_THREAD: Final = (
    Field("comm", "comm", "", "name of the thread"),
    Field("other", "u32", "", "the other thread: who runs next, who ran before, who woke"),
    Field("was", "u32", "", "scheduler state left: 0 runnable (preempted), 1 interruptible, 2 uninterruptible"),
    Field("by", "u64", "ns", "probe time of the readiness notice that woke it; 0 where none was seen"),
)

_FATE: Final = (
    Field("saddr", "addr", "", "sender"),
    Field("daddr", "addr", "", "receiver"),
    Field("sport", "u16", "", "sender's port"),
    Field("dport", "u16", "", "receiver's port"),
    Field("netns", "u32", "", "inode of the sender's network namespace"),
    Field("seq", "u32", "sequence", "sequence number"),
    Field("ack", "u32", "sequence", "acknowledgement number"),
    Field("length", "u32", "bytes", "payload"),
    Field("delay", "u64", "ns", "how much later it, or its copy, goes on; 0 where that does not apply"),
    Field("flags", "tcpflags", "", "control bits"),
    Field("family", "u8", "", "4 or 6"),
    Field("actor", "text", "", "who sent it"),
    Field("why", "text", "", "the rule, in words"),
)
"""A segment that a scenario's wire did something to."""

KINDS: Final[tuple[Kind, ...]] = (
    Kind("trace:note", Lane.TRACE, Ring.NONE, "the tracer says something about itself", (
        Field("text", "text", "", "in words"),
    )),
    Kind("trace:lost", Lane.TRACE, Ring.NONE, "events were lost before they could be read", (
        Field("lost", "u64", "events", "how many since the last notice"),
        Field("total", "u64", "events", "how many in all"),
        Field("ring", "u8", "", "which ring"),
    )),
    Kind("trace:anomaly", Lane.TRACE, Ring.NONE, "what was recorded contradicts the rules", (
        Field("text", "text", "", "event, side and state in words"),
    )),
    Kind("actor:step", Lane.PROGRAM, Ring.NONE, "a scenario's actor begins the next step of its script", (
        Field("step", "u32", "", "number of the step, from 1"),
        Field("actor", "text", "", "who"),
        Field("text", "text", "", "the step in the words of the script"),
    )),
    Kind("actor:report", Lane.PROGRAM, Ring.NONE, "an actor says what came of it", (
        Field("step", "u32", "", "number of the step"),
        Field("actor", "text", "", "who"),
        Field("text", "text", "", "what it says"),
    )),
    Kind("process:fork", Lane.PROGRAM, Ring.SMALL, "a process or thread was born", (
        Field("comm", "comm", "", "name"),
        Field("child", "u32", "", "thread id of the new one"),
        Field("child_pid", "u32", "", "its process"),
    )),
    Kind("process:exit", Lane.PROGRAM, Ring.SMALL, "a process or thread ended", (
        Field("comm", "comm", "", "name"),
    )),
    Kind("syscall:enter", Lane.PROGRAM, Ring.SMALL, "a program calls the kernel", (
        Field("args", "args", "", "first four arguments; the fourth of setsockopt() and ioctl(FIONBIO): what is set"),
        Field("call", "call", "", "which call"),
    )),
    Kind("syscall:exit", Lane.PROGRAM, Ring.SMALL, "the kernel returns to the program", (
        Field("ret", "i64", "", "result, or minus errno"),
        Field("arg1", "u64", "", "second argument"),
        Field("arg2", "u64", "", "third argument"),
        Field("call", "call", "", "which call"),
    )),
    Kind("thread:blocked", Lane.THREAD, Ring.SMALL, "a thread leaves the processor", _THREAD),
    Kind("thread:woken", Lane.THREAD, Ring.SMALL, "a thread is made runnable", _THREAD),
    Kind("thread:running", Lane.THREAD, Ring.SMALL, "a thread gets the processor", _THREAD),
    Kind("epoll:ctl", Lane.EPOLL, Ring.SMALL, "interest in a file descriptor added (1), removed (2) or changed (3)", (
        Field("ep", "ptr", "", "kernel address of the epoll instance"),
        Field("data", "u64", "", "what the program wants back"),
        Field("epfd", "i32", "", "file descriptor of the epoll instance"),
        Field("op", "u32", "", "1 add, 2 delete, 3 modify"),
        Field("events", "epoll", "", "events asked for"),
    )),
    Kind("epoll:ready", Lane.EPOLL, Ring.SMALL, "a socket's readiness reached an epoll instance (ep_poll_callback)", (
        Field("ep", "ptr", "", "kernel address of the epoll instance"),
        Field("data", "u64", "", "what the program wants back"),
        Field("events", "epoll", "", "events the program asked for"),
        Field("state", "state", "", "of the socket"),
        Field("shutdown", "u8", "bits", "1 receiving, 2 sending half shut"),
    )),
    Kind("epoll:wait", Lane.EPOLL, Ring.OBJECT, "epoll_wait() returns", (
        Field("ep", "ptr", "", "kernel address of the epoll instance"),
        Field("data", "data8", "", "what the program asked to get back, per entry"),
        Field("events", "mask8", "", "what is ready, per entry"),
        Field("epfd", "i32", "", "file descriptor of the epoll instance"),
        Field("n", "i32", "", "how many are ready (the first 8 are kept), or minus errno"),
    )),
    Kind("socket:state", Lane.SOCKET, Ring.SOCKET, "a socket changes state", (
        *SNAPSHOT,
        Field("old", "state", "", "from"),
        Field("new", "state", "", "to"),
        Field("certainty", "u8", "", "of an inferred state: 1 certain, 2 provisional, 3 corrected", derived=True),
    )),
    Kind("socket:destroy", Lane.SOCKET, Ring.SOCKET, "a socket is freed", SNAPSHOT),
    Kind("socket:readable", Lane.SOCKET, Ring.SOCKET, "a socket's readers are told that there is something", SNAPSHOT),
    Kind("socket:queues", Lane.SOCKET, Ring.SOCKET, "a socket's queues and windows after a call or an ACK", SNAPSHOT),
    Kind("request:born", Lane.QUEUE, Ring.OBJECT, "a request sock enters the SYN queue", _REQUEST),
    Kind("request:timer", Lane.QUEUE, Ring.OBJECT, "the SYN-ACK timer of a request sock fires", _REQUEST),
    Kind("request:gone", Lane.QUEUE, Ring.OBJECT, "a request sock leaves the SYN queue", _REQUEST),
    Kind("accept:queued", Lane.QUEUE, Ring.SOCKET, "a connection enters the accept queue", SNAPSHOT),
    Kind("accept:taken", Lane.QUEUE, Ring.SOCKET, "accept() has taken a connection from the queue", (
        *SNAPSHOT,
        Field("child", "ptr", "", "kernel address of the connection's socket"),
        Field("child_cookie", "u64", "", "its cookie"),
        Field("child_fd", "i32", "", "its file descriptor, or minus errno"),
    )),
    Kind("timewait:born", Lane.TIMER, Ring.OBJECT, "a TIME_WAIT object takes over from a socket", _TIMEWAIT),
    Kind("timewait:rearmed", Lane.TIMER, Ring.OBJECT, "its timer begins anew (seconds later a FIN again)", _TIMEWAIT),
    Kind("timewait:cancelled", Lane.TIMER, Ring.OBJECT, "it ends before its time (reuse or RST)", _TIMEWAIT),
    Kind("timewait:expired", Lane.TIMER, Ring.OBJECT, "its time is over", _TIMEWAIT),
    Kind("packet:sent", Lane.WIRE, Ring.OBJECT, "a segment leaves the sender's stack (net_dev_start_xmit)", _PACKET),
    Kind("packet:received", Lane.WIRE, Ring.OBJECT, "a segment reaches a stack (netif_receive_skb)", _PACKET),
    Kind("packet:captured", Lane.WIRE, Ring.NONE, "a segment passed the capture point", _PACKET),
    # What goes wrong, and what is done about it
    Kind("socket:retransmit", Lane.SOCKET, Ring.SOCKET, "a segment is sent again (tcp_retransmit_skb)", (
        *SNAPSHOT,
        Field("seq", "u32", "sequence", "first byte of the segment"),
        Field("end_seq", "u32", "sequence", "byte after its last; SYN and FIN count one"),
    )),
    Kind("socket:timer", Lane.TIMER, Ring.SOCKET, "a timer of a socket fires", (
        *SNAPSHOT,
        Field("timer", "u8", "", "1 retransmission, 2 zero window probe, 3 keepalive, 4 delayed ACK, 5 loss probe, "
              "6 reordering, 7 FIN-WAIT-2 of an orphan"),
        Field("probes", "u8", "", "probes sent in a row without an answer (icsk_probes_out)"),
    )),
    Kind("socket:congestion", Lane.SOCKET, Ring.SOCKET, "the congestion state changes; ca_state is the one left", (
        *SNAPSHOT,
        Field("ca_next", "u8", "", "entered: 0 open, 1 disorder, 2 cwr, 3 recovery, 4 loss"),
    )),
    Kind("request:retransmit", Lane.QUEUE, Ring.OBJECT, "a SYN-ACK is sent again (tcp_retransmit_synack)", _REQUEST),
    Kind("reset:sent", Lane.SOCKET, Ring.OBJECT, "the stack decides to send a RST", (
        *_TUPLE,
        Field("reason", "u32", "", "the kernel's number for why; 0 where it does not say (before 6.10)"),
        Field("family", "u8", "", "4 or 6"),
        Field("state", "state", "", "of the socket; 0 where there is none"),
        Field("why", "reason", "", "the same by name (enum sk_rst_reason)", derived=True),
    )),
    Kind("reset:received", Lane.SOCKET, Ring.SOCKET, "a valid RST ends the connection (tcp_reset)", SNAPSHOT),
    Kind("segment:dropped", Lane.SOCKET, Ring.OBJECT, "the stack throws a segment away (kfree_skb)", (
        *_TUPLE,
        Field("skb", "ptr", "", "kernel address of the buffer, as in packet:received"),
        Field("seq", "u32", "sequence", "its sequence number"),
        Field("reason", "u32", "", "the kernel's number for why; 0 where it does not say (before 5.17)"),
        Field("flags", "tcpflags", "", "its control bits"),
        Field("family", "u8", "", "4 or 6"),
        Field("outgoing", "u8", "", "1: on its way out; else the local end is its receiver"),
        Field("why", "reason", "", "the same by name (enum skb_drop_reason)", derived=True),
    )),
    Kind("accept:overflow", Lane.QUEUE, Ring.SOCKET, "a SYN finds the accept queue full and is dropped", _TURNED_AWAY),
    Kind("counters:listen", Lane.QUEUE, Ring.NONE, "a namespace's counters of SYNs and ACKs turned away have moved", (
        Field("netns", "u32", "", "inode of the network namespace"),
        Field("overflows", "u32", "", "ListenOverflows (accept queue full) since the last notice"),
        Field("drops", "u32", "", "ListenDrops (for any reason, overflows included) since the last notice"),
        Field("all_overflows", "u64", "", "ListenOverflows since the namespace began"),
        Field("all_drops", "u64", "", "ListenDrops since the namespace began"),
    )),
    Kind("request:overflow", Lane.QUEUE, Ring.SOCKET, "a SYN finds the SYN queue full and is dropped", _TURNED_AWAY),
    Kind("socket:writable", Lane.SOCKET, Ring.SOCKET, "a full send queue has room again: writers are told", SNAPSHOT),
    # What a scenario's wire does to segments (scenarios.relay)
    Kind("network:dropped", Lane.WIRE, Ring.NONE, "the wire loses a segment", _FATE),
    Kind("network:delayed", Lane.WIRE, Ring.NONE, "the wire holds a segment up for a while", _FATE),
    Kind("network:held", Lane.WIRE, Ring.NONE, "the wire keeps a segment until it is told to let it go", _FATE),
    Kind("network:released", Lane.WIRE, Ring.NONE, "the wire lets a segment go that it had kept", _FATE),
    Kind("network:duplicated", Lane.WIRE, Ring.NONE, "the wire carries a segment twice", _FATE),
    Kind("network:reordered", Lane.WIRE, Ring.NONE, "the wire lets later segments overtake this one", _FATE),
    Kind("network:damaged", Lane.WIRE, Ring.NONE, "the wire flips a bit of a segment, so its checksum is wrong", _FATE),
    # What a runtime inside a program does (tracer.task_fields)
    Kind("task:state", Lane.PROGRAM, Ring.NONE, "a goroutine or other task changes its state", TASK),
    Kind("polldesc:change", Lane.EPOLL, Ring.NONE, "a poll descriptor changes, or is looked at", POLL),
    Kind("poller:asks", Lane.PROGRAM, Ring.NONE, "a runtime asks epoll what is ready", ASKS),
    Kind("trace:unseen", Lane.TRACE, Ring.NONE, "softirqs of the machine ran in which the kernel ran no probe", (
        Field("softirqs", "u64", "softirqs", "how many (timers, packets) while it was traced; known at the end"),
    )),
)  # fmt: skip
"""The table of kinds. A kind's number is its position + 1."""

SYSCALLS: Final[tuple[str, ...]] = (
    "?", "socket", "bind", "listen", "connect", "accept", "accept4", "getsockname", "getpeername", "setsockopt",
    "getsockopt", "shutdown", "close", "sendto", "recvfrom", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg", "read",
    "write", "readv", "writev", "pread64", "pwrite64", "sendfile", "splice", "poll", "ppoll", "select", "pselect6",
    "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "dup", "dup2", "dup3",
    "fcntl", "ioctl", "close_range", "io_uring_setup", "io_uring_enter", "nanosleep", "clock_nanosleep", "futex",
)  # fmt: skip
"""Calls that are followed; ``call`` fields index this table, so that recordings do not depend on an architecture."""
