"""Uprobes: a program of ours run whenever a thread comes to an instruction of a file.

The kernel puts a breakpoint at that place into every process that has the file mapped, now or later, so a program can
be probed before it is started. A hit costs microseconds: two traps. Two ways to put probes on:

- **uprobe_multi** (a BPF link, since 6.6): all places of one program at once.
- **a perf event for each place**, of the type that /sys/bus/event_source/devices/uprobe names. Taking one off waits a
  tenth of a second, as the kernel makes sure that nobody is in it, and two do not wait at the same time.

Either is gone when its descriptor is closed, and so when this process dies, however it dies.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tracer.kernel.attach import ATTACH_UPROBE_MULTI, Attached, AttachError, InProgram, bpf, load

_LINK_CREATE: Final = 28
_PERF_EVENT_OPEN: Final = {"x86_64": 298, "aarch64": 241}
_SET_BPF: Final = 0x40042408
_ENABLE: Final = 0x2400
"""PERF_EVENT_IOC_SET_BPF and PERF_EVENT_IOC_ENABLE of include/uapi/linux/perf_event.h."""
_CLOEXEC: Final = 8
_ATTRIBUTE_BYTES: Final = 112
_TYPE: Final = Path("/sys/bus/event_source/devices/uprobe/type")


def put(
    name: str, instructions: bytes, path: str, offsets: Sequence[int], mode: InProgram | None = None
) -> list[Attached]:
    """Put a program at places of a file, each a distance from its beginning; ``mode`` None: whichever way there is.

    Raises `AttachError`; leaves nothing behind then.
    """
    if mode is not InProgram.UPROBE:
        with contextlib.suppress(AttachError):
            return [_multi(name, instructions, path, offsets)]
        if mode is InProgram.UPROBE_MULTI:
            raise AttachError(f"{name}: this kernel has no uprobe_multi links")
    done: list[Attached] = []
    try:
        for offset in offsets:
            done.append(_one(name, instructions, path, offset))
    except AttachError:
        take_off(done)
        raise
    return done


def take_off(probes: Sequence[Attached]) -> None:
    """Close all at once: links wait for the kernel side by side."""
    if probes:
        with ThreadPoolExecutor(len(probes)) as workers:
            list(workers.map(Attached.close, probes))


def _multi(name: str, instructions: bytes, path: str, offsets: Sequence[int]) -> Attached:
    program = load(name, instructions, InProgram.UPROBE_MULTI)
    file, places = ctypes.create_string_buffer(os.fsencode(path)), (ctypes.c_uint64 * len(offsets))(*offsets)
    # union bpf_attr, link_create.uprobe_multi: path, offsets, reference counters, cookies, count, flags, process
    attributes = struct.pack(
        "<4I4Q3I", program, 0, ATTACH_UPROBE_MULTI, 0, ctypes.addressof(file), ctypes.addressof(places), 0, 0,
        len(offsets), 0, 0,
    )  # fmt: skip
    try:
        link = bpf(_LINK_CREATE, attributes)
    except OSError as refused:
        os.close(program)
        raise AttachError(f"{name}: uprobes in {path}: {refused.strerror}") from None
    return Attached(name, path, InProgram.UPROBE_MULTI, program, link)


def _one(name: str, instructions: bytes, path: str, offset: int) -> Attached:
    try:
        kind = int(_TYPE.read_text())
    except (OSError, ValueError):
        raise AttachError("this kernel has no uprobes (CONFIG_UPROBE_EVENTS)") from None
    program = load(name, instructions, InProgram.UPROBE)
    file = ctypes.create_string_buffer(os.fsencode(path))
    # struct perf_event_attr: type, size, config, period, sample type, read format, flags, wake-up, breakpoint type,
    # config1 (the path), config2 (the offset)
    attributes = struct.pack("<II5QIIQQ", kind, _ATTRIBUTE_BYTES, 0, 0, 0, 0, 0, 0, 0, ctypes.addressof(file), offset)
    block = ctypes.create_string_buffer(attributes, _ATTRIBUTE_BYTES)
    libc = ctypes.CDLL(None, use_errno=True)
    everybody, one_cpu, no_group = -1, 0, -1  # the processor says nothing: a breakpoint is hit on all
    event = libc.syscall(_PERF_EVENT_OPEN[platform.machine()], block, everybody, one_cpu, no_group, _CLOEXEC)
    try:
        if event < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        fcntl.ioctl(event, _SET_BPF, program)
        fcntl.ioctl(event, _ENABLE, 0)
    except OSError as refused:
        for descriptor in (event, program):
            if descriptor >= 0:
                os.close(descriptor)
        lacking = "; CAP_PERFMON is needed" if refused.errno in (errno.EPERM, errno.EACCES) else ""
        raise AttachError(f"{name}: uprobe in {path}: {refused.strerror}{lacking}") from None
    return Attached(name, f"{path}+{offset:#x}", InProgram.UPROBE, program, event)
