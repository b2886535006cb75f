"""Giving root's rights back when the probes are on: `sudo synfin trace` goes on as the user who typed it.

Only putting probes on needs root. From then on the tracer reads memory that it has mapped, so after attaching it
becomes the invoking user (SUDO_UID, SUDO_GID), keeping CAP_BPF alone, with which it may still read its own maps on
kernels that ask for it (before 5.19). Recordings are then the user's files, and a command that is launched runs as the
user, without any capability. What the user may not read (an interpreter in root's home) cannot be dropped to.
"""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from tui.cli_errors import CANNOT, USAGE, Trouble

_PR_SET_DUMPABLE, _PR_SET_KEEPCAPS = 4, 8
_VERSION_3: Final = 0x2008_0522
"""_LINUX_CAPABILITY_VERSION_3."""
_CAP_BPF: Final = 39


@dataclass(frozen=True)
class User:
    """Whom to become."""

    uid: int
    gid: int
    name: str


def invoking_user() -> User | None:
    """Who called sudo; None when nobody did, or root himself."""
    try:
        user = User(int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"]), os.environ.get("SUDO_USER", ""))
    except (KeyError, ValueError):
        return None
    return user if user.uid > 0 and os.geteuid() == 0 else None


def whom(wish: bool | None) -> User | None:
    """Whom to become after attaching. `wish` None: who called sudo, if possible; True: it must be. Raises Trouble."""
    if wish is False:
        return None
    user = invoking_user()
    if user is None:
        if wish:
            raise Trouble("--drop goes back to the user who called sudo, and nobody did (no SUDO_UID)", USAGE)
        return None
    hidden = _hidden_from(user)
    if not hidden:
        return user
    words = f"user {user.uid} may not read {hidden}, which synfin itself runs from"
    if wish:
        raise Trouble(f"cannot drop root's rights: {words}", CANNOT)
    click.echo(f"synfin: goes on as root: {words}", err=True)
    return None


def _hidden_from(user: User) -> str:
    """A folder that our code comes from and the user may not read; "" when there is none."""
    before = os.getgroups()
    os.setgroups([user.gid])
    os.setegid(user.gid)
    os.seteuid(user.uid)
    try:
        for path in (Path(os.__file__).parent, Path(click.__file__).parent, Path(__file__).parent):
            if not os.access(path, os.R_OK | os.X_OK, effective_ids=True):
                return str(path)
        return ""
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before)


def become(user: User) -> None:
    """Be that user from now on, with CAP_BPF and nothing else; threads that are started later too. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    groups = os.getgrouplist(user.name, user.gid) if user.name else [user.gid]
    libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups(groups)
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)
    head = struct.pack("=Ii", _VERSION_3, 0)
    mask = 1 << (_CAP_BPF - 32)
    data = struct.pack("=6I", 0, 0, 0, mask, mask, 0)  # effective, permitted, inheritable; low words, then high ones
    if libc.capset(head, data):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    # /proc/self would be root's otherwise. Nobody gains by it: who has no CAP_BPF may not ptrace who has.
    libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    os.environ["HOME"] = str(Path(f"~{user.name}").expanduser()) if user.name else os.environ.get("HOME", "/")
