"""An AF_PACKET socket read through a ring of memory shared with the kernel (packet(7), PACKET_RX_RING).

A plain packet socket charges every packet with the memory of its whole buffer, so one 64 KiB segment of loopback fills
a third of what an unprivileged user may queue and the next are lost. In the ring each packet takes one slot whatever
its size, because only its headers are copied, and all slots that are full are read at once as a numpy array. Each slot
carries the kernel's own nanosecond time of day, so nothing depends on when it is read.

A small classic BPF program decides in the kernel what comes in: TCP over IPv4 or IPv6, and on loopback, where every
packet is seen twice (leaving and arriving), only the arriving one.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import struct
from typing import Final

import numpy as np

from tracer.kinds import MAX_HEADER_BYTES
from tracer.wire.frames import Frames, Seat

SOL_PACKET: Final = 263
PACKET_RX_RING: Final = 5
PACKET_STATISTICS: Final = 6
PACKET_VERSION: Final = 10
TPACKET_V2: Final = 1
TP_STATUS_USER: Final = 1
SO_ATTACH_FILTER: Final = 26
ETH_P_ALL: Final = 3

SLOT: Final = 256
"""Bytes of a slot: tpacket2_hdr and sockaddr_ll (66), then link, IP and TCP header."""
SNAP: Final = 174
"""Bytes of a packet that are kept, from the link header on."""
BLOCK: Final = 1 << 16
BLOCKS: Final = 64
"""4 MiB in all, 16,384 packets: at 100 drains a second room for 1.6 million packets a second."""

_SLOT: Final = np.dtype(
    {
        "names": ["status", "len", "snaplen", "mac", "net", "sec", "nsec", "ifindex"],
        "formats": ["u4", "u4", "u4", "u2", "u2", "u4", "u4", "i4"],
        "offsets": [0, 4, 8, 12, 14, 16, 20, 36],  # struct tpacket2_hdr, then sockaddr_ll at TPACKET_ALIGN(32)
        "itemsize": SLOT,
    }
)

_AD: Final = 0xFFFF_F000  # SKF_AD_OFF: what the kernel knows about the packet
_NET: Final = 0xFFF0_0000  # SKF_NET_OFF: from the network header on
_LOAD, _LOAD_BYTE, _EQUAL, _RETURN = 0x20, 0x30, 0x15, 0x06
_PROGRAM: Final = (  # operation, jumps if true and if false (so many lines on), operand
    (_LOAD, 0, 0, _AD + 8),  # interface
    (_EQUAL, 0, 2, 1),  # lo is number 1 in every network namespace
    (_LOAD, 0, 0, _AD + 4),  # packet type
    (_EQUAL, 7, 0, 4),  # PACKET_OUTGOING: drop
    (_LOAD, 0, 0, _AD + 0),  # EtherType
    (_EQUAL, 0, 2, 0x0800),
    (_LOAD_BYTE, 0, 0, _NET + 9),
    (_EQUAL, 4, 3, 6),  # protocol: accept or drop
    (_EQUAL, 0, 2, 0x86DD),
    (_LOAD_BYTE, 0, 0, _NET + 6),
    (_EQUAL, 1, 0, 6),  # next header; else drop
    (_RETURN, 0, 0, 0),
    (_RETURN, 0, 0, SNAP),
)


def bind(opened: socket.socket, interface: str) -> None:
    """Let packets in from an interface, or with an empty name from all. Raises OSError."""
    if interface:
        opened.bind((interface, ETH_P_ALL))
        return
    # Python's bind() asks for the number of every name, the empty one too.
    everywhere = struct.pack("=HHiHBB8x", socket.AF_PACKET, socket.htons(ETH_P_ALL), 0, 0, 0, 0)  # struct sockaddr_ll
    if ctypes.CDLL(None, use_errno=True).bind(opened.fileno(), everywhere, len(everywhere)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class RingSeat(Seat):
    """Reads one packet socket, not bound yet: no packet may come before filter and ring are there."""

    def __init__(self, opened: socket.socket, interface: str, blocks: int = BLOCKS) -> None:
        """Take over the socket and begin. `interface` empty: all. Raises OSError, the socket is then closed."""
        self._socket = opened
        self._memory: mmap.mmap | None = None
        self._next = 0
        self._dropped = 0
        try:
            self._attach_filter()
            opened.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V2)
            request = struct.pack("=IIII", BLOCK, blocks, SLOT, BLOCK // SLOT * blocks)
            opened.setsockopt(SOL_PACKET, PACKET_RX_RING, request)
            self._memory = mmap.mmap(opened.fileno(), BLOCK * blocks)
            self._octets = np.frombuffer(self._memory, np.uint8).reshape(-1, SLOT)
            self._slots = np.frombuffer(self._memory, _SLOT)
            bind(opened, interface)
        except OSError:
            self.close()
            raise

    def _attach_filter(self) -> None:
        code = b"".join(struct.pack("=HBBI", *each) for each in _PROGRAM)
        kept = ctypes.create_string_buffer(code, len(code))
        program = struct.pack("@HP", len(_PROGRAM), ctypes.addressof(kept))  # struct sock_fprog
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)

    def read(self) -> Frames:
        """All packets that have come since the last call."""
        if self._memory is None:
            return Frames.none()
        if not self._slots["status"][self._next] & TP_STATUS_USER:
            return Frames.none()
        slots = len(self._slots)
        # The kernel fills slot after slot: those it has handed over are one run, which may go round the end.
        order = np.arange(self._next, self._next + slots) % slots
        ready = self._slots["status"][order] & TP_STATUS_USER != 0
        run = order[: slots if ready.all() else int(np.argmin(ready))]
        octets = self._octets[run]
        self._slots["status"][run] = 0  # after the copy: the slots are the kernel's again
        self._next = (self._next + len(run)) % slots
        heads = octets.view(_SLOT).reshape(-1)
        columns = heads["net"].astype(np.int64)[:, None] + np.arange(MAX_HEADER_BYTES)
        link = (heads["net"] - heads["mac"]).astype(np.int64)
        return Frames(
            octets[np.arange(len(run))[:, None], np.minimum(columns, SLOT - 1)],
            np.clip(heads["snaplen"].astype(np.int64) - link, 0, MAX_HEADER_BYTES),
            np.maximum(heads["len"].astype(np.int64) - link, 0),
            heads["sec"].astype(np.int64) * 1_000_000_000 + heads["nsec"],
            heads["ifindex"].astype(np.uint32),
        )

    def dropped(self) -> int:
        """Packets for which there was no free slot, since the beginning."""
        if self._memory is not None:
            # The kernel sets its counts back when they are read.
            _, drops = struct.unpack("=II", self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
            self._dropped += drops
        return self._dropped

    def close(self) -> None:
        """Let go of socket and ring."""
        if self._memory is not None:
            self.dropped()
            del self._octets, self._slots
            self._memory.close()
            self._memory = None
        self._socket.close()
