"""A network of the play's own, and why there may be none.

A network namespace has its own interfaces, sockets, ports, sysctls and packets: in a fresh one nothing mixes into the
picture and nothing done there touches the host. They are made here without a name, by unshare(2) in the stage hand's
process, so a namespace lives exactly as long as somebody is in it: even after kill -9 there is nothing to clean up.
Root may make one at once; anybody else needs a user namespace around it (user_namespaces(7)), which some distributions
forbid. Whether it works is found out by doing it, and when it does not, the reason is looked for where administrators
leave it: in sysctls.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from pathlib import Path
from typing import Final, Literal

Kind = Literal["namespace", "user-namespace", "host"]
"""`namespace`: own network, by root's rights. `user-namespace`: own network inside one's own user namespace. `host`:
none."""

CLONE_NEWNET: Final = 0x4000_0000
CLONE_NEWUSER: Final = 0x1000_0000
SIOCGIFFLAGS: Final = 0x8913
SIOCSIFFLAGS: Final = 0x8914
IFF_UP: Final = 0x1

_OBSTACLES: Final = (
    ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone is 0"),
    (
        "kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "AppArmor takes the rights away again (kernel.apparmor_restrict_unprivileged_userns is 1)",
    ),
    ("user/max_user_namespaces", "0", "user.max_user_namespaces is 0"),
    ("user/max_net_namespaces", "0", "user.max_net_namespaces is 0"),
)
"""(file below /proc/sys, the value that forbids, what it means)."""


class NotAllowed(OSError):
    """There is no namespace to be had; str() says why, in words for a user."""


def unshare(flags: int) -> None:
    """unshare(2). Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def setns(fd: int) -> None:
    """setns(2) into the network namespace behind a descriptor. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def inode(path: str = "/proc/self/ns/net") -> int:
    """The number by which the kernel knows a network namespace (`skc_net->ns.inum`)."""
    return Path(path).stat().st_ino


def enter(kind: Kind) -> None:
    """Move this process (which must have one thread) into a fresh network with lo up. Raises NotAllowed."""
    if kind == "host":
        return
    before = inode()
    try:
        if kind == "user-namespace":
            _enter_user_namespace()
        new_network()
    except OSError as failure:
        raise NotAllowed(failure.errno, why_not(kind, failure.errno or 0)) from failure
    if inode() == before:
        raise NotAllowed(errno.EPERM, "unshare did not give a new network namespace")


def new_network() -> None:
    """One more network namespace, by the rights this process has now, with lo up."""
    unshare(CLONE_NEWNET)
    interface_up("lo")


def _enter_user_namespace() -> None:
    """Keep the own user and group number inside (files look as before); the rights come with the namespace, not with
    uid 0."""
    uid, gid = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")  # without this no gid_map for the unprivileged, user_namespaces(7)
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def interface_up(name: str) -> None:
    """Set IFF_UP. Raises OSError: EPERM here is how AppArmor's restriction shows, after unshare succeeded."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", name.encode(), 0)
        flags = struct.unpack_from("16sH", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", name.encode(), flags | IFF_UP))


def why_not(kind: Kind, number: int, sys: Path = Path("/proc/sys")) -> str:
    """Explain a refused namespace: the errno, and the sysctl that is behind it where one is found."""
    name = errno.errorcode.get(number, str(number))
    if kind == "namespace":
        return f"a network namespace was refused ({name}): it takes CAP_SYS_ADMIN"
    found = [meaning for path, forbids, meaning in _OBSTACLES if _read(sys / path) == forbids]
    if not found and number == errno.ENOSPC:
        found = ["a limit in /proc/sys/user is reached"]
    if not found and number == errno.EINVAL:
        found = ["the kernel was built without user namespaces"]
    if not found:
        found = ["a seccomp filter or security module forbids it, as in most containers"]
    return f"a user namespace was refused ({name}): {'; '.join(found)}"


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def write_sysctls(settings: dict[str, str], host_inode: int) -> None:
    """Set `net.*` sysctls of the network this process is in. Raises NotAllowed in the host's own, OSError when
    refused."""
    if settings and inode() == host_inode:
        raise NotAllowed(errno.EPERM, "sysctls are set in a play's own network only, never on the host")
    for name, value in settings.items():
        if not name.startswith("net."):
            raise NotAllowed(errno.EPERM, f"{name} does not belong to a network namespace")
        (Path("/proc/sys") / name.replace(".", "/")).write_text(value)
