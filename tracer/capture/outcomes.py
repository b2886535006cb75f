"""What became of each packet: the vocabulary between the decoder, which counts, and the notes, which tell.

Most packets of an ordinary capture are TCP segments or plainly something else. The rest is what a person must hear
of: bytes that were cut, damaged, encrypted, or in an encapsulation that is not decoded. Nothing is dropped in silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

TCP: Final = 0
NOT_IP: Final = 1
NOT_TCP: Final = 2
ICMP: Final = 3
FRAGMENT: Final = 4
LINK: Final = 5
CUT: Final = 6
BAD_IP: Final = 7
BAD_TCP: Final = 8
ENCRYPTED: Final = 9
DEEP: Final = 10
TUNNEL: Final = 11
BAD_RECORD: Final = 12
NO_INTERFACE: Final = 13
FRAGMENT_CUT: Final = 14
FRAGMENT_LOST: Final = 15
NO_TIME: Final = 16
FILTERED: Final = 17

OTHER: Final = "other"
LEFT_OUT: Final = "left out"
DAMAGED: Final = "damaged"

OUTCOMES: Final[dict[int, tuple[str, str]]] = {
    NOT_IP: (OTHER, "not IP"),
    NOT_TCP: (OTHER, "IP but not TCP"),
    ICMP: (OTHER, "ICMP (a TCP header quoted in an ICMP error is not a segment)"),
    LINK: (LEFT_OUT, "link type not decoded"),
    CUT: (LEFT_OUT, "captured bytes end before the headers do"),
    BAD_IP: (DAMAGED, "malformed IP header"),
    BAD_TCP: (DAMAGED, "malformed TCP header"),
    ENCRYPTED: (LEFT_OUT, "encrypted"),
    DEEP: (DAMAGED, "too many layers of encapsulation"),
    TUNNEL: (LEFT_OUT, "tunnel not decoded"),
    BAD_RECORD: (DAMAGED, "packet record claims more bytes than it holds"),
    NO_INTERFACE: (DAMAGED, "packet of an interface that the file does not describe"),
    FRAGMENT_CUT: (LEFT_OUT, "IP fragment not captured whole"),
    FRAGMENT_LOST: (LEFT_OUT, "IP fragment of a datagram that was never whole"),
    NO_TIME: (LEFT_OUT, "packet without a time (simple packet block), taken as time 0"),
}
"""Kind and words of each outcome but TCP and FRAGMENT, which are a row and a wait, and FILTERED, not asked for."""


@dataclass(slots=True)
class Note:
    """One reason for which something in the capture did not become a row, with how often and where first."""

    kind: str
    """``other``: ordinary traffic that is not TCP; ``left out``; ``damaged``; ``ended``: reading stopped here."""
    reason: str
    """In words; any text of the file's own in it is made safe for a terminal."""
    count: int
    """How many packets (or blocks)."""
    frame: int
    """The first such packet's number, from 1; 0 where it is not about a packet."""
    offset: int
    """Byte offset in the unpacked stream of the first such packet or block."""

    def __str__(self) -> str:
        where = f"first at frame {self.frame}" if self.frame else f"at offset {self.offset}"
        times = f"{self.count} x " if self.count > 1 or self.frame else ""
        return f"{times}{self.reason}, {where}"


class Notes:
    """The notes of one capture, by reason in order of first appearance."""

    LIMIT: Final = 256
    """Different reasons kept: a hostile file can name many link types."""

    def __init__(self) -> None:
        self._notes: dict[tuple[str, str], Note] = {}

    def add(self, kind: str, reason: str, count: int = 1, frame: int = 0, offset: int = 0) -> None:
        """Count ``count`` more of this reason; frame and offset are kept from the first time."""
        note = self._notes.get((kind, reason))
        if note is not None:
            note.count += count
        elif len(self._notes) < self.LIMIT:
            self._notes[kind, reason] = Note(kind, reason, count, frame, offset)

    def outcome(self, code: int, count: int, frame: int, offset: int, detail: str = "") -> None:
        """Count packets with an outcome of the table; ``detail`` goes behind its words."""
        kind, words = OUTCOMES[code]
        self.add(kind, f"{words}: {detail}" if detail else words, count, frame, offset)

    def __iter__(self) -> Iterator[Note]:
        return iter(list(self._notes.values()))

    def __len__(self) -> int:
        return len(self._notes)

    def of(self, kind: str) -> list[Note]:
        """The notes of one kind."""
        return [note for note in self._notes.values() if note.kind == kind]
