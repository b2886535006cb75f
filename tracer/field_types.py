"""The types that fields of events have: how numpy, C and people write each.

One table for all who write fields down: the timeline's columns and the probes' structs are laid out from it, and text,
JSON and recordings take from it how a value is shown. Sizes that probes and user space must agree on stand here too.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tracer.segments import MAX_SACK_BLOCKS


class FieldType(NamedTuple):
    """One type of field: how numpy, C and people write it."""

    numpy: str
    shape: tuple[int, ...]
    c: str
    """C declaration with %s for the field's name."""
    shown: str
    """How text and JSON write it: int, hex, ip, state, flags, epoll, call, text, bytes, sack."""


class Field(NamedTuple):
    """One field of a kind."""

    name: str
    type: str
    """A key of ``TYPES``."""
    unit: str
    meaning: str
    derived: bool = False
    """Worked out in user space; not in the probes' struct."""


MAX_HEADER_BYTES: Final = 104
"""Bytes of a packet kept by the probes, from the IP header on: IPv6 (40) and a TCP header with all options (60)."""

MAX_READY: Final = 8
"""Entries of one epoll_wait() result that are kept; ``n`` says how many there were."""

TYPES: Final[dict[str, FieldType]] = {
    "u8": FieldType("u1", (), "u8 %s", "int"),
    "u16": FieldType("u2", (), "u16 %s", "int"),
    "u32": FieldType("u4", (), "u32 %s", "int"),
    "u64": FieldType("u8", (), "u64 %s", "int"),
    "i8": FieldType("i1", (), "s8 %s", "int"),
    "i32": FieldType("i4", (), "s32 %s", "int"),
    "i64": FieldType("i8", (), "s64 %s", "int"),
    "ptr": FieldType("u8", (), "u64 %s", "hex"),
    "state": FieldType("u1", (), "u8 %s", "state"),
    "call": FieldType("u2", (), "u16 %s", "call"),
    "args": FieldType("u8", (4,), "u64 %s[4]", "hex"),
    # Two host-order halves of the 16 address bytes; IPv4 is v4-mapped (see tracer.segments).
    "addr": FieldType("u8", (2,), "u64 %s[2]", "ip"),
    "comm": FieldType("S16", (), "char %s[16]", "text"),
    # The kernel's own name: the probe gives a number, which changes by kernel.
    "reason": FieldType("S40", (), "", "text"),
    # A short word of a runtime's, from user space.
    "word": FieldType("S16", (), "", "text"),
    "header": FieldType("u1", (MAX_HEADER_BYTES,), f"u8 %s[{MAX_HEADER_BYTES}]", "bytes"),
    "mask8": FieldType("u4", (MAX_READY,), f"u32 %s[{MAX_READY}]", "epoll"),
    "data8": FieldType("u8", (MAX_READY,), f"u64 %s[{MAX_READY}]", "int"),
    "epoll": FieldType("u4", (), "u32 %s", "epoll"),
    "tcpflags": FieldType("u2", (), "u16 %s", "flags"),
    "edge4": FieldType("u4", (MAX_SACK_BLOCKS,), f"u32 %s[{MAX_SACK_BLOCKS}]", "int"),
    "text": FieldType("u4", (), "", "text"),  # index into the timeline's pool of strings; never in a probe
}
