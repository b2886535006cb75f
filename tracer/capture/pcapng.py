"""What a pcapng file says about itself: sections, interfaces and their options (draft-ietf-opsawg-pcapng).

Byte order belongs to a section; link type, time resolution and time offset belong to an interface of that section.
These blocks are few, so they are read one at a time in plain Python.
"""

from __future__ import annotations

import struct
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from tracer.capture.walk import EPB, PB

BYTE_ORDER_MAGIC: Final = 0x1A2B3C4D

Order = Literal["little", "big"]


@dataclass(frozen=True, slots=True)
class Section:
    """A Section Header Block, or a whole pcap file."""

    offset: int
    """Where it begins in the unpacked stream, bytes."""
    order: Order
    version: tuple[int, int]
    comments: tuple[str, ...] = ()
    """opt_comment, each; made safe for a terminal, as all text here."""
    hardware: str = ""
    os: str = ""
    application: str = ""


@dataclass(frozen=True, slots=True)
class Interface:
    """An Interface Description Block, or the one interface of a pcap file."""

    section: int
    """Index of its section."""
    number: int
    """Interface ID within the section."""
    link_type: int
    """LINKTYPE_ number."""
    snaplen: int
    """Bytes captured of a packet at most; 0: no limit."""
    resolution: int = 6
    """if_tsresol: the negative power of 10 of a tick, or of 2 where the top bit is set."""
    time_offset: int = 0
    """if_tsoffset: seconds to add."""
    name: str = ""
    description: str = ""
    filter: str = ""
    os: str = ""
    hardware: str = ""
    comments: tuple[str, ...] = ()


def printable(raw: bytes) -> str:
    """Text of the file's own for showing: UTF-8, with what could steer a terminal spelt out."""
    text = raw.rstrip(b"\0").decode("utf-8", "backslashreplace")
    return "".join(
        letter if letter == "\n" or unicodedata.category(letter)[0] != "C" else f"\\u{{{ord(letter):x}}}"
        for letter in text
    )


def options(data: bytes, order: Order) -> Iterator[tuple[int, bytes]]:
    """The options of a block as (code, value); a cut option ends them."""
    at = 0
    while at + 4 <= len(data):
        code = int.from_bytes(data[at : at + 2], order)
        size = int.from_bytes(data[at + 2 : at + 4], order)
        if code == 0 or at + 4 + size > len(data):
            return
        yield code, data[at + 4 : at + 4 + size]
        at += 4 + (size + 3) // 4 * 4


def byte_order(block: bytes) -> Order | None:
    """The byte order that a Section Header Block's first 12 bytes declare; None if they declare none."""
    magic = block[8:12]
    if magic == BYTE_ORDER_MAGIC.to_bytes(4, "little"):
        return "little"
    return "big" if magic == BYTE_ORDER_MAGIC.to_bytes(4, "big") else None


def read_section(block: bytes, order: Order, offset: int) -> Section:
    """A whole Section Header Block of at least 28 bytes."""
    found: dict[int, list[str]] = {}
    for code, value in options(block[24:-4], order):
        if code <= 4:
            found.setdefault(code, []).append(printable(value))
    version = struct.unpack("<HH" if order == "little" else ">HH", block[12:16])
    return Section(
        offset,
        order,
        (version[0], version[1]),
        tuple(found.get(1, ())),
        *(" ".join(found.get(code, ())) for code in (2, 3, 4)),
    )


def read_interface(block: bytes, order: Order, section: int, number: int) -> Interface:
    """A whole Interface Description Block of at least 20 bytes."""
    link, _, snaplen = struct.unpack("<HHI" if order == "little" else ">HHI", block[8:16])
    resolution, shift = 6, 0
    text: dict[int, list[str]] = {}
    for code, value in options(block[16:-4], order):
        if code == 9 and len(value) >= 1:
            resolution = value[0]
        elif code == 14 and len(value) >= 8:
            shift = int.from_bytes(value[:8], order, signed=True)
        elif code == 11:
            text.setdefault(code, []).append(printable(value[1:]) if value[:1] == b"\0" else "(not as text)")
        elif code in (1, 2, 3, 12, 15):
            text.setdefault(code, []).append(printable(value))
    name, description, filter_, os, hardware = (" ".join(text.get(code, ())) for code in (2, 3, 11, 12, 15))
    return Interface(
        section, number, link, snaplen, resolution, shift, name, description, filter_, os, hardware,
        tuple(text.get(1, ())),
    )  # fmt: skip


def packet_interface(head: bytes, order: Order) -> int:
    """The interface ID of the packet before whose bytes ``head`` stands, a block's first 28 bytes."""
    kind = int.from_bytes(head[:4], order)
    if kind == EPB:
        return int.from_bytes(head[8:12], order)
    return int.from_bytes(head[8:10], order) if kind == PB else 0


def nanoseconds(ticks: NDArray[np.uint64], interface: Interface) -> NDArray[np.int64]:
    """Time stamps of an interface as ns since the epoch; one beyond the years int64 can hold wraps around."""
    power = interface.resolution & 0x7F
    if interface.resolution & 0x80:
        if power > 63:
            ns = np.zeros(len(ticks), np.uint64)
        else:
            seconds = ticks >> np.uint64(power)
            rest = ticks & np.uint64((1 << power) - 1)
            fewer = max(power - 32, 0)  # so that the product with 10^9 stays below 2^64
            ns = seconds * np.uint64(10**9)
            ns += (rest >> np.uint64(fewer)) * np.uint64(10**9) >> np.uint64(power - fewer)
    elif power <= 9:
        ns = ticks * np.uint64(10 ** (9 - power))
    else:
        ns = ticks // np.uint64(10 ** (power - 9)) if power <= 28 else np.zeros(len(ticks), np.uint64)
    shift = interface.time_offset * 10**9 & 0xFFFF_FFFF_FFFF_FFFF
    return (ns + np.uint64(shift)).view(np.int64)
