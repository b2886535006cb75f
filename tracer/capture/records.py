"""The fixed fields of packet records, fetched for many records at once.

pcap's record header and pcapng's three kinds of packet block say when a packet was seen, how much of it is there and
how long it was. Nothing they say is believed before it is compared with the room the record has.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tracer.capture.columns import Ints
from tracer.capture.columns import at as records
from tracer.capture.compiled import Kernels
from tracer.capture.decoder import Frames
from tracer.capture.outcomes import BAD_RECORD, NO_INTERFACE
from tracer.capture.pcapng import Interface, Order, nanoseconds
from tracer.capture.walk import PB, SPB

NO_LIMIT: Final = 1 << 32


def fields(octets: NDArray[np.uint8], found: Ints, count: int, order: Order) -> NDArray[np.uint32]:
    """The first ``count`` 32-bit fields of the records at ``found``, one row each."""
    whole = records(octets, found, f"V{4 * count}")
    numbers: NDArray[np.uint32] = whole.view(f"{'<' if order == 'little' else '>'}u4").reshape(len(found), count)
    return numbers


def pcap_frames(octets: NDArray[np.uint8], found: Ints, header: int, order: Order, interface: Interface) -> Frames:
    """The packets of the pcap records at ``found``, whose headers are ``header`` bytes long."""
    head = fields(octets, found, 4, order)
    ticks = head[:, 0].astype(np.uint64) * np.uint64(10**interface.resolution) + head[:, 1]
    return Frames(
        start=found + header,
        caplen=head[:, 2].astype(np.int64),
        wire=head[:, 3].astype(np.int64),
        link=np.full(len(found), interface.link_type, np.int64),
        time=nanoseconds(ticks, interface),
        outcome=np.zeros(len(found), np.int64),
    )


def pcap_frames_compiled(
    kernels: Kernels, octets: NDArray[np.uint8], found: Ints, header: int, order: Order, interface: Interface
) -> Frames:
    """The same by the compiled loop."""
    start, caplen, wire, time = (np.empty(len(found), np.int64) for _ in range(4))
    unit = 10 ** (9 - interface.resolution)
    kernels.pcap_fields(octets, found, header, int(order == "little"), unit, start, caplen, wire, time)
    link, outcome = np.full(len(found), interface.link_type, np.int64), np.zeros(len(found), np.int64)
    return Frames(start, caplen, wire, link, time, outcome)


def pcapng_frames(
    octets: NDArray[np.uint8], found: Ints, kinds: Ints, order: Order, interfaces: list[Interface]
) -> Frames:
    """The packets of the Enhanced, Simple and obsolete Packet Blocks at ``found``; a simple one's time is 0."""
    head = fields(octets, found, 7, order).astype(np.int64)
    simple = kinds == SPB
    old = kinds == PB  # its interface ID has 16 bits, before 16 bits of a drop count
    number = np.where(old, head[:, 2] & 0xFFFF if order == "little" else head[:, 2] >> 16, head[:, 2])
    number[simple] = 0
    room = head[:, 1] - np.where(simple, 16, 32)
    wire = np.where(simple, head[:, 2], head[:, 6])
    snaplen = (interfaces[0].snaplen if interfaces else 0) or NO_LIMIT
    caplen = np.where(simple, np.minimum(np.minimum(wire, snaplen), room), head[:, 5])
    outcome = np.zeros(len(found), np.int64)
    outcome[(caplen > room) | (room < 0)] = BAD_RECORD
    outcome[number >= len(interfaces)] = NO_INTERFACE
    ticks = head[:, 3].astype(np.uint64) << np.uint64(32) | head[:, 4].astype(np.uint64)
    link = np.zeros(len(found), np.int64)
    time = np.zeros(len(found), np.int64)
    for index in np.unique(number).tolist():
        if index < len(interfaces):
            which = np.flatnonzero(number == index)
            link[which] = interfaces[index].link_type
            time[which] = nanoseconds(ticks[which], interfaces[index])
    time[simple] = 0
    return Frames(
        start=found + np.where(simple, 12, 28),
        caplen=np.clip(caplen, 0, np.maximum(room, 0)),
        wire=wire,
        link=link,
        time=time,
        outcome=outcome,
    )
