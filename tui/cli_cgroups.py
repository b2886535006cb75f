"""Cgroups by name: the unified hierarchy (cgroups(7), version 2), its folders and who is in them.

The kernel knows a cgroup by the inode of its folder; sockets and processes carry it. Only the unified hierarchy counts:
a socket belongs to one cgroup there (sk_cgrp_data), whatever version 1 hierarchies exist beside it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tui.cli_errors import CANNOT, USAGE, Trouble

MOUNTS: Final = Path("/proc/self/mountinfo")


def unified(mounts: Path = MOUNTS) -> Path | None:
    """Where the unified hierarchy is mounted; None where it is not."""
    with contextlib.suppress(OSError):
        for line in mounts.read_text().splitlines():
            before, _, after = line.partition(" - ")  # proc_pid_mountinfo(5): optional fields end with a hyphen
            if after.split()[0] == "cgroup2":
                return Path(before.split()[4].encode().decode("unicode_escape"))
    return None


def find(word: str, mounts: Path = MOUNTS) -> Path:
    """The folder of a cgroup: a path, or a name below the root as /proc/PID/cgroup shows it. Raises Trouble."""
    root = unified(mounts)
    if root is None:
        raise Trouble(
            "cgroup version 2 is not mounted here, and only its cgroups tell whose a socket is; select by --pid, "
            "--comm or --netns, or mount it: mount -t cgroup2 none /sys/fs/cgroup/unified",
            CANNOT,
        )
    for path in (Path(word), root / word.lstrip("/")):
        if path.is_absolute() and path.is_dir() and (path / "cgroup.controllers").exists():
            if path.stat().st_dev == root.stat().st_dev:
                return path
            raise Trouble(f"{word!r} is not a cgroup of version 2, which is mounted at {root}", USAGE)
    if Path(word).is_absolute() and Path(word).is_dir():
        raise Trouble(f"{word!r} is not a cgroup of version 2, which is mounted at {root}", USAGE)
    raise Trouble(f"there is no cgroup {word!r} below {root}", USAGE)


def below(path: Path) -> Iterator[Path]:
    """The cgroup and all inside it."""
    for folder, _, _ in os.walk(path):
        yield Path(folder)


def members(path: Path) -> list[int]:
    """Processes in a cgroup and in those inside it."""
    found = set()
    for folder in below(path):
        with contextlib.suppress(OSError, ValueError):
            found |= {int(line) for line in (folder / "cgroup.procs").read_text().split()}
    return sorted(found - {0})
