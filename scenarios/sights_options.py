"""The options of a SYN: what two ends agree on before the first byte, and never again.

MSS, window scale, SACK and timestamps may only be offered on a SYN (RFC 9293 section 3.7.1, RFC 7323, RFC 2018). The
packet events carry those four as columns; the fast-open cookie (RFC 7413 section 4.1.1) is read from the header.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from scenarios.sights_basis import CannotTell
from tracer.timeline import Event

NO_OPERATION: Final = 1
FAST_OPEN: Final = 34
IPV6_HEADER: Final = 40


@dataclass(frozen=True)
class SynOptions:
    """What a SYN offers."""

    mss: int
    """Bytes; 0 absent."""
    window_scale: int
    """Bits to shift windows by; -1 absent."""
    sack: bool
    """SACK permitted."""
    timestamps: bool
    cookie: bytes | None
    """The fast-open cookie; empty asks for one, None: no such option."""


def syn_options(event: Event) -> SynOptions:
    """Read a packet event. Raises CannotTell when the snapshot cut its options off."""
    if event["partial"]:
        raise CannotTell("the capture cut the options off")
    cookie = next((value for kind, value in _options(event) if kind == FAST_OPEN), None)
    return SynOptions(event["mss"], event["wscale"], bool(event["sack_permitted"]), bool(event["has_ts"]), cookie)


def _options(event: Event) -> Iterator[tuple[int, bytes]]:
    """(kind, value) of each option in the TCP header that the event keeps."""
    raw: bytes = event["raw"][: event["caplen"]]
    if not raw:
        return
    begin = IPV6_HEADER if raw[0] >> 4 == 6 else (raw[0] & 15) * 4
    options = raw[begin + 20 : begin + event["header"]]
    while options and options[0]:
        if options[0] == NO_OPERATION:
            options = options[1:]
            continue
        length = options[1] if len(options) > 1 else 0
        if length < 2:
            return
        yield options[0], options[2:length]
        options = options[length:]
