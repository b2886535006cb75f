"""The lives of many connections at once: records instead of objects, kept by compiled functions.

What ``Life`` does, the first half of this module does to records: the log of the inference goes through ``record``, and
``tell`` sums up, once, how long each end of a connection was in which state. An end's life is a chain of stays, newest
first, because a correction takes the newest back. A connection's row is found by its stream number in a table with
open addressing. It is free again when the connection has been told of and the inference has given it up as well: until
then a timer may still speak of it, which must not make it new.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.replay.infer_rules import CLOSE, CORRECTED, TIME_WAIT, UNKNOWN
from tracer.replay.infer_tables import FORGOTTEN
from tracer.replay.lived import LIVED, STATES

_LIFE: Final = np.dtype(
    [(name, "i8") for name in ("stream", "number", "told", "state0", "state1", "certainty0", "certainty1", "newer")]
    + [("top", "i8", (2,))]
)
"""``number`` is the row of the inference, 0 once that is given up; ``top`` the newest stays, -1 for none."""
_STAY: Final = np.dtype([("time", "i8"), ("below", "i4"), ("state", "i4")])
_DESK: Final = np.dtype(
    [(name, "i8") for name in ("free_life", "spare_lives", "free_stay", "spare_stays", "kept", "mask")]
)


wide: Any = np.int64
"""Signed and 64 bits wide."""


class Shelf(NamedTuple):
    """All lives there are. Row 0 of the lives is never used."""

    places: NDArray[Any]
    lives: NDArray[Any]
    stays: NDArray[Any]
    desk: NDArray[Any]
    """One row of what belongs to none."""


SHELF: Final = (np.dtype(np.int32), _LIFE, _STAY, _DESK)


def life_home(stream: int, mask: int) -> int:
    """Where the search for a stream begins. Streams are dense: as they are they would lie in one long run."""
    mixed = stream * 0x61C88647
    return (mixed ^ (mixed >> 17)) & mask


def life_slot(shelf: Any, stream: int) -> int:
    """Where in ``places`` the stream is, or would be."""
    places, mask = shelf.places, shelf.desk[0].mask
    slot = life_home(stream, mask)
    while places[slot] and shelf.lives[places[slot]].stream != stream:
        slot = (slot + 1) & mask
    return slot


def leave_slot(shelf: Any, slot: int) -> None:
    """Close over a place, as ``hashing.remove`` does."""
    places, mask = shelf.places, shelf.desk[0].mask
    gap = slot
    while True:
        slot = (slot + 1) & mask
        if places[slot] == 0:
            break
        if (slot - life_home(shelf.lives[places[slot]].stream, mask)) & mask >= (slot - gap) & mask:
            places[gap] = places[slot]
            gap = slot
    places[gap] = 0


def clear(shelf: Any, life: Any) -> None:
    """Both ends have no life any more."""
    desk = shelf.desk[0]
    for row in range(2):
        at = life.top[row]
        while at >= 0:
            below = shelf.stays[at].below
            shelf.stays[at].below = desk.free_stay
            desk.free_stay = at
            desk.spare_stays += 1
            at = below
        life.top[row] = -1


def free_life(shelf: Any, slot: int) -> None:
    """The row at this place is free."""
    desk = shelf.desk[0]
    number = shelf.places[slot]
    life = shelf.lives[number]
    clear(shelf, life)
    leave_slot(shelf, slot)
    life.newer = desk.free_life
    desk.free_life = number
    desk.spare_lives += 1
    desk.kept -= 1


def stay(shelf: Any, life: Any, row: int, state: int, time: int) -> None:
    """An end enters a state."""
    desk = shelf.desk[0]
    at = desk.free_stay
    one = shelf.stays[at]
    desk.free_stay = one.below
    desk.spare_stays -= 1
    one.state = state
    one.time = time
    one.below = life.top[row]
    life.top[row] = at


def take_back(shelf: Any, life: Any, row: int, state: int) -> bool:
    """Whether the end was in ``state`` before; if so, it never left it."""
    stays, desk = shelf.stays, shelf.desk[0]
    at = life.top[row]
    while at >= 0 and stays[at].state != state:
        at = stays[at].below
    if at < 0:
        return False
    wrong = life.top[row]
    while wrong != at:
        below = stays[wrong].below
        stays[wrong].below = desk.free_stay
        desk.free_stay = wrong
        desk.spare_stays += 1
        wrong = below
    life.top[row] = at
    return True


def record(shelf: Any, entries: Any) -> int:
    """Put changes of the log (infer_compiled.ENTRY) into lives: how many, fewer than all where rows may be missing."""
    desk = shelf.desk[0]
    for i in range(len(entries)):
        if desk.spare_lives < 1 or desk.spare_stays < 2:
            return i
        entry = entries[i]
        slot = life_slot(shelf, entry.stream)
        number = shelf.places[slot]
        if number == 0:
            if entry.number == 0 or entry.trigger == FORGOTTEN:
                continue
            number = desk.free_life
            life = shelf.lives[number]
            desk.free_life = life.newer
            desk.spare_lives -= 1
            desk.kept += 1
            life.stream = entry.stream
            life.told = 0
            life.number = entry.number
            life.top[0] = -1
            life.top[1] = -1
            shelf.places[slot] = number
        life = shelf.lives[number]
        if entry.trigger == FORGOTTEN:
            if life.told:
                free_life(shelf, slot)
            else:
                life.number = 0
                life.state0 = entry.old
                life.state1 = entry.new
                life.certainty0 = entry.certainty & 3
                life.certainty1 = entry.certainty >> 2
            continue
        if life.told:
            continue
        if entry.number == 0:  # a timer of a connection that was given up
            if life.number:
                continue
            if entry.row == 0:
                life.state0 = entry.new
                life.certainty0 = entry.certainty
            else:
                life.state1 = entry.new
                life.certainty1 = entry.certainty
        elif life.number == 0:  # given up, and seen again as something new
            clear(shelf, life)
            life.number = entry.number
        if entry.certainty == CORRECTED and take_back(shelf, life, entry.row, entry.new):
            continue
        top = life.top[entry.row]
        if top < 0 or shelf.stays[top].state != entry.old:
            stay(shelf, life, entry.row, entry.old, entry.time)
        stay(shelf, life, entry.row, entry.new, entry.time)
    return len(entries)


def tell(shelf: Any, ends: Any, streams: Any, lasts: Any, until: int, found: Any) -> None:
    """Sum up connections into ``found`` (LIVED, zeros), and forget them.

    ``lasts``: when each was heard of last (ns), up to which its last state lasted; TIME_WAIT lasts up to ``until``.
    """
    for i in range(len(streams)):
        slot = life_slot(shelf, wide(streams[i]))
        number = shelf.places[slot]
        if number == 0 or shelf.lives[number].told:
            continue
        life = shelf.lives[number]
        out = found[i]
        if life.number:
            for row in range(2):
                end = ends[2 * life.number + row]
                out.state[row] = end.state
                out.certainty[row] = end.certainty
        else:
            out.state[0] = life.state0
            out.state[1] = life.state1
            out.certainty[0] = life.certainty0
            out.certainty[1] = life.certainty1
        for row in range(2):
            at = life.top[row]
            left = lasts[i]
            if at >= 0 and shelf.stays[at].state == TIME_WAIT:
                left = until
            base = row * STATES
            count = 0
            while at >= 0 and shelf.stays[at].below >= 0:  # how long the first lasted is not known
                one = shelf.stays[at]
                state = one.state
                if state not in (UNKNOWN, CLOSE):
                    # The chain is walked from its end: what is met again was first entered earlier, so it goes behind.
                    spent = max(left - one.time, 0)
                    k = 0
                    while k < count and out.which[base + k] != state:
                        k += 1
                    if k < count:
                        spent += out.spent[base + k]
                        for m in range(k, count - 1):
                            out.which[base + m] = out.which[base + m + 1]
                            out.spent[base + m] = out.spent[base + m + 1]
                        count -= 1
                    out.which[base + count] = state
                    out.spent[base + count] = spent
                    count += 1
                left = one.time
                at = one.below
            out.count[row] = count
            for k in range(count // 2):
                m = count - 1 - k
                out.which[base + k], out.which[base + m] = out.which[base + m], out.which[base + k]
                out.spent[base + k], out.spent[base + m] = out.spent[base + m], out.spent[base + k]
        if life.number:
            clear(shelf, life)
            life.told = 1
        else:
            free_life(shelf, slot)


class Lives:
    """The lives kept beside a compiled inference."""

    def __init__(self) -> None:
        none = np.zeros(1, _DESK)
        none["free_life"] = none["free_stay"] = -1
        self._shelf = Shelf(np.zeros(1, np.int32), np.zeros(1, _LIFE), np.zeros(0, _STAY), none)

    def __len__(self) -> int:
        """Connections that have a row."""
        return int(self._shelf.desk["kept"][0])

    def record(self, code: Mapping[str, Callable[..., Any]], entries: NDArray[Any]) -> None:
        """Take in a part of the log."""
        done = 0
        while True:
            self._reserve()
            done += code["record"](self._shelf, entries[done:])
            if done == len(entries):
                return

    def tell(
        self, code: Mapping[str, Callable[..., Any]], ends: NDArray[Any], streams: NDArray[Any], lasts: NDArray[Any],
        until: int,
    ) -> NDArray[Any]:  # fmt: skip
        """Rows of LIVED, as ``tell`` has it."""
        found = np.zeros(len(streams), LIVED)
        self._reserve()
        code["tell"](
            self._shelf, ends, np.ascontiguousarray(streams, np.uint32), np.ascontiguousarray(lasts, np.int64), until,
            found,
        )  # fmt: skip
        return found

    def _reserve(self) -> None:
        """See to it that there are free rows, and a free half of the places."""
        desk = self._shelf.desk
        if desk["spare_lives"][0] < 1:
            lives = _grown(self._shelf.lives, desk, "lives", "free_life", "newer")
            self._shelf = self._shelf._replace(lives=lives)
        if desk["spare_stays"][0] < 2:
            stays = _grown(self._shelf.stays, desk, "stays", "free_stay", "below")
            self._shelf = self._shelf._replace(stays=stays)
        if len(self._shelf.places) < 2 * len(self._shelf.lives):
            used = self._shelf.places[self._shelf.places > 0]
            places = np.zeros(1 << (2 * len(self._shelf.lives) - 1).bit_length(), np.int32)
            mask = len(places) - 1
            for number in used.tolist():
                slot = life_home(int(self._shelf.lives["stream"][number]), mask)
                while places[slot]:
                    slot = (slot + 1) & mask
                places[slot] = number
            self._shelf = self._shelf._replace(places=places)
            desk["mask"] = mask


def _grown(rows: NDArray[Any], desk: NDArray[Any], name: str, free: str, link: str) -> NDArray[Any]:
    """Rows and a quarter more, the new ones chained before those that are free."""
    known, more = len(rows), max(1024, len(rows) // 4)
    grown = np.zeros(known + more, rows.dtype)
    grown[:known] = rows
    grown[link][known:] = np.arange(known + 1, known + more + 1)
    grown[link][-1] = desk[free][0]
    desk[free] = known
    desk[f"spare_{name}"] += more
    return grown


def summary(lives: Sequence[Any], last: int, until: int) -> tuple[list[int], list[int], list[int]]:
    """``count``, ``which`` and ``spent`` of two plain lives (infer_lives.Life), as ``tell`` sums them up."""
    counts, which, spent = [0, 0], [0] * 2 * STATES, [0] * 2 * STATES
    for row, life in enumerate(lives):
        waits = life.states[-1:] == [TIME_WAIT]
        for state, ns in life.spent(until if waits else last).items():
            if state not in (UNKNOWN, CLOSE):
                place = row * STATES + counts[row]
                counts[row] += 1
                which[place], spent[place] = state, ns
    return counts, which, spent
