"""Where the Go runtime keeps what is asked of it: fields of its structs, and its words for why a goroutine waits.

None of it is an interface: it changes from one minor version to the next, never within one. So there is a table by
minor version, measured from the debug information of programs built with each (a test measures again with the Go that
is there). For a version that the table does not have, the program's own debug information is read, which takes seconds
for a large program; without either, its goroutines cannot be followed.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, Final, NamedTuple

from tracer.runtimes.go_binary import GoBinary, GoError


class Layout(NamedTuple):
    """Offsets in bytes."""

    g_m: int
    g_status: int
    g_goid: int
    g_reason: int
    g_startpc: int
    m_curg: int
    pd_fd: int
    pd_rg: int
    pd_wg: int


_PATHS: Final = (
    ("runtime.g", "m"), ("runtime.g", "atomicstatus"), ("runtime.g", "goid"), ("runtime.g", "waitreason"),
    ("runtime.g", "startpc"), ("runtime.m", "curg"), ("runtime.pollDesc", "fd"), ("runtime.pollDesc", "rg"),
    ("runtime.pollDesc", "wg"),
)  # fmt: skip
"""Struct and member of each field of a Layout."""

LAYOUTS: Final[dict[int, Layout]] = {
    17: Layout(48, 144, 152, 176, 312, 192, 16, 40, 136),
    18: Layout(48, 144, 152, 176, 312, 192, 8, 24, 32),
    19: Layout(48, 144, 152, 176, 312, 192, 8, 24, 32),
    20: Layout(48, 144, 152, 176, 312, 192, 8, 24, 32),
    21: Layout(48, 144, 152, 176, 296, 192, 8, 32, 40),
    22: Layout(48, 144, 152, 176, 296, 192, 8, 32, 40),
    23: Layout(48, 152, 160, 184, 304, 192, 8, 32, 40),
    24: Layout(48, 152, 160, 184, 304, 192, 8, 32, 40),
    25: Layout(48, 144, 152, 176, 296, 184, 8, 32, 40),
    26: Layout(48, 144, 152, 176, 304, 184, 8, 32, 40),
    27: Layout(48, 144, 152, 176, 304, 184, 8, 32, 40),
}
"""By minor version of Go 1, on 64-bit machines."""

_BEGIN: Final = (
    "|GC assist marking|IO wait|chan receive (nil chan)|chan send (nil chan)|dumping heap|garbage collection|"
    "garbage collection scan|panicwait|select|select (no cases)|GC assist wait|GC sweep wait|GC scavenge wait|"
    "chan receive|chan send|finalizer wait|force gc (idle)|"
)
_LOCKS: Final = "semacquire|sleep|sync.Cond.Wait|sync.Mutex.Lock|sync.RWMutex.RLock|sync.RWMutex.Lock|"
_END: Final = (
    "trace reader (blocked)|wait for GC cycle|GC worker (idle)|GC worker (active)|preempted|debug call|"
    "GC mark termination|stopping the world"
)
_22: Final = "|flushing proc caches|trace goroutine status|trace proc status|page trace flush|coroutine"
_23: Final = "|GC weak to strong wait"
_24: Final = "|synctest.Run|synctest.Wait|"
_DURABLE: Final = (
    "chan receive (durable)|chan send (durable)|select (durable)|sync.WaitGroup.Wait (durable)|cleanup wait"
)
_GROUP: Final = "sync.WaitGroup.Wait|"
_UPDATER: Final = "GOMAXPROCS updater (idle)|"
_MOVED: Final = (
    "|GC assist marking|IO wait|dumping heap|garbage collection|garbage collection scan|panicwait|GC assist wait|"
    "GC sweep wait|GC scavenge wait|finalizer wait|force gc (idle)|GOMAXPROCS updater (idle)|semacquire|sleep|"
    "chan receive (nil chan)|chan send (nil chan)|select (no cases)|select|chan receive|chan send|sync.Cond.Wait|"
    "sync.Mutex.Lock|sync.RWMutex.RLock|sync.RWMutex.Lock|"
)

_OLD: Final = (
    _BEGIN + "semacquire|sleep|sync.Cond.Wait|timer goroutine (idle)|trace reader (blocked)|wait for GC cycle|"
    "GC worker (idle)|preempted|debug call"
)

_REASONS: Final[dict[int, str]] = {
    17: _OLD,
    18: _OLD,
    19: _OLD,
    20: _BEGIN + _LOCKS + _END,
    21: _BEGIN + _LOCKS + _END,
    22: _BEGIN + _LOCKS + _END + _22,
    23: _BEGIN + _LOCKS + _END + _22 + _23,
    24: _BEGIN + _LOCKS + _GROUP + _END + _22 + _23 + _24
    + "chan receive (synctest)|chan send (synctest)|select (synctest)",
    25: _BEGIN + _UPDATER + _LOCKS + _GROUP + _END + _22 + _23 + _24 + _DURABLE,
    26: _MOVED + _GROUP + _END + _22 + _23 + _24 + _DURABLE,
    27: _MOVED + _GROUP + _END + _22 + _23 + _24 + _DURABLE,
}  # fmt: skip


def layout_of(binary: GoBinary) -> tuple[Layout, tuple[str, ...]]:
    """The layout for a program, and the names of its wait reasons by number. Raises `GoError`."""
    known = LAYOUTS.get(binary.minor)
    if known is not None:
        return known, reasons_of(binary.minor)
    measured = measure(binary.path)
    if measured is None:
        raise GoError(
            f"{binary.name} is made by {binary.version}, whose runtime is not known here, and has no debug information "
            "that tells: its goroutines cannot be followed"
        )
    return measured, measured_reasons(binary)


def reasons_of(minor: int) -> tuple[str, ...]:
    """The wait reasons of a version of the table, by number. Raises KeyError."""
    return tuple(_REASONS[minor].split("|"))


def measure(path: str) -> Layout | None:
    """The layout from a program's debug information; None where it has none."""
    from elftools.elf.elffile import ELFFile

    wanted = {struct for struct, _ in _PATHS}
    found: dict[tuple[str, str], int] = {}
    with Path(path).open("rb") as file:
        elf = ELFFile(file)
        if not elf.has_dwarf_info():
            return None
        for unit in elf.get_dwarf_info().iter_CUs():
            for entry in unit.get_top_DIE().iter_children():
                if entry.tag == "DW_TAG_structure_type" and (name := _name(entry)) in wanted:
                    members = (child for child in entry.iter_children() if child.tag == "DW_TAG_member")
                    found |= {
                        (name, _name(child)): child.attributes["DW_AT_data_member_location"].value for child in members
                    }
                    wanted.discard(name)
            if not wanted:
                break
    return Layout(*(found[path] for path in _PATHS)) if all(path in found for path in _PATHS) else None


def measured_reasons(binary: GoBinary) -> tuple[str, ...]:
    """The wait reasons that a program's own symbol table leads to; none where it is stripped."""
    from elftools.elf.elffile import ELFFile

    with Path(binary.path).open("rb") as file:
        table: Any = ELFFile(file).get_section_by_name(".symtab")
        symbols = table.get_symbol_by_name("runtime.waitReasonStrings") if table else None
        if not symbols:
            return ()
        address, size = symbols[0]["st_value"], symbols[0]["st_size"]
    pairs = struct.iter_unpack("<QQ", binary.at(address, size))
    return tuple(binary.at(at, length).decode("utf-8", "replace") if length else "" for at, length in pairs)


def _name(entry: Any) -> str:
    attribute = entry.attributes.get("DW_AT_name")
    return attribute.value.decode("utf-8", "replace") if attribute is not None else ""
