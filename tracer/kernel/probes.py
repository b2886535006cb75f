"""The probes as a table: which program hangs where, what it gives, what it needs.

A row names its hooks in order of preference; the first that this kernel has is taken. A row whose hook, function
address or struct field is missing is switched off by itself and says why, and all other rows go on without it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class Group(StrEnum):
    """What can be switched on and off together."""

    STATES = "states"
    READINESS = "readiness"
    TIMERS = "timers"
    PACKETS = "packets"
    QUEUES = "queues"
    SYSCALLS = "syscalls"
    THREADS = "threads"
    PROCESSES = "processes"
    LOSS = "loss"
    RESETS = "resets"
    DROPS = "drops"


class Hook(NamedTuple):
    """A place in the kernel to hang a program on."""

    name: str
    fentry: bool = False
    """True: entry of the function of that name; False: the tracepoint of that name."""


class Probe(NamedTuple):
    """One row: a program and its hook."""

    program: str
    """Name of the function in the text."""
    group: Group
    hooks: tuple[Hook, ...]
    gives: str
    """Kinds of event, or what else it is good for."""
    needs: tuple[str, ...] = ()
    """Accessors (tracer.kernel.fields) without which it is no use."""
    symbols: tuple[str, ...] = ()
    """Kernel functions whose address it compares with."""
    partly: tuple[str, str] = ("", "")
    """A function whose address only a part of it needs, and the kind of event that is not seen without."""
    cost: int = 0
    """ns of processor time a run, about: the mean over connect, echo, close as tp_btf on one machine (run_time_ns)."""


def _tracepoint(name: str) -> tuple[Hook, ...]:
    return (Hook(name),)


PROBES: Final[tuple[Probe, ...]] = (
    Probe("on_sched_process_fork", Group.PROCESSES, _tracepoint("sched_process_fork"),
          "process:fork; follows children", ("task_tgid", "task_pid"), cost=1800),
    Probe("on_sched_process_exit", Group.PROCESSES, _tracepoint("sched_process_exit"),
          "process:exit", ("task_tgid", "signal_live"), cost=1700),
    Probe("on_inet_sock_set_state", Group.STATES, _tracepoint("inet_sock_set_state"),
          "socket:state; takes sockets in", ("skc_state", "skc_num", "skc_net"), cost=180),
    Probe("on_tcp_destroy_sock", Group.STATES, _tracepoint("tcp_destroy_sock"),
          "socket:destroy; lets sockets go", ("skc_state",), cost=190),
    Probe("on_sk_data_ready", Group.READINESS, (Hook("sk_data_ready"), Hook("sock_def_readable", fentry=True)),
          "socket:readable, accept:queued, epoll:ready", ("skc_state",), partly=("ep_poll_callback", "epoll:ready"),
          cost=170),
    Probe("on_timer_start", Group.TIMERS, _tracepoint("timer_start"),
          "request:born, timewait:born, timewait:rearmed", ("timer_function", "req_timer", "tw_timer", "skc_listener"),
          ("reqsk_timer_handler", "tw_timer_handler"), cost=90),
    Probe("on_timer_cancel", Group.TIMERS, _tracepoint("timer_cancel"),
          "request:gone, timewait:cancelled", ("timer_function", "req_timer", "tw_timer", "skc_listener"),
          ("reqsk_timer_handler", "tw_timer_handler"), cost=60),
    Probe("on_timer_expire_entry", Group.TIMERS, _tracepoint("timer_expire_entry"),
          "request:timer, timewait:expired", ("timer_function", "req_timer", "tw_timer", "skc_listener"),
          ("reqsk_timer_handler", "tw_timer_handler"), cost=100),
    Probe("on_softirq_exit", Group.PACKETS, _tracepoint("softirq_exit"),
          "ends the context of a packet", cost=100),
    Probe("on_net_dev_start_xmit", Group.PACKETS, _tracepoint("net_dev_start_xmit"),
          "packet:sent", ("skb_head", "skb_network_header", "skb_len", "skb_data_len"), cost=250),
    Probe("on_netif_receive_skb", Group.PACKETS, _tracepoint("netif_receive_skb"),
          "packet:received, accept:overflow, request:overflow; begins its context",
          ("skb_data", "skb_len", "skb_data_len", "skb_dev"), cost=270),
    Probe("on_tcp_probe", Group.QUEUES, _tracepoint("tcp_probe"),
          "socket:queues after a segment; socket:writable, epoll:ready", ("tp_rcv_nxt",), cost=50),
    Probe("on_sys_enter", Group.SYSCALLS, _tracepoint("sys_enter"),
          "syscall:enter", ("regs_arg0", "task_files", "file_private", "inode_mode", "socket_sk"), cost=300),
    Probe("on_sys_exit", Group.SYSCALLS, _tracepoint("sys_exit"),
          "syscall:exit, socket:queues, accept:taken, epoll:ctl, epoll:wait",
          ("regs_nr", "task_files", "file_private", "inode_mode", "socket_sk"), cost=350),
    Probe("on_sched_waking", Group.THREADS, _tracepoint("sched_waking"),
          "thread:woken", ("task_tgid", "task_pid", "task_comm"), cost=560),
    Probe("on_sched_switch", Group.THREADS, _tracepoint("sched_switch"),
          "thread:blocked, thread:running", ("task_tgid", "task_pid", "task_comm"), cost=470),
    Probe("on_socket_timer", Group.TIMERS, _tracepoint("timer_expire_entry"),
          "socket:timer", ("timer_function", "icsk_write_timer", "icsk_delack_timer", "sk_timer", "icsk_pending"),
          ("tcp_write_timer", "tcp_delack_timer", "tcp_keepalive_timer")),
    Probe("on_tcp_retransmit_skb", Group.LOSS, _tracepoint("tcp_retransmit_skb"),
          "socket:retransmit", ("skb_cb", "skb_cb_seq", "skb_cb_end")),
    Probe("on_tcp_retransmit_synack", Group.LOSS, _tracepoint("tcp_retransmit_synack"),
          "request:retransmit", ("req_num_timeout",)),
    Probe("on_tcp_cong_state_set", Group.LOSS, _tracepoint("tcp_cong_state_set"),
          "socket:congestion", ("icsk_ca_state",)),
    Probe("on_tcp_send_reset", Group.RESETS, _tracepoint("tcp_send_reset"),
          "reset:sent", ("skb_head", "skb_network_header")),
    Probe("on_tcp_receive_reset", Group.RESETS, _tracepoint("tcp_receive_reset"),
          "reset:received", ("skc_state",)),
    Probe("on_kfree_skb", Group.DROPS, _tracepoint("kfree_skb"),
          "segment:dropped", ("skb_head", "skb_network_header", "skb_sk")),
)  # fmt: skip
"""Every probe, in the order of attaching: what decides who is followed comes first."""

ALL_GROUPS: Final = frozenset(Group)

SYMBOLS: Final[tuple[str, ...]] = ("reqsk_timer_handler", "tw_timer_handler", "ep_poll_callback",
                                    "tcp_write_timer", "tcp_delack_timer", "tcp_keepalive_timer")  # fmt: skip
"""Kernel functions whose addresses the text compares with."""

TEXTS: Final[tuple[str, ...]] = ("common.c", "ring.c", "table.c", "tree.c", "filter.c", "epoll.c", "socket.c",
                                  "timer.c", "packet.c", "thread.c", "syscall.c", "trouble.c")  # fmt: skip
"""The pieces of the program text, in the order in which they are put together."""
