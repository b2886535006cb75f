"""The fields of kernel structs that the probes read, as one table, and the C accessors made from it.

No probe names a kernel struct. It calls an accessor, ``sk_state(pointer, typed)``, whose offset and width come from the
running kernel's BTF; what this kernel lacks gets ``HAVE_... 0`` and an accessor that returns 0. Some fields have had
several homes over the years: the first path that exists wins. ``typed`` says whether the verifier knows the pointer's
type (tp_btf, and a pointer that came as an argument): then the accessor is a plain load; else the verifier is told it
(bpf_rdonly_cast, since 6.2) and it is one all the same, or it is a bpf_probe_read_kernel, ten times as long.

The names behind the #defines of include/net/sock.h are the real ones here: skc_state, not sk_state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from tracer.kernel.btf import Field, Prototype


class Types(Protocol):
    """What is asked of BTF."""

    def field(self, path: str) -> Field | None:
        """Where a field lies."""
        ...

    def size(self, name: str) -> int | None:
        """Bytes of a struct."""
        ...

    def struct(self, name: str) -> int | None:
        """BTF id of a struct."""
        ...

    def tracepoint(self, name: str) -> Prototype | None:
        """What a tracepoint passes."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """One accessor."""

    accessor: str
    paths: tuple[str, ...]
    """Where the field lies, newest kernel first."""


def _rows(prefix: str, struct: str, names: str) -> list[Row]:
    """Rows ``accessor=path|path`` of one struct; ``name`` alone stands for ``name=name``."""
    found = []
    for word in names.split():
        accessor, _, paths = word.partition("=")
        homes = tuple(path if path.startswith("^") else f"{struct}.{path}" for path in (paths or accessor).split("|"))
        found.append(Row(prefix + accessor, tuple(home.removeprefix("^") for home in homes)))
    return found


FIELDS: Final[tuple[Row, ...]] = (
    # struct sock_common is the beginning of sock, request_sock and inet_timewait_sock alike
    *_rows("skc_", "sock_common", """
        state=skc_state family=skc_family num=skc_num dport=skc_dport daddr=skc_daddr rcv_saddr=skc_rcv_saddr
        v6_daddr=skc_v6_daddr v6_rcv_saddr=skc_v6_rcv_saddr net=skc_net cookie=skc_cookie listener=skc_listener"""),
    *_rows("sk_", "sock", """
        protocol=sk_protocol rmem=sk_backlog.rmem_alloc.counter rcvbuf=sk_rcvbuf wmem=sk_wmem_queued sndbuf=sk_sndbuf
        ack_backlog=sk_ack_backlog max_ack_backlog=sk_max_ack_backlog err=sk_err shutdown=sk_shutdown wq=sk_wq
        socket=sk_socket timer=sk_timer cgroup=sk_cgrp_data.cgroup|sk_cgrp_data.val"""),
    *_rows("inet_", "inet_sock", "sport=inet_sport"),
    *_rows("icsk_", "inet_connection_sock", """
        rto=icsk_rto pending=icsk_pending backoff=icsk_backoff retransmits=icsk_retransmits ca_state=icsk_ca_state
        qlen=icsk_accept_queue.qlen.counter young=icsk_accept_queue.young.counter probes_out=icsk_probes_out
        write_timer=icsk_retransmit_timer|^sock.tcp_retransmit_timer delack_timer=icsk_delack_timer"""),
    *_rows("tp_", "tcp_sock", """
        rcv_nxt copied_seq snd_una snd_nxt write_seq snd_wnd rcv_wnd snd_cwnd ssthresh=snd_ssthresh srtt=srtt_us
        mss=mss_cache packets_out"""),
    *_rows("req_", "request_sock", "timer=rsk_timer num_timeout=num_timeout"),
    *_rows("tw_", "inet_timewait_sock", "timer=tw_timer substate=tw_substate"),
    *_rows("timer_", "timer_list", "function expires"),
    *_rows("net_", "net", "inum=ns.inum"),
    *_rows("skb_", "sk_buff", "head data tail len data_len dev sk protocol network_header cb"),
    *_rows("skb_cb_", "tcp_skb_cb", "seq end=end_seq"),
    *_rows("dev_", "net_device", "ifindex net=nd_net.net"),
    *_rows("task_", "task_struct", """
        pid tgid comm files state=__state|state nsproxy signal cgroups"""),
    *_rows("signal_", "signal_struct", "live=live.counter"),
    *_rows("nsproxy_", "nsproxy", "net=net_ns"),
    *_rows("css_set_", "css_set", "cgroup=dfl_cgrp"),
    *_rows("cgroup_", "cgroup", "self kn"),
    *_rows("css_", "cgroup_subsys_state", "parent"),
    *_rows("kernfs_", "kernfs_node", "id"),
    *_rows("files_", "files_struct", "fdt"),
    *_rows("fdt_", "fdtable", "max_fds fd"),
    *_rows("file_", "file", "inode=f_inode private=private_data op=f_op"),
    *_rows("inode_", "inode", "mode=i_mode"),
    *_rows("socket_", "socket", "sk flags wq=wq|^socket.wq"),
    *_rows("wq_", "socket_wq", "head=wait.head.next list=wait.head"),
    *_rows("wait_", "wait_queue_entry", "func entry next=entry.next private"),
    *_rows("eppoll_", "eppoll_entry", "wait base"),
    *_rows("epitem_", "epitem", "fd=ffd.fd events=event.events data=event.data ep"),
    *_rows("regs_", "pt_regs", """
        nr=orig_ax|syscallno arg0=di|orig_x0 arg1=si|regs.1 arg2=dx|regs.2 arg3=r10|regs.3 arg4=r8|regs.4
        ret=ax|regs.0"""),
)  # fmt: skip
"""Every accessor. A test asks the running kernel for all of them."""

_UNSIGNED: Final = {1: "u8", 2: "u16", 4: "u32", 8: "u64"}
_SIGNED: Final = {1: "s8", 2: "s16", 4: "s32", 8: "s64"}


def find(types: Types, row: Row) -> Field | None:
    """Where the row's field lies in this kernel."""
    return next((field for path in row.paths if (field := types.field(path)) is not None), None)


