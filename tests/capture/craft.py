"""Captures made by hand, a header at a time, so that every trap has a file of a few bytes."""

from __future__ import annotations

import importlib.util
import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracer.capture import ByteSource, Capture, Journal, open_capture
from tracer.capture.decoder import Form
from tracer.segments import SEGMENT

FORMS: list[Form] = ["plain", "columns", *(["compiled"] if importlib.util.find_spec("numba") else [])]
"""The ways of decoding that are to be had here."""
A4, B4 = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
A6, B6 = bytes.fromhex("20010db8" + "00" * 11 + "01"), bytes.fromhex("20010db8" + "00" * 11 + "02")
MACS = bytes(range(12))
MAPPED = 0xFFFF << 32
FIRST = MAPPED | 0x0A000001


def tcp(payload: bytes = b"", options: bytes = b"", seq: int = 1000, flags: int = 0x18, words: int = 0) -> bytes:
    """A segment from port 1111 to 80; ``words`` forces the data offset."""
    offset = words or 5 + len(options) // 4
    return struct.pack(">HHIIHHHH", 1111, 80, seq, 2000, offset << 12 | flags, 512, 0, 7) + options + payload


def ip4(
    body: bytes, proto: int = 6, total: int | None = None, fragment: int = 0, options: bytes = b"", ident: int = 0x4242
) -> bytes:
    """An IPv4 packet from A4 to B4."""
    header = 20 + len(options)
    size = header + len(body) if total is None else total
    start = struct.pack(">BBHHHBBH", 0x40 | header // 4, 0, size, ident, fragment, 64, proto, 0)
    return start + A4 + B4 + options + body


def ip6(body: bytes, following: int = 6, size: int | None = None) -> bytes:
    """An IPv6 packet from A6 to B6."""
    return struct.pack(">IHBB", 6 << 28, len(body) if size is None else size, following, 63) + A6 + B6 + body


def udp(body: bytes, port: int) -> bytes:
    """A UDP datagram to ``port``."""
    return struct.pack(">HHHH", 5555, port, 8 + len(body), 0) + body


def ether(body: bytes, kind: int = 0x0800) -> bytes:
    """An Ethernet frame."""
    return MACS + kind.to_bytes(2, "big") + body


def record(frame: bytes, order: str = "<", wire: int = 0, seconds: int = 1, fraction: int = 5) -> bytes:
    """A pcap record."""
    return struct.pack(f"{order}IIII", seconds, fraction, len(frame), wire or len(frame)) + frame


def pcap(*frames: bytes, link: int = 1, order: str = "<", magic: int = 0xA1B2C3D4, wire: int = 0) -> bytes:
    """A pcap file."""
    head = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    return head + b"".join(record(frame, order, wire) for frame in frames)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A pcapng block."""
    body += bytes(-len(body) % 4)
    size = struct.pack(f"{order}I", len(body) + 12)
    return struct.pack(f"{order}I", kind) + size + body + size


def option(code: int, value: bytes, order: str = "<") -> bytes:
    """A pcapng option."""
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order: str = "<", options: bytes = b"") -> bytes:
    """A Section Header Block."""
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1) + options, order)


def interface(link: int = 1, snaplen: int = 0, order: str = "<", options: bytes = b"") -> bytes:
    """An Interface Description Block."""
    return block(1, struct.pack(f"{order}HHI", link, 0, snaplen) + options, order)


def enhanced(
    frame: bytes, ticks: int = 1_000_005, number: int = 0, order: str = "<", caplen: int | None = None
) -> bytes:
    """An Enhanced Packet Block."""
    size = len(frame) if caplen is None else caplen
    head = struct.pack(f"{order}IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, size, size)
    return block(6, head + frame + bytes(-len(frame) % 4), order)


def simple(frame: bytes, wire: int = 0, order: str = "<") -> bytes:
    """A Simple Packet Block."""
    return block(3, struct.pack(f"{order}I", wire or len(frame)) + frame, order)


def obsolete(frame: bytes, number: int = 0, ticks: int = 1_000_005, order: str = "<") -> bytes:
    """An obsolete Packet Block, with a drop count that must not be taken for the interface."""
    head = struct.pack(f"{order}HHIIII", number, 9, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
    return block(2, head + frame, order)


def read(data: bytes, form: Form | None = None) -> tuple[NDArray[Any], Capture]:
    """All rows of a capture, and the capture."""
    rows, _, capture = read_all(data, form)
    return rows, capture


def read_all(data: bytes, form: Form | None = None, size: int = 0) -> tuple[NDArray[Any], list[Journal], Capture]:
    """All rows and journal entries, and the capture; ``size`` sets the buffer's size."""
    capture = Capture(ByteSource(io.BytesIO(data)), form, size) if size else open_capture(io.BytesIO(data), form)
    blocks = list(capture.blocks())
    rows = np.concatenate([np.empty(0, SEGMENT), *(each.segments for each in blocks)])
    return rows, [entry for each in blocks for entry in each.journals], capture


def values(rows: NDArray[Any]) -> dict[str, Any]:
    """The rows by column, without the padding between fields, for comparing."""
    return {name: rows[name].tolist() for name in SEGMENT.names or ()}


def notes(capture: Capture) -> list[str]:
    """The notes in words."""
    return [str(note) for note in capture.notes]
