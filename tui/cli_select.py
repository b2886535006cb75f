"""Who is traced: from the words of the command line to a filter in the kernel and the networks to look at.

One kind of selection at a time, so that nobody has to guess whether two of them mean "and" or "or". What cannot be
found (a process, a namespace, a cgroup) is said before any probe is loaded.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tracer.kernel.probes import ALL_GROUPS, Group
from tracer.kernel.source import Filter
from tracer.tables.adopt import Adopted
from tracer.tables.belong import OfCgroup
from tracer.tables.diag import NETLINK_SOCK_DIAG
from tui import cli_cgroups as cgroups
from tui.cli_errors import USAGE, Trouble
from tui.cli_networks import PROC, find_network, network_of, networks, own_network, processes, socket_in
from tui.plain import plain

_COMM: Final = 15
"""Letters of a name that the kernel keeps (TASK_COMM_LEN - 1)."""
_TITLE: Final = 80
"""Letters of a command line that are shown."""


@dataclass(frozen=True)
class Who:
    """The words of the command line."""

    pids: Sequence[int] = ()
    ports: Sequence[int] = ()
    comms: Sequence[str] = ()
    cgroup: str | None = None
    netns: str | None = None
    everything: bool = False
    command: Sequence[str] = ()
    go: bool = False
    """Go programs among them from inside, too."""


@dataclass(frozen=True)
class Selection:
    """Who is traced."""

    words: str
    """In words, for the title."""
    filter: Filter
    pids: tuple[int, ...] = ()
    """Processes asked for, with whose end the trace ends; empty where it is not about processes."""
    networks: dict[int, str] = field(default_factory=dict)
    """Network namespaces in which its sockets may be: inode -> a file that stands for it."""
    cgroup: Path | None = None
    """Folder of the cgroup that it is about."""
    places: bool = True
    """By a place (port, network, cgroup, machine), not by processes."""


def select(who: Who) -> Selection:
    """The selection that the options make, with a command's own processes where there is one. Raises Trouble."""
    given = {
        "--pid": who.pids, "--port": who.ports, "--comm": who.comms, "--cgroup": who.cgroup is not None,
        "--netns": who.netns is not None, "--all": who.everything,
    }  # fmt: skip
    chosen = [name for name, value in given.items() if value]
    if len(chosen) > 1:
        raise Trouble(f"{' and '.join(chosen)} do not go together: select by one of them", USAGE)
    # The command is forked by us: from the fork on it is followed, and so is all that it forks in turn.
    ours = frozenset({os.getpid()}) if who.command else frozenset()
    if who.pids:
        for pid in who.pids:
            check_process(pid)
        return _processes(" ".join(f"process {pid} ({_comm(pid)})" for pid in who.pids), who.pids, ours)
    if who.comms:
        names = {name[:_COMM] for name in who.comms}
        found = [pid for pid in processes() if _comm(pid) in names and pid != os.getpid()]
        if not found:
            raise Trouble(f"no process is called {' or '.join(map(repr, who.comms))}", USAGE)
        return _processes(f"{' '.join(who.comms)} ({len(found)} processes)", found, ours)
    if who.ports:
        wrong = [port for port in who.ports if not 0 < port < 65536]
        if wrong:
            raise Trouble(f"{wrong[0]} is no TCP port: they go from 1 to 65535", USAGE)
        place = Filter(ports=frozenset(who.ports), parents=ours)
        return Selection("port " + " ".join(map(str, who.ports)), place, networks=own_network())
    if who.cgroup is not None:
        folder = cgroups.find(who.cgroup)
        members = frozenset(cgroups.members(folder)) - {os.getpid()}
        place = Filter(cgroups=frozenset({folder.stat().st_ino}), members=members, parents=ours)
        near = own_network() | _networks_of(members)
        return Selection(f"cgroup {who.cgroup} ({len(members)} processes)", place, networks=near, cgroup=folder)
    if who.netns is not None:
        inode, path = find_network(who.netns)
        place = Filter(netns=frozenset({inode}), parents=ours)
        return Selection(f"network namespace {who.netns}", place, networks={inode: path})
    if who.command and not who.everything:
        return Selection(plain(" ".join(who.command))[:_TITLE], Filter(parents=ours), places=False)
    return Selection("all TCP of this machine", Filter(everything=True, parents=ours), networks=dict(networks()))


def _processes(words: str, pids: Sequence[int], parents: frozenset[int]) -> Selection:
    chosen = Filter(processes=frozenset(pids), parents=parents)
    return Selection(words, chosen, tuple(pids), _networks_of(pids), places=False)


def _networks_of(pids: Iterable[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for pid in pids:
        with contextlib.suppress(OSError):  # ended since, or somebody else's
            inode, path = network_of(pid)
            found.setdefault(inode, path)
    return found


def groups(words: str | None) -> frozenset[Group]:
    """Probe groups by their names, separated by commas; None: all. States and processes are always among them, since
    they decide who is followed. Raises Trouble."""
    if words is None:
        return ALL_GROUPS
    names = {name.strip().lower() for name in words.split(",") if name.strip()}
    unknown = sorted(names - {str(group) for group in Group})
    if unknown or not names:
        known = ", ".join(str(group) for group in Group)
        wrong = ", ".join(map(repr, unknown)) or repr(words)
        raise Trouble(f"there is no probe group {wrong}; there are: {known}", USAGE)
    return frozenset(Group(name) for name in names) | {Group.STATES}


# Processes


def check_process(pid: int) -> None:
    """Raises Trouble unless `pid` is a running process other than this one."""
    if pid == os.getpid():
        raise Trouble(f"process {pid} is this synfin itself", USAGE)
    try:
        lines = (PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        raise Trouble(f"there is no process {pid}", USAGE) from None
    told = dict(line.split(":", 1) for line in lines if ":" in line)
    leader = int(told["Tgid"])
    if leader != pid:
        raise Trouble(f"{pid} is a thread of process {leader}; use --pid {leader}", USAGE)
    if told["State"].split()[0] in "ZX":
        raise Trouble(f"process {pid} has ended already; only its parent has not taken notice yet", USAGE)


def alive(pid: int) -> bool:
    """Whether a process is still there, a zombie not counted."""
    try:
        return (PROC / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def _comm(pid: int) -> str:
    try:
        return (PROC / str(pid) / "comm").read_text().rstrip("\n")
    except OSError:
        return ""


def netstat_files(selection: Selection) -> dict[int, Path]:
    """Where the counters of the selection's networks are read: of those in which a process lives."""
    paths = {inode: Path(path) for inode, path in selection.networks.items() if path.startswith("/proc/")}
    return {inode: path.parent.parent / "net" / "netstat" for inode, path in paths.items()}


def existing(selection: Selection) -> tuple[list[Adopted], str]:
    """First readings of the tables for the sockets that are there already, and why one is missing ("" when none is)."""
    found, why = [], ""
    pids = selection.pids or None
    chosen = OfCgroup(selection.cgroup) if selection.cgroup is not None else None
    for inode, path in selection.networks.items():
        try:
            netlink = socket_in(path, socket.AF_NETLINK, NETLINK_SOCK_DIAG)
            found.append(Adopted(netlink, inode, selection.filter.ports, pids, chosen))
        except OSError as refused:
            why = f"sock_diag: {refused.strerror}"
    return found, why