def home(types: Types, row: Row) -> str:
    """The struct in which the row's field lies in this kernel; "" when there is none."""
    return next((path.partition(".")[0] for path in row.paths if types.field(path) is not None), "")


def _accessor(name: str, field: Field | None, btf_id: int) -> list[str]:
    if field is None:
        return [
            f"#define HAVE_{name} 0",
            f"#define AT_{name} 0",
            f"static __always_inline u64 {name}(u64 p, const int typed) {{ return 0; }}",
        ]
    lines = [f"#define HAVE_{name} 1", f"#define AT_{name} {field.offset}"]
    width = next((size for size in (1, 2, 4, 8) if size >= field.size), 0)
    if not width or (not field.bits and width != field.size):
        return lines  # an array or struct: only its place is asked for
    c = (_SIGNED if field.signed and not field.bits else _UNSIGNED)[width]
    value = f"LD({c}, typed, p, {field.offset}, {btf_id:#x})"
    if field.bits:
        value = f"({value} >> {field.bit}) & {(1 << field.bits) - 1:#x}"
    return [*lines, f"static __always_inline {c} {name}(u64 p, const int typed) {{ return {value}; }}"]


def c_accessors(types: Types) -> str:
    """C text of all accessors for this kernel."""
    rows = ((row, find(types, row), types.struct(home(types, row)) or 0) for row in FIELDS)
    return "\n".join(line for row, field, btf_id in rows for line in _accessor(row.accessor, field, btf_id)) + "\n"


def missing(types: Types) -> list[str]:
    """Accessors whose field this kernel lacks."""
    return [row.accessor for row in FIELDS if find(types, row) is None]
