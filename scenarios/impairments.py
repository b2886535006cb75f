"""What a network may do to packets: lose, delay, hold, duplicate, reorder, slow down, damage.

A rule says which packets it is about, as seen from one actor's cable (its sender, flags, payload, the nth of them), and
what becomes of them. Rules are declared with the scenario, to hold from the beginning, or given by steps of the actor
named `network` while the play goes on. The relay (`scenarios.relay`) carries them out, packet by packet and by the
first rule that fits, and every packet that one has fitted is reported on the timeline with its fate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Fate = Literal["dropped", "delayed", "held", "duplicated", "reordered", "damaged"]

FLAGS: Final = {"FIN": 0x01, "SYN": 0x02, "RST": 0x04, "PSH": 0x08, "ACK": 0x10, "URG": 0x20, "ECE": 0x40, "CWR": 0x80}
"""RFC 9293 section 3.1, RFC 3168."""


@dataclass(frozen=True)
class Rule:
    """Which packets, and what becomes of them."""

    fate: Fate
    sender: str = ""
    """Actor from whom they come; empty: any."""
    flags: str = ""
    """Flags they must all have, as `SYN ACK`. `ACK` alone fits nearly every segment of an open connection."""
    without: str = ""
    """Flags of which they must have none."""
    payload: bool | None = None
    """True: only segments with data; False: only those without."""
    nth: int = 0
    """Only the nth that fits all the above, counted from 1; 0: all."""
    count: int = 0
    """At most so many, from the nth on (or from the first); 0: one if `nth` is given, else without end."""
    every: int = 0
    """Only every so manieth that fits."""
    chance: float = 1.0
    """Probability with which one that fits is taken, by a generator with the scenario's `seed`: the same each time."""
    seconds: float = 0.0
    """delayed: by how long. duplicated: how long after the first the second one comes."""
    behind: int = 1
    """reordered: how many later packets of the same sender overtake it."""

    def __post_init__(self) -> None:
        for name in (*self.flags.split(), *self.without.split()):
            if name not in FLAGS:
                raise ValueError(f"no TCP flag {name!r} (there are {', '.join(FLAGS)})")
        if not 0 <= self.chance <= 1:
            raise ValueError(f"a chance is between 0 and 1, not {self.chance}")

    def fits(self, sender: str, flags: int, length: int) -> bool:
        """Whether a segment is one of those meant, before counting. `length` is its payload's, in bytes."""
        wanted, unwanted = mask(self.flags), mask(self.without)
        return (
            self.sender in ("", sender)
            and flags & wanted == wanted
            and not flags & unwanted
            and (self.payload is None or self.payload == (length > 0))
        )

    def takes(self, number: int) -> bool:
        """Whether it is about the `number`th segment that fits (from 1), `chance` aside."""
        first = self.nth or 1
        most = self.count or (1 if self.nth else 0)
        if number < first or (self.every and (number - first) % self.every):
            return False
        place = (number - first) // self.every if self.every else number - first
        return not most or place < most

    def __str__(self) -> str:
        which = f"{self.nth}. " if self.nth else ""
        what = self.flags.replace(" ", "-") or "packet"
        data = {True: " with data", False: " without data", None: ""}[self.payload]
        return f"{which}{what}{data}{f' of the {self.sender}' if self.sender else ''} {self.fate}"


def drop(
    sender: str = "", flags: str = "", *, without: str = "", payload: bool | None = None, nth: int = 0, count: int = 0,
    every: int = 0, chance: float = 1.0,
) -> Rule:  # fmt: skip
    """Lose them: `drop("client", "ACK", nth=3)`, `drop("server", payload=True, chance=0.05)`."""
    return Rule("dropped", sender, flags, without, payload, nth, count, every, chance)


def delay(
    sender: str = "", flags: str = "", seconds: float = 0.1, *, without: str = "", payload: bool | None = None,
    nth: int = 0, count: int = 0, every: int = 0, chance: float = 1.0,
) -> Rule:  # fmt: skip
    """Let them through later: `delay("server", "FIN", 0.2)`."""
    return Rule("delayed", sender, flags, without, payload, nth, count, every, chance, seconds)


def hold(
    sender: str = "", flags: str = "", *, without: str = "", payload: bool | None = None, nth: int = 0, count: int = 0,
    every: int = 0, chance: float = 1.0,
) -> Rule:  # fmt: skip
    """Keep them until the network's `release()`: an old duplicate, a segment lost in the Alps."""
    return Rule("held", sender, flags, without, payload, nth, count, every, chance)


def duplicate(
    sender: str = "", flags: str = "", seconds: float = 0.0, *, without: str = "", payload: bool | None = None,
    nth: int = 0, count: int = 0, every: int = 0, chance: float = 1.0,
) -> Rule:  # fmt: skip
    """Let them through, and once more so many seconds later."""
    return Rule("duplicated", sender, flags, without, payload, nth, count, every, chance, seconds)


def reorder(
    sender: str = "", flags: str = "", behind: int = 1, *, without: str = "", payload: bool | None = None, nth: int = 0,
    count: int = 0, every: int = 0, chance: float = 1.0,
) -> Rule:  # fmt: skip
    """Let so many later packets of the same sender overtake them."""
    return Rule("reordered", sender, flags, without, payload, nth, count, every, chance, behind=behind)


def damage(
    sender: str = "", flags: str = "", *, without: str = "", payload: bool | None = None, nth: int = 0, count: int = 0,
    every: int = 0, chance: float = 1.0,
) -> Rule:  # fmt: skip
    """Flip a bit of them and leave the checksum: the receiver's kernel must notice."""
    return Rule("damaged", sender, flags, without, payload, nth, count, every, chance)


def mask(names: str) -> int:
    """Flags by name as bits."""
    return sum(FLAGS[name] for name in names.split())
