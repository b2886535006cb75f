"""Frames to rows in one go: all that is done with the packets of a batch, one packet after the other.

Found, looked into and written while its bytes are at hand, a packet costs least. This is the form for numba (large
files) and the measure for numpy's columns; as plain Python it is what everything else is compared with.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.capture.layers import locate
from tracer.capture.outcomes import TCP
from tracer.capture.rows import extract
from tracer.capture.walk import Octets, u32


def pcap_fields(
    buf: Octets,
    found: NDArray[np.int64],
    header: int,
    little: int,
    unit: int,
    start: NDArray[np.int64],
    caplen: NDArray[np.int64],
    wire: NDArray[np.int64],
    time: NDArray[np.int64],
) -> None:
    """The fields of the pcap records at ``found`` into the last four; ``unit`` is ns of the time stamp's fraction."""
    for i in range(len(found)):
        at = int(found[i])
        start[i] = at + header
        time[i] = u32(buf, at, little != 0) * 1_000_000_000 + u32(buf, at + 4, little != 0) * unit
        caplen[i] = u32(buf, at + 8, little != 0)
        wire[i] = u32(buf, at + 12, little != 0)


def decode_all(
    buf: Octets,
    base: int,
    first: int,
    start: NDArray[np.int64],
    caplen: NDArray[np.int64],
    wire: NDArray[np.int64],
    link: NDArray[np.int64],
    time: NDArray[np.int64],
    outcome: NDArray[np.int64],
    ip: NDArray[np.int64],
    stop: NDArray[np.int64],
    rows: NDArray[Any],
) -> int:
    """Rows of the TCP segments among the frames whose outcome is TCP so far; how many.

    ``base`` is the stream offset of the first byte of ``buf``, ``first`` the number of the first packet. What becomes
    of the others is written to ``outcome``, and where their last IP header is and where its packet ends.
    """
    count = 0
    for i in range(len(start)):
        if outcome[i] != TCP:
            continue
        at = int(start[i])
        size = int(caplen[i])
        cut = at + size
        code, header, tcp, over = locate(buf, at, cut, at + max(int(wire[i]), size), int(link[i]))
        if code != TCP:
            outcome[i] = code
            ip[i] = header
            stop[i] = over
            continue
        row = rows[count]
        count += 1
        row["time"] = time[i]
        row["frame"] = first + i
        row["caplen"] = size
        row["offset"] = base + at
        extract(buf, header, tcp, over, cut, row)
    return count


KERNELS: Final = ("pcap_fields", "decode_all")
"""Functions numba may compile, each after those it calls."""
