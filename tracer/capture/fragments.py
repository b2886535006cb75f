"""Putting IP datagrams together again (RFC 791 section 3.2, RFC 8200 section 4.5), with bounded memory.

A fragment is no TCP segment; the packet that makes its datagram whole is, and counts as one at that packet's place and
time. Segments are rarely fragmented, since both ends avoid it (RFC 9293 section 3.7.5), so this is plain Python.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

MAX_DATAGRAMS: Final = 256
"""Datagrams waited for at a time; the one begun first gives way."""
MAX_FRAGMENTS: Final = 2048
"""Fragments of one datagram: 65,535 octets in steps of 32 fit."""
MAX_PAYLOAD: Final = 65_535


@dataclass(slots=True)
class _Datagram:
    parts: dict[int, bytes] = field(default_factory=dict)
    """Offset to octets; of two parts at one offset the longer."""
    size: int = -1
    """Payload octets; -1 until the last fragment was seen."""
    pieces: int = 0
    frame: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Lost:
    """A datagram that was given up."""

    pieces: int
    """Fragments seen of it."""
    frame: int
    """The packet its first one was in."""
    offset: int
    """Where that packet is in the file."""


class Reassembler:
    """Fragments by datagram; ``add`` gives back the datagram that a fragment completes."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[bytes, _Datagram] = OrderedDict()
        self.lost: list[Lost] = []
        """Datagrams given up since the list was last emptied by the caller."""

    def add(self, packet: bytes, frame: int, offset: int) -> bytes | None:
        """Take a whole IP fragment, header first; the datagram as one unfragmented IP packet when that completes it."""
        if packet[0] >> 4 == 4:
            header = (packet[0] & 15) * 4
            total = int.from_bytes(packet[2:4], "big")
            where = int.from_bytes(packet[6:8], "big")
            key = b"4" + packet[4:6] + packet[9:10] + packet[12:20]
            more, begin = bool(where & 0x2000), (where & 0x1FFF) * 8
            payload = packet[header:total]
            proto = packet[9]
        else:
            at = _fragment_header(packet)
            if at < 0:
                return None
            where = int.from_bytes(packet[at + 2 : at + 4], "big")
            key = b"6" + packet[at + 4 : at + 8] + packet[8:40]
            more, begin = bool(where & 1), where & 0xFFF8
            payload = packet[at + 8 :]
            proto = packet[at]
        whole = self._add(key, begin, more, payload, frame, offset)
        if whole is None:
            return None
        if key[:1] == b"4":
            head = bytearray(packet[:20])
            head[0] = 0x45
            head[2:4] = min(len(whole) + 20, 0xFFFF).to_bytes(2, "big")
            head[6:8] = b"\0\0"
        else:
            head = bytearray(packet[:40])
            head[4:6] = len(whole).to_bytes(2, "big")
            head[6] = proto
        return bytes(head) + whole

    def _add(self, key: bytes, begin: int, more: bool, payload: bytes, frame: int, offset: int) -> bytes | None:
        datagram = self._waiting.get(key)
        if datagram is None:
            if len(self._waiting) >= MAX_DATAGRAMS:
                self._give_up(self._waiting.popitem(last=False)[1])
            datagram = self._waiting[key] = _Datagram(frame=frame, offset=offset)
        datagram.pieces += 1
        if begin + len(payload) > MAX_PAYLOAD or datagram.pieces > MAX_FRAGMENTS:
            self._give_up(self._waiting.pop(key))
            return None
        if len(payload) > len(datagram.parts.get(begin, b"")):
            datagram.parts[begin] = payload
        if not more:
            datagram.size = begin + len(payload)
        if datagram.size < 0:
            return None
        whole = bytearray()
        for at in sorted(datagram.parts):
            if at > len(whole):
                return None
            whole += datagram.parts[at][len(whole) - at :]
        if len(whole) < datagram.size:
            return None
        del self._waiting[key]
        return bytes(whole[: datagram.size])

    def _give_up(self, datagram: _Datagram) -> None:
        self.lost.append(Lost(datagram.pieces, datagram.frame, datagram.offset))

    def finish(self) -> None:
        """Give up all that is still waiting: the capture has ended."""
        for datagram in self._waiting.values():
            self._give_up(datagram)
        self._waiting.clear()


def _fragment_header(packet: bytes) -> int:
    """Where an IPv6 packet's fragment header is; -1 where it has none."""
    proto, at = packet[6], 40
    while at + 8 <= len(packet):
        if proto == 44:
            return at
        if proto not in (0, 43, 60, 135, 139, 140, 51):
            break
        step = (packet[at + 1] + 2) * 4 if proto == 51 else (packet[at + 1] + 1) * 8
        proto, at = packet[at], at + step
    return -1
