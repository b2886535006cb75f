"""Network namespaces: by name, inode or path; which there are; and sockets inside them.

A namespace is a thread's, so to open a socket in another one a thread goes there and comes back no more.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from scenarios.namespaces import setns
from tui.cli_errors import USAGE, Trouble

PROC: Final = Path("/proc")
NAMED: Final = Path("/run/netns")
"""Where `ip netns add` keeps namespaces by name."""


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


def processes() -> list[int]:
    """All processes."""
    return sorted(int(name) for name in os.listdir(PROC) if name.isdigit())  # noqa: PTH208 - names only


def network_of(pid: int) -> tuple[int, str]:
    """The namespace that a process lives in: inode and a file for it. Raises OSError."""
    path = f"/proc/{pid}/ns/net"
    return Path(path).stat().st_ino, path


def own_network() -> dict[int, str]:
    """This process's own."""
    return dict([network_of(os.getpid())])


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


def socket_in(path: str, family: int, protocol: int) -> socket.socket:
    """A raw socket (netlink, packet) of the network namespace behind `path`. Raises OSError."""
    if Path(path).stat().st_ino == Path("/proc/self/ns/net").stat().st_ino:
        return socket.socket(family, socket.SOCK_RAW, protocol)  # to go to one's own takes CAP_SYS_ADMIN too
    made: list[socket.socket | OSError] = []

    def go() -> None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                setns(fd)
            finally:
                os.close(fd)
            made.append(socket.socket(family, socket.SOCK_RAW, protocol))
        except OSError as refused:
            made.append(refused)

    thread = threading.Thread(target=go)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]
