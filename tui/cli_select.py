"""Who is traced: from the words of the command line to a filter in the kernel and the networks to look at.

One kind of selection at a time, so that nobody has to guess whether two of them mean "and" or "or". What cannot be
found (a process, a namespace) is said before any probe is loaded.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from scenarios.namespaces import setns
from tracer.kernel.probes import ALL_GROUPS, Group
from tracer.kernel.source import Filter
from tracer.tables.adopt import Adopted
from tracer.tables.diag import NETLINK_SOCK_DIAG
from tui.cli_errors import USAGE, Trouble
from tui.plain import plain

PROC: Final = Path("/proc")
NAMED: Final = Path("/run/netns")
"""Where `ip netns add` keeps namespaces by name."""
_COMM: Final = 15
"""Letters of a name that the kernel keeps (TASK_COMM_LEN - 1)."""

_TITLE: Final = 80
"""Letters of a command line that are shown."""


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


def select(
    pids: Sequence[int], ports: Sequence[int], comms: Sequence[str], netns: str | None, everything: bool,
    command: Sequence[str],
) -> Selection:  # fmt: skip
    """The selection that the options make, with a command's own processes where there is one. Raises Trouble."""
    chosen = [
        name
        for name, given in (
            ("--pid", pids), ("--port", ports), ("--comm", comms), ("--netns", netns), ("--all", everything),
        )
        if given
    ]  # fmt: skip
    if len(chosen) > 1:
        raise Trouble(f"{' and '.join(chosen)} do not go together: select by one of them", USAGE)
    # The command is forked by us: from the fork on it is followed, and so is all that it forks in turn.
    ours = frozenset({os.getpid()}) if command else frozenset()
    if pids:
        for pid in pids:
            check_process(pid)
        return _processes(" ".join(f"process {pid} ({_comm(pid)})" for pid in pids), pids, ours)
    if comms:
        found = [pid for pid in processes() if _comm(pid) in {name[:_COMM] for name in comms} and pid != os.getpid()]
        if not found:
            raise Trouble(f"no process is called {' or '.join(map(repr, comms))}", USAGE)
        return _processes(f"{' '.join(comms)} ({len(found)} processes)", found, ours)
    if ports:
        wrong = [port for port in ports if not 0 < port < 65536]
        if wrong:
            raise Trouble(f"{wrong[0]} is no TCP port: they go from 1 to 65535", USAGE)
        place = Filter(ports=frozenset(ports), parents=ours)
        return Selection("port " + " ".join(map(str, ports)), place, networks=_own_network())
    if netns is not None:
        inode, path = find_network(netns)
        place = Filter(netns=frozenset({inode}), parents=ours)
        return Selection(f"network namespace {netns}", place, networks={inode: path})
    if command and not everything:
        return Selection(plain(" ".join(command))[:_TITLE], Filter(parents=ours))
    return Selection("all TCP of this machine", Filter(everything=True, parents=ours), networks=dict(networks()))


def _processes(words: str, pids: Sequence[int], parents: frozenset[int]) -> Selection:
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError):  # ended since: found out when the probes are on
            inode, path = _network_of(pid)
            found[inode] = path
    return Selection(words, Filter(processes=frozenset(pids), parents=parents), tuple(pids), found)


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


def processes() -> list[int]:
    """All processes."""
    return sorted(int(name) for name in os.listdir(PROC) if name.isdigit())  # noqa: PTH208 - names only


def _comm(pid: int) -> str:
    try:
        return (PROC / str(pid) / "comm").read_text().rstrip("\n")
    except OSError:
        return ""


# Networks


def find_network(word: str) -> tuple[int, str]:
    """A network namespace by name (of `ip netns`), inode or path: its inode and a file for it. Raises Trouble."""
    if word.isdigit():
        for inode, path in networks():
            if inode == int(word):
                return inode, path
        raise Trouble(f"no process and no name belongs to a network namespace with inode {word}", USAGE)
    file = Path(word) if "/" in word else NAMED / word
    try:
        inode = file.stat().st_ino
        if not _is_namespace(file):
            raise Trouble(f"{word!r} is not a network namespace", USAGE)
    except FileNotFoundError:
        where = "no such file" if "/" in word else f"`ip netns` has none of that name in {NAMED}"
        raise Trouble(f"there is no network namespace {word!r}: {where}", USAGE) from None
    return inode, str(file)


def _is_namespace(path: Path) -> bool:
    """Whether the file lies on nsfs, as /proc/PID/ns/net does."""
    return path.stat().st_dev == Path("/proc/self/ns/net").stat().st_dev


def _network_of(pid: int) -> tuple[int, str]:
    path = f"/proc/{pid}/ns/net"
    return Path(path).stat().st_ino, path


def _own_network() -> dict[int, str]:
    return dict([_network_of(os.getpid())])


def networks() -> Iterator[tuple[int, str]]:
    """Every network namespace that a process lives in or that has a name, once; this process's own comes first."""
    seen = set()
    paths = [f"/proc/{pid}/ns/net" for pid in (os.getpid(), *processes())]
    with contextlib.suppress(OSError):
        paths += [str(path) for path in sorted(NAMED.iterdir())]
    for path in paths:
        with contextlib.suppress(OSError):
            inode = Path(path).stat().st_ino
            if inode not in seen:
                seen.add(inode)
                yield inode, path


def netstat_files(selection: Selection) -> dict[int, Path]:
    """Where the counters of the selection's networks are read: of those in which a process lives."""
    paths = {inode: Path(path) for inode, path in selection.networks.items() if path.startswith("/proc/")}
    return {inode: path.parent.parent / "net" / "netstat" for inode, path in paths.items()}


def netlink_in(path: str) -> socket.socket:
    """A NETLINK_SOCK_DIAG socket of the network namespace behind `path`. Raises OSError.

    A namespace is a thread's, so a thread goes there and comes back no more.
    """
    made: list[socket.socket | OSError] = []

    def go() -> None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                setns(fd)
            finally:
                os.close(fd)
            made.append(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG))
        except OSError as refused:
            made.append(refused)

    thread = threading.Thread(target=go)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]


def existing(selection: Selection) -> tuple[list[Adopted], str]:
    """First readings of the tables for the sockets that are there already, and why one is missing ("" when none is)."""
    found, why = [], ""
    pids = selection.pids or None
    for inode, path in selection.networks.items():
        try:
            found.append(Adopted(netlink_in(path), inode, selection.filter.ports, pids))
        except OSError as refused:
            why = f"sock_diag: {refused.strerror}"
    return found, why
