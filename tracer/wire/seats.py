"""The best seat at the wire that is to be had: the ring, else scapy's socket."""

from __future__ import annotations

import socket
from collections.abc import Callable

from tracer.wire.frames import Seat
from tracer.wire.listen import ScapySeat
from tracer.wire.ring import RingSeat


def take(opened: Callable[[], socket.socket], interface: str) -> tuple[Seat, str]:
    """A seat, and what is to be said about it (empty for the ring).

    `opened` gives a fresh AF_PACKET socket that is not bound yet. Raises OSError when it cannot: then there are no
    packets to be had.
    """
    first = opened()
    try:
        return RingSeat(first, interface), ""
    except OSError as refused:
        return ScapySeat(interface, opened()), f"no packet ring ({refused.strerror}): bulk traffic may be lost unseen"
