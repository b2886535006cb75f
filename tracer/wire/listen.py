"""A seat at the wire through scapy: for systems and kernels where there is no packet ring to be had.

scapy knows how to listen on an interface on Linux, macOS and the BSDs alike. It is slower than a ring, keeps whole
packets in the socket's buffer, so that bulk traffic overflows it, and its time is a float with a resolution of a
quarter of a microsecond at today's dates. Where there is a ring (`tracer.wire.ring`), that is used.
"""

from __future__ import annotations

import select
import socket
import time
from typing import Any, Final

import numpy as np

from tracer.kinds import MAX_HEADER_BYTES
from tracer.wire.frames import Frames, Seat
from tracer.wire.ring import bind

MOST: Final = 4096
"""Frames to a read, so that a flood cannot hold the reader for ever."""
ETH_P_ALL: Final = 3
SOL_PACKET: Final = 263
PACKET_AUXDATA: Final = 8
SO_TIMESTAMPNS: Final = 35


class ScapySeat(Seat):
    """Listens on one interface with scapy's own socket, or on an AF_PACKET socket that was opened elsewhere."""

    def __init__(self, interface: str, opened: socket.socket | None = None) -> None:
        """Begin. Raises OSError (PermissionError where the rights do not suffice)."""
        from scapy.config import conf  # takes a fifth of a second; only those who sit here pay

        self._interface = interface
        self._index = socket.if_nametoindex(interface) if opened is None else 1
        if opened is None:
            import scapy.arch  # noqa: F401 - fills in conf.L2listen

            self._listener: Any = conf.L2listen(iface=interface)
        else:
            self._listener = _adopt(opened, interface)

    def read(self) -> Frames:
        """All frames that have come since the last call, at most MOST."""
        packets: list[bytes] = []
        times: list[int] = []
        for _ in range(MOST):
            if not select.select([self._listener], [], [], 0)[0]:
                break
            layer, frame, stamp = self._listener.recv_raw()
            if frame and (packet := from_ip(layer, frame)):
                packets.append(packet)
                times.append(round((time.time() if stamp is None else stamp) * 1e9))
        lengths = np.array([len(packet) for packet in packets], np.int64)
        cut = b"".join(packet[:MAX_HEADER_BYTES].ljust(MAX_HEADER_BYTES, b"\0") for packet in packets)
        return Frames(
            np.frombuffer(cut, np.uint8).reshape(-1, MAX_HEADER_BYTES),
            np.minimum(lengths, MAX_HEADER_BYTES),
            lengths,
            np.array(times, np.int64),
            np.full(len(packets), self._index, np.uint32),
        )

    def dropped(self) -> int:
        """Not known here: scapy does not say. 0."""
        return 0

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()


def from_ip(layer: Any, frame: bytes) -> bytes:
    """The IP packet in a frame whose outermost layer is of that scapy class; empty when there is none."""
    name = getattr(layer, "__name__", "")
    if name == "Ether":
        at = 12
        while frame[at : at + 2] in (b"\x81\x00", b"\x88\xa8"):  # IEEE 802.1Q and 802.1ad tags
            at += 4
        return frame[at + 2 :] if frame[at : at + 2] in (b"\x08\x00", b"\x86\xdd") else b""
    if name == "Loopback":  # LINKTYPE_NULL, as on macOS
        return frame[4:]
    return frame if frame[0] >> 4 in (4, 6) else b""


def _adopt(opened: socket.socket, interface: str) -> Any:
    """scapy's listening socket around a descriptor of ours (of another network namespace)."""
    from scapy.arch.linux import L2ListenSocket
    from scapy.layers.l2 import Ether

    class Adopted(L2ListenSocket):
        def __init__(self) -> None:
            self.ins, self.iface, self.type, self.promisc = opened, interface, ETH_P_ALL, False
            self.outs = None  # type: ignore[assignment]  # as scapy's own listening sockets have it
            opened.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            opened.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self.auxdata_available = True  # it then looks for both in what comes with a packet
            bind(opened, interface)

        def recv_raw(self, x: int = 65535) -> tuple[Any, bytes | None, float | None]:
            frame, address, stamp = self._recv_raw(self.ins, x)
            if address[2] == socket.PACKET_OUTGOING and interface == "lo":  # seen again when it arrives
                return None, None, None
            return Ether, frame, stamp

    return Adopted()
