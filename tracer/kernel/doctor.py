"""What this machine and these rights allow the probes: kernel, BTF, BCC, capabilities, function addresses.

Each finding is one line that says what is so and, where something is missing, what to do about it. The probes
themselves report after they are put on (`KernelSource.status`); this is what can be known before.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tracer.kernel.bcc_import import BccMissing, import_bcc
from tracer.kernel.btf import BtfError, KernelTypes
from tracer.kernel.fields import missing
from tracer.kernel.probes import SYMBOLS
from tracer.kernel.symbols import addresses
from tracer.kernel.syscalls import numbers

OLDEST: Final = (5, 8)
"""The first kernel with BPF ring buffers."""

CAPABILITIES: Final = {"CAP_SYS_ADMIN": 21, "CAP_SYSLOG": 34, "CAP_PERFMON": 38, "CAP_BPF": 39}
"""Bit numbers of include/uapi/linux/capability.h."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    name: str
    good: bool
    text: str
    """What is so; when not good, what is missing and what would help."""


def capabilities(status: Path = Path("/proc/self/status")) -> frozenset[str]:
    """Which of `CAPABILITIES` this process has in effect."""
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return frozenset()
    bits = next((int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")), 0)
    return frozenset(name for name, bit in CAPABILITIES.items() if bits >> bit & 1)


def in_user_namespace(uid_map: Path = Path("/proc/self/uid_map")) -> bool:
    """Whether capabilities are those of a user namespace, which are none to bpf(2). The first one maps all users."""
    try:
        return uid_map.read_text().split() != ["0", "0", "4294967295"]
    except OSError:
        return False


def missing_rights(have: frozenset[str]) -> str:
    """What keeps these capabilities from loading probes, as one sentence; "" when nothing does."""
    if in_user_namespace():
        return "kernel probes need CAP_BPF and CAP_PERFMON of the machine itself: in a user namespace nobody has them"
    lacking = [name for name in ("CAP_BPF", "CAP_PERFMON") if name not in have]
    if not lacking or "CAP_SYS_ADMIN" in have:
        return ""
    return f"kernel probes need {' and '.join(lacking)}: run as root, or give the Python interpreter these capabilities"


def examine() -> list[Finding]:
    """All findings, in the order in which things are needed."""
    return [_system(), _btf(), _fields(), _bcc(), _rights(), _addresses()]


def too_old() -> str:
    """What keeps any program from being loaded by this kernel, as one sentence; "" when nothing does."""
    uname = os.uname()
    if uname.sysname != "Linux":
        return f"{uname.sysname}: kernel probes need Linux; replay works everywhere"
    words = uname.release.split("-")[0].split(".")
    version = tuple(int(word) for word in words[:2] if word.isdigit())
    if version < OLDEST:
        return f"Linux {uname.release}: kernel probes need Linux 5.8 or newer (BPF ring buffers)"
    if not numbers():
        return f"Linux {uname.release} on {uname.machine}: system call numbers of this processor are not known"
    return ""


def _system() -> Finding:
    uname = os.uname()
    lacking = too_old()
    return Finding("kernel", not lacking, lacking or f"{uname.sysname} {uname.release} on {uname.machine}")


def _btf() -> Finding:
    try:
        types = KernelTypes()
        found = types.tracepoint("inet_sock_set_state")
    except BtfError as error:
        return Finding("BTF", False, str(error))
    if found is None:
        return Finding("BTF", False, "this kernel's BTF knows no tracepoint inet_sock_set_state")
    return Finding("BTF", True, "the kernel describes its own types: no kernel headers are needed")


def _fields() -> Finding:
    try:
        absent = missing(KernelTypes())
    except BtfError:
        return Finding("fields", False, "not known without BTF")
    if absent:
        return Finding("fields", True, f"this kernel lacks {', '.join(absent)}; what needs them stays empty")
    return Finding("fields", True, "every field that the probes read is there")


def _bcc() -> Finding:
    try:
        bcc = import_bcc()
    except BccMissing as error:
        return Finding("BCC", False, str(error))
    return Finding("BCC", True, f"BCC {getattr(bcc, '__version__', '')} from {Path(str(bcc.__file__)).parent}")


def _rights() -> Finding:
    have = capabilities()
    lacking = missing_rights(have)
    who = "root" if os.geteuid() == 0 else f"user {os.geteuid()}"
    return Finding("rights", not lacking, lacking or f"{who} with {', '.join(sorted(have))}")


def _addresses() -> Finding:
    found = addresses(SYMBOLS)  # as the probes do: since the last boot they may have been told to us once
    absent = [name for name in SYMBOLS if name not in found]
    if not absent:
        return Finding("addresses", True, "the kernel tells the addresses of its functions")
    which = "its functions" if len(absent) == len(SYMBOLS) else ", ".join(absent)
    return Finding(
        "addresses", False,
        f"the kernel hides the address of {which}: CAP_SYSLOG is needed for request socks, TIME_WAIT objects, timers "
        "and epoll readiness",
    )  # fmt: skip
