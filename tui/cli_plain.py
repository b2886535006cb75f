"""A trace without kernel probes: what a plain user may know, and what root may without BPF.

The socket tables of the networks are sampled (`~`), the kernel's own notices of freed sockets give every end its time,
packets are captured where AF_PACKET is allowed, and the states between are worked out from packets (`?`). Which sockets
are looked for is asked of the table: by port, by the descriptors of the processes, by cgroup.
"""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Callable
from typing import Final

from tracer.session import EventSource
from tracer.tables.belong import Family, Holders, OfCgroup, OfProcesses
from tracer.tables.destroyed import Destroyed
from tracer.tables.diag import NETLINK_SOCK_DIAG
from tracer.tables.source import TableSource
from tracer.wire import seats
from tracer.wire.source import WireSource
from tui.cli_networks import network_of, socket_in
from tui.cli_select import Selection
from tui.feed import Probe

_PR_SET_CHILD_SUBREAPER: Final = 36
EVERYBODY_PAUSE: Final = 0.5
"""Seconds between two searches through all processes for the owner of a socket."""


def sources(selection: Selection) -> tuple[list[EventSource], list[Probe]]:
    """What can be had with these rights, and what is missing and why. At least a table, or the list is empty."""
    found: list[EventSource] = []
    probes: dict[str, Probe] = {}

    def tell(group: str, on: bool, why: str) -> None:
        if group not in probes or (probes[group].on and not on):
            probes[group] = Probe(group, on, why)

    holders, chosen = _whose(selection)
    networks = selection.networks or dict([network_of(os.getpid())])
    wires: list[EventSource] = []
    for inode, path in networks.items():
        try:
            table = _table(selection, inode, path, holders, chosen)
        except OSError as refused:
            tell("table", False, f"sock_diag of network namespace {inode}: {refused.strerror}")
            continue
        found.append(table)
        tell("table", True, "sampled: what lies between two readings is not seen")
        try:
            seat, remark = seats.take(lambda path=path: socket_in(path, socket.AF_PACKET, 0), "")  # type: ignore[misc]
            register = table if chosen is not None else None
            wires.append(WireSource(seat, inode, selection.filter.ports, register))
            tell("packets", True, remark)
        except OSError as refused:
            tell("packets", False, f"AF_PACKET: {refused.strerror}; CAP_NET_RAW is needed")
    return found + wires, list(probes.values())  # in this order they are stopped: a table is read before its wire ends


def _whose(selection: Selection) -> tuple[Holders, Callable[[bytes], bool] | None]:
    if selection.cgroup is not None:
        return Holders(pause=EVERYBODY_PAUSE), OfCgroup(selection.cgroup)
    if selection.pids:
        holders = Holders(Family(selection.pids))
        return holders, OfProcesses(holders)
    if selection.filter.parents and not selection.places:
        # What the command leaves behind becomes our child, and so stays one of the family.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        holders = Holders(Family(selection.filter.parents, themselves=False))
        return holders, OfProcesses(holders)
    return Holders(pause=EVERYBODY_PAUSE), None


def _table(
    selection: Selection, inode: int, path: str, holders: Holders, chosen: Callable[[bytes], bool] | None
) -> TableSource:
    """Raises OSError."""
    try:
        destroyed: Destroyed | None = Destroyed(socket_in(path, socket.AF_NETLINK, NETLINK_SOCK_DIAG))
    except OSError:
        destroyed = None  # the table alone
    try:
        netlink = socket_in(path, socket.AF_NETLINK, NETLINK_SOCK_DIAG)
        return TableSource(
            netlink, inode, selection.filter.ports, owner=holders.owner, chosen=chosen, destroyed=destroyed
        )
    except OSError:
        if destroyed is not None:
            destroyed.stop()
        raise
