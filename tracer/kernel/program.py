"""The one program text: accessors for this kernel, the vocabulary's structs, constants, then the pieces by group."""

from __future__ import annotations

import platform
import time
from importlib.resources import files
from typing import Final

from tracer.events import c_declarations
from tracer.kernel.attach import Mode
from tracer.kernel.btf import KernelTypes
from tracer.kernel.fields import c_accessors
from tracer.kernel.image import AT, KFUNC
from tracer.kernel.probes import SYMBOLS, TEXTS
from tracer.kernel.ring import HEADER_BYTES
from tracer.kernel.syscalls import CALL, MAX_NUMBER
from tracer.kinds import MAX_HEADER_BYTES, MAX_READY, STRIDE, Ring


def jiffy_rate() -> int:
    """CONFIG_HZ of the running kernel: the coarse clock ticks once a jiffy."""
    return round(1 / time.clock_getres(6))  # CLOCK_MONOTONIC_COARSE, which Python's time module does not name


PLACEHOLDER: Final[dict[str, int]] = {name: 0x5EED_0FAD_D2E5_0001 + (i << 40) for i, name in enumerate(SYMBOLS)}
"""What stands in the text for the address of a kernel function: addresses change with every boot, the text should not,
so they are put into the instructions (`image.Loaded`)."""

_ARGUMENTS: Final = (
    ("tcp_send_reset", "SEND_RESET_HAS_REASON", 3),  # since 6.10
    ("kfree_skb", "KFREE_SKB_HAS_REASON", 3),  # since 5.17
    ("kfree_skb", "KFREE_SKB_HAS_SOCKET", 4),  # since 6.11
)
"""Tracepoints that have got arguments over the years: with at least so many the text may read the last of them."""


def constants(types: KernelTypes, mode: Mode, pages: dict[Ring, int], *, casts: bool = True) -> dict[str, int]:
    """Every number the text leaves open; `casts`: give numbers types where the kernel can."""
    switch = types.tracepoint("sched_switch")
    values = {
        "TYPED": int(mode is Mode.TP_BTF),
        "CAST": KFUNC + _cast(types, mode) if casts and _cast(types, mode) else 0,
        "SETTINGS": AT["settings"],
        "OWN_RINGS": int(own_rings(types, mode, casts=casts)),
        "HZ": jiffy_rate(),
        "MAX_HEADER": MAX_HEADER_BYTES,
        "MAX_READY": MAX_READY,
        "MAX_NUMBER": MAX_NUMBER,
        "PACKED_EPOLL": int(platform.machine() == "x86_64"),
        "SWITCH_HAS_STATE": int(switch is not None and len(switch.args) >= 4),  # since 5.18
    }
    for name, flag, count in _ARGUMENTS:
        hook = types.tracepoint(name)
        values[flag] = int(hook is not None and len(hook.args) >= count)
    for ring in (Ring.SMALL, Ring.OBJECT, Ring.SOCKET):
        values[ring.name] = int(ring)
        values[f"{ring.name}_BODY"] = STRIDE[ring] - HEADER_BYTES
        values[f"{ring.name}_PAGES"] = pages[ring]
    for name in ("socket", "accept", "accept4", "epoll_ctl", "getsockopt", "setsockopt", "ioctl", "splice"):
        values[f"CALL_{name.upper()}"] = CALL[name]
    for name in ("sock", "tcp_sock", "pt_regs"):
        values[name.upper()] = types.struct(name) or 0
    for name in SYMBOLS:
        values[name.upper()] = PLACEHOLDER[name]
    return values


def _cast(types: KernelTypes, mode: Mode) -> int:
    """BTF id of bpf_rdonly_cast(), 0 where a program of this mode may not call it."""
    return (types.function("bpf_rdonly_cast") or 0) if mode is Mode.TP_BTF else 0


def own_rings(types: KernelTypes, mode: Mode, *, casts: bool = True) -> bool:
    """Whether records go into rings of our own (text/ring.c): these need compare-and-swap, and stores in order."""
    return casts and bool(_cast(types, mode)) and platform.machine() == "x86_64"


def program_text(types: KernelTypes, mode: Mode, pages: dict[Ring, int], *, casts: bool = True) -> str:
    """The whole C text for this kernel, this mode and rings of that many pages: the same text compiles to the same."""
    values = constants(types, mode, pages, casts=casts)
    defines = "".join(f"#define {name} {value:#x}{'ULL' if value >> 31 else ''}\n" for name, value in values.items())
    folder = files("tracer.kernel") / "text"
    pieces = {name: (folder / name).read_text(encoding="utf-8") for name in TEXTS}
    # the accessors need LD, and everything else needs the accessors: they go in at the mark
    common = pieces["common.c"].replace("/* ACCESSORS */", c_accessors(types))
    return "".join((defines, c_declarations(), common, *(pieces[name] for name in TEXTS[1:])))
