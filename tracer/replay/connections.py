"""A connection in one row: who, how much, how long, how it went.

Both directions are columns of two: 0 is from the endpoint that sent the first captured segment, 1 is to it. The names
are those of Wireshark's conversations and of Zeek's conn.log; a capture may begin in the middle, so the first sender
need not be the client (``flipped`` says which one is taken to be).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.replay.history import LETTERS, conn_states, histories
from tracer.replay.rows import Direction, Flow, layout

CONNECTION: Final = np.dtype(
    [
        ("stream", "u4"),  # tcp.stream
        ("family", "u1"),  # 4 or 6
        ("completeness", "u1"),  # tcp.completeness: 1 SYN, 2 SYN-ACK, 4 ACK, 8 data, 16 FIN, 32 RST
        ("reused", "u1"),  # began on the addresses and ports of an earlier connection
        ("src_hi", "u8"),
        ("src_lo", "u8"),
        ("dst_hi", "u8"),
        ("dst_lo", "u8"),
        ("sport", "u2"),
        ("dport", "u2"),
        ("first_time", "i8"),  # ns since the Unix epoch
        ("last_time", "i8"),
        ("first_frame", "u4"),
        ("last_frame", "u4"),
        ("initial_rtt", "i8"),  # ns from the last SYN to the first ACK; -1 where the handshake was not seen
        ("packets", "u8", (2,)),
        ("payload", "u8", (2,)),  # bytes, retransmissions included
        ("captured", "u8", (2,)),  # bytes captured of the frames
        ("retransmitted", "u4", (2,)),  # segments
        ("out_of_order", "u4", (2,)),
        ("lost", "u4", (2,)),  # gaps: segments with "previous segment not captured"
        ("zero_windows", "u4", (2,)),
        ("gaps", "u4", (2,)),  # acknowledgments of bytes that were not seen
        ("syns", "u4", (2,)),
        ("fins", "u4", (2,)),
        ("rsts", "u4", (2,)),
        ("flipped", "u1"),  # 1: the sender of the first captured segment is taken to be the responder
        ("conn_state", "S6"),  # Zeek's: history.CONN_STATES
        ("history", f"S{LETTERS}"),  # Zeek's: upper case is the originator
    ],
    align=True,
)
"""numpy dtype of one connection."""


def connection_rows(
    flows: Sequence[Flow] | NDArray[Any], directions: Sequence[Direction] | NDArray[Any]
) -> NDArray[Any]:
    """Rows of ``CONNECTION`` from the engine's; the directions of flow n are at 2n and 2n + 1."""
    flow = _records(flows, Flow)
    direction = _records(directions, Direction).reshape(len(flow), 2)
    rows = np.zeros(len(flow), CONNECTION)
    rows["conn_state"] = conn_states(flow, direction)
    rows["history"] = histories(flow)
    for name in (CONNECTION.names or ())[:-2]:
        column = flow[name] if name in (flow.dtype.names or ()) else direction[name]
        rows[name] = column.view("u8") if CONNECTION[name] == np.dtype("u8") else column
    return rows


def _records(rows: Sequence[Flow | Direction] | NDArray[Any], kind: type[Flow] | type[Direction]) -> NDArray[Any]:
    if isinstance(rows, np.ndarray):
        return rows
    names = [field.name for field in fields(kind)]
    return np.array([tuple(getattr(row, name) for name in names) for row in rows], layout(kind))
