"""Other tracers of our kind on this machine: programs of our names that were loaded before.

Two may well run at once: each has its own maps, rings and counts, and neither sees the other's. Each costs its own
time at every event, though, so it is good to know.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from typing import Final

from tracer.kernel.attach import bpf, bpf_in_place
from tracer.kernel.probes import PROBES, Group

_PROG_GET_NEXT_ID, _PROG_GET_FD_BY_ID, _OBJ_GET_INFO_BY_FD = 11, 13, 15
_INFO_BYTES: Final = 128
_NAME: Final = slice(64, 80)
"""struct bpf_prog_info: type, id, tag[8], two lengths, two pointers, load_time, created_by_uid, nr_map_ids, map_ids."""


MARK: Final = next(probe.program for probe in PROBES if probe.group is Group.STATES)[:15]
"""A program that every tracer has, once; of its name the kernel keeps as much (BPF_OBJ_NAME_LEN)."""


def count() -> int:
    """How many tracers have their probes on, this process's own included; 0 where that may not be asked
    (CAP_SYS_ADMIN)."""
    ours = MARK.encode()
    found, number = 0, 0
    with contextlib.suppress(OSError):  # ENOENT: that was the last
        while True:
            request = ctypes.create_string_buffer(struct.pack("<III", number, 0, 0), 128)
            number = _next(request)
            with contextlib.suppress(OSError):  # unloaded meanwhile
                found += _name(number) == ours
    return found


def _next(request: ctypes.Array[ctypes.c_char]) -> int:
    bpf_in_place(_PROG_GET_NEXT_ID, request)
    return int(struct.unpack_from("<II", request)[1])


def _name(number: int) -> bytes:
    fd = bpf(_PROG_GET_FD_BY_ID, struct.pack("<III", number, 0, 0))
    try:
        info = ctypes.create_string_buffer(_INFO_BYTES)
        bpf(_OBJ_GET_INFO_BY_FD, struct.pack("<IIQ", fd, _INFO_BYTES, ctypes.addressof(info)))
        return info.raw[_NAME].rstrip(b"\0")
    finally:
        os.close(fd)
