"""The end of a cable in user land: an AF_PACKET socket that sends and receives whole frames on one interface.

The relay has one for each actor's cable, a hand-made peer has one on its own. Its descriptor lies above those of the
story, and what it sends it does not receive again (PACKET_IGNORE_OUTGOING, Linux 4.20).
"""

from __future__ import annotations

import fcntl
import os
import socket
from typing import Final

CONTROL_FDS_FROM: Final = 200
"""Descriptors that are not of the story are moved up here, out of its way."""
ETH_P_ALL: Final = 3
SOL_PACKET: Final = 263
PACKET_IGNORE_OUTGOING: Final = 23
FRAME_BYTES: Final = 65600
RECEIVE_BYTES: Final = 4 << 20


def up(fd: int) -> int:
    """Move a descriptor up, out of the way of the story's; returns its new number. Raises OSError."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, CONTROL_FDS_FROM)
    os.close(fd)
    return moved


def plug_in(interface: str) -> socket.socket:
    """Open an interface of the network this process is in; non-blocking. Raises OSError."""
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    first = socket.socket(socket.AF_PACKET, kind, 0)  # protocol 0: nothing comes before it is bound
    first.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    first.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    first.bind((interface, ETH_P_ALL))
    return socket.socket(fileno=up(first.detach()))
