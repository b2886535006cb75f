"""The replay engine held against the kernel, at home: each play's own packets, and the states that the kernel had.

A recording of a play holds both. The packets alone, as a stranger's capture would have them, are given to the
inference, and what it works out for either end must be what the kernel's own events say. Where packets cannot tell, the
difference is listed here with the reason, by the scenario and the side.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Final

from scenarios.sights import CannotTell, Seen
from scenarios.sights_connection import ConnectionSeen
from tests.replay.infer_oracle import inferred, sender
from tests.replay.infer_oracle import timeline as from_packets
from tracer.kinds import Side
from tracer.timeline import Event, Timeline

EXCEPTIONS: Final[dict[str, str]] = {
    "time-wait-pile": "beyond tcp_max_tw_buckets the kernel makes no TIME_WAIT; no packet tells of its limit",
    "self-connect": "one socket is both ends, so it receives its own segments; packets look like those of two",
}
"""Scenario -> why its packets do not tell what its kernel did."""

Ends = dict[tuple[str, int, str, int], list[str]]
"""States in order, by local address and port and the peer's."""


def differences(seen: Seen, recording: Path) -> list[str]:
    """What the packets of a recording tell otherwise than the kernel's events in `seen`, in words."""
    kernel, ours = of_kernel(seen), of_packets(from_packets(recording))
    wrong = []
    for end, states in kernel.items():
        mine = ours.get(end, [])
        if comparable(states) != comparable(mine):
            where = f"{end[0]}:{end[1]} → {end[2]}:{end[3]}"
            wrong.append(f"{where}: the kernel {' '.join(states)}, from packets {' '.join(mine) or 'nothing'}")
    return wrong


def of_kernel(seen: Seen) -> Ends:
    """What the kernel's events say of every end that has a kernel's socket."""
    found: Ends = {}
    for connection in seen.connections():
        for side in ("client", "server"):
            end, states = _end(connection, side), _path(connection, side)
            if end and states:
                found.setdefault(end, []).extend(states)
    return found


def of_packets(line: Timeline) -> Ends:
    """What the inference says of every end."""
    by_end: dict[tuple[str, int, str, int], list[Event]] = {}
    for event in line.events():
        if event.name == "socket:state":
            by_end.setdefault(sender(event), []).append(event)
    return {end: inferred(events) for end, events in by_end.items()}


def comparable(states: list[str]) -> list[str]:
    """Each state once until it changes, without where a life comes from and goes to.

    Those two are no states of a connection; and where an orphan's socket hands over to a small object in FIN_WAIT2, the
    kernel's events name that state twice, once of each object.
    """
    return [state for state, _ in groupby(state for state in states if state not in ("CLOSE", "LISTEN", "UNKNOWN"))]


def _path(connection: ConnectionSeen, side: str) -> list[str]:
    try:
        return [state.name for state, _ in connection.path(side)]
    except CannotTell:
        return []  # a request sock, or a peer that speaks by hand


def _end(connection: ConnectionSeen, side: str) -> tuple[str, int, str, int] | None:
    for packet in connection.of("packet:sent"):
        who = sender(packet)
        return who if packet.side == Side[side.upper()] else (who[2], who[3], who[0], who[1])
    return None
