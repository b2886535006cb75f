"""Loading compiled instructions and hanging them on tracepoints, by bpf(2) itself.

Two ways to hang the same program on the same tracepoint:

- **tp_btf** (`BPF_PROG_TYPE_TRACING`, `BPF_TRACE_RAW_TP`): the verifier knows the types of the arguments, so kernel
  memory is read by plain loads and socket cookies can be asked for. Needs the BTF id of `btf_trace_NAME`.
- **raw_tp** (`BPF_PROG_TYPE_RAW_TRACEPOINT`): arguments are bare numbers and memory is read by a helper.

BCC 0.26 has no loader for the first, and both are one system call each, so both are done here: PROG_LOAD, then
RAW_TRACEPOINT_OPEN. The descriptor it returns *is* the attachment: closing it detaches, and so does the death of the
process, however it dies.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import platform
import struct
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

_SYS_BPF: Final = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_MAP_LOOKUP, _MAP_UPDATE, _PROG_LOAD = 1, 2, 5
_RAW_TRACEPOINT_OPEN: Final = 17
_TYPE_KPROBE, _TYPE_RAW_TRACEPOINT, _TYPE_TRACING = 2, 17, 26
_ATTACH_TRACE_RAW_TP, _ATTACH_TRACE_FENTRY, ATTACH_UPROBE_MULTI = 23, 24, 48
"""enum bpf_cmd, bpf_prog_type and bpf_attach_type of include/uapi/linux/bpf.h."""

_LOG_BYTES: Final = 1 << 20
_LOG_TAIL: Final = 600


class Mode(StrEnum):
    """How a program is hung on a tracepoint."""

    TP_BTF = "tp_btf"
    RAW_TP = "raw_tp"


class InProgram(StrEnum):
    """How a program is hung on instructions of another program (tracer.runtimes.uprobes)."""

    UPROBE = "uprobe"
    UPROBE_MULTI = "uprobe_multi"


class AttachError(Exception):
    """The kernel refused to load or attach; the message says what and why."""


@dataclass(slots=True)
class Attached:
    """A program on its hook."""

    name: str
    hook: str
    mode: Mode | InProgram
    program_fd: int
    link_fd: int

    def runs(self) -> dict[str, int]:
        """Counters of the program in the kernel: recursion_misses always, run_cnt where bpf_stats are on."""
        found = {}
        with contextlib.suppress(OSError), Path(f"/proc/self/fdinfo/{self.program_fd}").open() as info:
            for line in info:
                key, _, value = line.partition(":")
                if key in ("run_cnt", "run_time_ns", "recursion_misses", "prog_id"):
                    found[key] = int(value)
        return found

    def close(self) -> None:
        """Detach and unload. Twice is allowed."""
        for fd in (self.link_fd, self.program_fd):
            if fd >= 0:
                os.close(fd)
        self.link_fd = self.program_fd = -1


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def bpf(command: int, attributes: bytes) -> int:
    """bpf(2). Returns its result; raises OSError."""
    return bpf_in_place(command, ctypes.create_string_buffer(attributes, max(len(attributes), 128)))


def bpf_in_place(command: int, block: ctypes.Array[ctypes.c_char]) -> int:
    """bpf(2) with an answer in the attributes themselves. Returns its result; raises OSError."""
    number = _SYS_BPF.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, f"the number of bpf(2) on {platform.machine()} is not known")
    result = int(_libc().syscall(number, command, block, len(block)))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def load(name: str, instructions: bytes, mode: Mode | InProgram, btf_id: int = 0, *, fentry: bool = False) -> int:
    """PROG_LOAD. Returns the program's descriptor; raises `AttachError` with the end of the verifier's log."""
    code = ctypes.create_string_buffer(instructions, len(instructions))
    licence = ctypes.create_string_buffer(b"Dual MIT/GPL")  # bpf_probe_read_kernel asks for a GPL-compatible one
    typed = fentry or mode is Mode.TP_BTF
    kind = _TYPE_TRACING if typed else _TYPE_KPROBE if isinstance(mode, InProgram) else _TYPE_RAW_TRACEPOINT
    attach_type = _ATTACH_TRACE_FENTRY if fentry else _ATTACH_TRACE_RAW_TP if typed else 0
    if mode is InProgram.UPROBE_MULTI:
        attach_type = ATTACH_UPROBE_MULTI

    def attempt(log: ctypes.Array[ctypes.c_char] | None) -> int:
        return bpf(
            _PROG_LOAD,
            struct.pack(
                "<IIQQIIQII16sIIIIQIIQII",
                kind,
                len(instructions) // 8,
                ctypes.addressof(code),
                ctypes.addressof(licence),
                1 if log else 0,
                len(log) if log else 0,
                ctypes.addressof(log) if log else 0,
                0,
                0,
                name.encode()[:15],
                0,
                attach_type,
                *(0, 0, 0, 0, 0, 0, 0),  # no BTF of our own, no function or line records
                btf_id if typed else 0,
            ),
        )

    try:
        return attempt(None)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOSYS):
            raise AttachError(f"{name}: {error.strerror}: CAP_BPF and CAP_PERFMON are needed") from error
    log = ctypes.create_string_buffer(_LOG_BYTES)
    try:
        return attempt(log)  # a second time for the verifier's words: a log slows every load
    except OSError as error:
        words = log.value.decode(errors="replace").strip()[-_LOG_TAIL:]
        raise AttachError(f"{name}: {error.strerror}: {words}") from error


def hang(name: str, hook: str, program: int, mode: Mode, *, fentry: bool = False) -> Attached:
    """Hang a loaded program on the tracepoint `hook`; `fentry`: on the entry of the function `hook`.

    It is the answer's from then on; raises `AttachError`, and has closed it then.
    """
    text = ctypes.create_string_buffer(hook.encode())
    try:
        # a typed program knows its hook by its BTF id already: the name stays empty
        pointer = 0 if fentry or mode is Mode.TP_BTF else ctypes.addressof(text)
        link = bpf(_RAW_TRACEPOINT_OPEN, struct.pack("<QII", pointer, program, 0))
    except OSError as error:
        os.close(program)
        raise AttachError(f"{name}: {hook}: {error.strerror}") from error
    return Attached(name, hook, mode, program, link)


def attach(name: str, hook: str, instructions: bytes, mode: Mode, btf_id: int = 0, *, fentry: bool = False) -> Attached:
    """`load` and `hang`. Raises `AttachError`; leaves nothing behind then."""
    return hang(name, hook, load(name, instructions, mode, btf_id, fentry=fentry), mode, fentry=fentry)


def map_update(fd: int, key: bytes, value: bytes) -> None:
    """Set map[key] = value. Raises OSError."""
    k, v = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(value, len(value))
    bpf(_MAP_UPDATE, struct.pack("<IIQQQ", fd, 0, ctypes.addressof(k), ctypes.addressof(v), 0))


def map_lookup(fd: int, key: bytes, size: int) -> bytes | None:
    """map[key], `size` bytes (for a per-CPU map: all CPUs' values, each padded to 8); None when it is not there."""
    k, v = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(size)
    try:
        bpf(_MAP_LOOKUP, struct.pack("<IIQQQ", fd, 0, ctypes.addressof(k), ctypes.addressof(v), 0))
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return v.raw
