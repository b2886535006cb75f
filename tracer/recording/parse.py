"""Blocks of a recording read in bulk: plain functions over arrays, made for numba to compile.

They read what our own writer writes, in the order in which it writes it: each field of a kind at most once, in the
order of the table of kinds. Whatever is not just so is left to the general reader, block by block: nothing is guessed.

``out`` is one array of bytes with the heads in front and the tables of all kinds behind them.
"""

from __future__ import annotations

import sys
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer import headers_loop
from tracer.machine_code import Entry, Group, MachineCode
from tracer.recording.loops import (
    AT,
    COUNT,
    FD,
    FIELD,
    FORM,
    HEX,
    I8,
    I32,
    I64,
    IP,
    JOURNAL,
    NAME,
    NAME_END,
    PACKET,
    RAW,
    STATE,
    TEXT,
    U8,
    U16,
    U32,
)  # fmt: skip

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
GENERAL: Final = -1
"""Instead of the number of a kind: a block for the general reader."""
_BLOCK_LEAST: Final = 12
_PREFIX: Final = 7
"""Letters of SYNFIN_, which all names share."""


class Words(NamedTuple):
    """Pieces of text, one behind the other, and where each begins; the last place is the end."""

    kinds: Bytes
    kind_starts: Ints
    """By number, from 0 on; a kind that is not for this has no letters."""
    sources: Bytes
    source_starts: Ints
    evidences: Bytes
    evidence_starts: Ints
    states: Bytes
    state_starts: Ints
    first: Bytes
    """SYNFIN_KIND= SYNFIN_SOURCE= SYNFIN_EVIDENCE= and what comments begin with."""
    first_starts: Ints
    fields: Ints
    """Rows of FIELD numbers, as for writing (tracer.recording.loops)."""
    spans: Ints
    names: Bytes


def u32_at(data: Bytes, at: int) -> Any:
    """Four bytes, little-endian."""
    low = np.int64(data[at]) | np.int64(data[at + 1]) << 8
    return low | np.int64(data[at + 2]) << 16 | np.int64(data[at + 3]) << 24


def same(data: Bytes, at: int, limit: int, pool: Bytes, begin: int, end: int) -> bool:
    """Whether the text at ``at`` begins with a piece of a pool."""
    if at + end - begin > limit:
        return False
    for i in range(end - begin):  # no all(): numba has no generators
        if data[np.uint64(at + i)] != pool[np.uint64(begin + i)]:
            break
    else:
        return True
    return False


def word(data: Bytes, at: int, limit: int, end: int, pool: Bytes, starts: Ints) -> int:
    """The number of the word that stands here and goes up to ``end``; -1 for none."""
    for i in range(len(starts) - 1):
        size = starts[i + 1] - starts[i]
        if size and at + size < limit and data[at + size] == end and same(data, at, limit, pool, starts[i],
                                                                          starts[i + 1]):  # fmt: skip
            return i
    return -1


def find_blocks(data: Bytes, most: int, starts: Ints) -> int:
    """Where packets and journal entries at the beginning of ``data`` begin, and behind them the end of the last.

    Returns how many; ends before any other block, a broken one and one that is not all there.
    """
    at = count = 0
    while count < len(starts) - 1 and at + _BLOCK_LEAST <= len(data):
        kind, length = u32_at(data, at), u32_at(data, at + 4)
        if kind not in (PACKET, JOURNAL) or length < _BLOCK_LEAST or length > most or length & 3:
            break
        if at + length > len(data):
            break
        starts[count] = at
        at += length
        count += 1
    starts[count] = at
    return count


def find_kind(data: Bytes, begin: int, limit: int, words: Words) -> tuple[int, int]:
    """The number of a block's kind, or GENERAL, and the place behind it."""
    at, end = begin + 8, 10
    if u32_at(data, begin) == PACKET:
        end = 32
        if at + 24 > limit:
            return GENERAL, at
        caplen = u32_at(data, at + 12)
        at += 20 + (caplen + 3 & ~3)
        if at + 4 > limit or data[at] != 1 or data[at + 1] != 0:  # the first option is our comment
            return GENERAL, at
        at += 4
        if not same(data, at, limit, words.first, words.first_starts[3], words.first_starts[4]):
            return GENERAL, at
        at += words.first_starts[4] - words.first_starts[3]
    while not same(data, at, limit, words.first, words.first_starts[0], words.first_starts[1]):
        if end == 32 or at >= limit or data[at] == 83:  # another of ours in front of it
            return GENERAL, at
        while at < limit and (data[at] == 95 or 65 <= data[at] <= 90):
            at += 1
        if at >= limit or data[at] != 61:  # a field in the form for control characters
            return GENERAL, at
        while at < limit and data[at] != 10:
            at += 1
        at += 1
    at += words.first_starts[1] - words.first_starts[0]
    kind = word(data, at, limit, end, words.kinds, words.kind_starts)
    if kind < 0:
        return GENERAL, at
    return kind, at + words.kind_starts[kind + 1] - words.kind_starts[kind] + 1


def find_kinds(data: Bytes, starts: Ints, kinds: Ints, places: Ints, words: Words) -> None:
    """The kind of each block and the place behind its name."""
    for i in range(len(kinds)):
        kinds[i], places[i] = find_kind(data, starts[i], starts[i + 1] - 4, words)


def read_number(data: Bytes, at: int) -> tuple[bool, Any, int]:
    """Whether it is below zero, its size, and the place behind; the same place if there is none."""
    begin, below, value = at, data[at] == 45, np.uint64(0)
    if below:
        at += 1
    first = at
    if data[at] == 48 and data[at + 1] == 120:
        at += 2
        first = at
        while True:
            digit = hex_digit(data[at])
            if digit < 0:
                break
            value = value << np.uint64(4) | np.uint64(digit)
            at += 1
        return below, value, at if first < at <= first + 16 else begin
    while 48 <= data[at] <= 57:
        value = value * np.uint64(10) + np.uint64(data[at] - 48)
        at += 1
    good = first < at <= first + 19 and (data[first] != 48 or at == first + 1)
    if at == first + 20 and data[first] == 49 and value >= np.uint64(10_000_000_000_000_000_000):
        good = True  # what went over 2**64 is smaller than 10**19 now
    return below, value, at if good else begin


def hex_digit(letter: Any) -> int:
    """0 to 15, or -1."""
    if 48 <= letter <= 57:
        return np.int64(letter) - 48  # type: ignore[return-value]
    if 97 <= letter <= 102:
        return np.int64(letter) - 87  # type: ignore[return-value]
    return -1


def put(out: Bytes, to: int, size: int, value: Any) -> None:
    """So many bytes of a number, little-endian."""
    for i in range(size):
        out[to + i] = np.uint8((value >> np.uint64(8 * i)) & np.uint64(255))


def put_checked(out: Bytes, to: int, form: int, below: bool, value: Any) -> bool:
    """The number into a field; whether it fits there."""
    size, signed = 8, form in (I8, I32, I64, FD)
    if form in (U8, I8, STATE):
        size = 1
    elif form == U16:
        size = 2
    elif form in (U32, I32, FD):
        size = 4
    if signed:
        most = np.uint64(1) << np.uint64(8 * size - 1)
        if value > most or (value == most and not below):
            return False
        put(out, to, size, np.uint64(0) - value if below else value)
        return True
    if (below and value != 0) or (size < 8 and value >> np.uint64(8 * size)):
        return False
    put(out, to, size, value)
    return True


def read_field(data: Bytes, at: int, limit: int, end: int, row: int, to: int, out: Bytes, words: Words) -> int:
    """A field's value; returns the place behind it, or ``limit`` + 1 for what is not as we write it."""
    form, count = words.fields[row + FORM], words.fields[row + COUNT]
    if form == TEXT:
        begin = at
        while at < limit and data[at] != end and at - begin < count:
            if data[at] < 32 or data[at] > 126:
                return limit + 1
            out[to + at - begin] = data[at]
            at += 1
        return at
    if form == RAW or (form == IP and not dotted(data, at)):
        step = 1 if form == RAW else 16
        for i in range(count * 8 if form == IP else count):
            high, low = hex_digit(data[at]), hex_digit(data[at + 1])
            if high < 0 or low < 0 or at + 2 > limit:
                return limit + 1
            place = i if step == 1 else (i & 8) + 7 - (i & 7)
            out[to + place] = np.uint8(high << 4 | low)
            at += 2
        return at
    if form == IP:
        for i in range(4):
            below, value, behind = read_number(data, at)
            if behind == at or below or value > np.uint64(255) or (i < 3 and data[behind] != 46):
                return limit + 1
            out[to + 11 - i] = np.uint8(value)
            at = behind + 1
        out[to + 12], out[to + 13] = np.uint8(255), np.uint8(255)
        return at - 1
    if form == STATE and not 48 <= data[at] <= 57:
        state = word(data, at, limit + 1, end, words.states, words.state_starts)
        if state < 0:
            return limit + 1
        out[to] = np.uint8(state)
        return at + words.state_starts[state + 1] - words.state_starts[state]  # type: ignore[no-any-return]
    size = 1 if form in (U8, I8, STATE) else 2 if form == U16 else 4 if form in (U32, I32, FD) else 8
    for i in range(1 if form in (HEX, FD, STATE) else count):
        if i:
            if data[at] != 44:
                return limit + 1
            at += 1
        below, value, behind = read_number(data, at)
        if behind == at or not put_checked(out, to + i * size, form, below, value):
            return limit + 1
        at = behind
    return at


def dotted(data: Bytes, at: int) -> bool:
    """Whether a point comes before the fourth digit."""
    return bool(data[at + 1] == 46 or data[at + 2] == 46 or data[at + 3] == 46)


def read_block(data: Bytes, begin: int, at: int, limit: int, kind: int, head: int, own: int, layout: Ints, out: Bytes,
               words: Words) -> bool:  # fmt: skip
    """One event; False where something is not as we write it."""
    end = 10
    if u32_at(data, begin) == PACKET:
        end = 32
        caplen = u32_at(data, begin + 20)
        option = begin + 28 + (caplen + 3 & ~3)
        limit = min(limit, option + 4 + np.int64(data[option + 2]) + (np.int64(data[option + 3]) << 8))
        for i in range(min(caplen, layout[4])):
            out[own + layout[3] + i] = data[np.uint64(begin + 28 + i)]
    for which in (1, 2):
        if not same(data, at, limit, words.first, words.first_starts[which], words.first_starts[which + 1]):
            return False
        at += words.first_starts[which + 1] - words.first_starts[which]
        if which == 1:
            number = word(data, at, limit, end, words.sources, words.source_starts)
            size = words.source_starts[number + 1] - words.source_starts[number]
        else:
            number = word(data, at, limit, end, words.evidences, words.evidence_starts)
            size = words.evidence_starts[number + 1] - words.evidence_starts[number]
        if number < 0:
            return False
        out[head + layout[which]] = np.uint8(number)
        at += size + 1
    first, last = words.spans[2 * kind], words.spans[2 * kind + 1]
    f, timed = first, False
    while at < limit and data[at] != 0:
        row = f * FIELD
        while f < last and not same(
            data, at + _PREFIX, limit, words.names, words.fields[row + NAME] + _PREFIX, words.fields[row + NAME_END]
        ):
            f += 1
            row = f * FIELD
        name = words.fields[row + NAME]
        if f == last or (f > first and not timed) or not same(data, at, limit, words.names, name, name + _PREFIX):
            return False  # unknown, or the time is not the first
        timed = True
        at += words.fields[row + NAME_END] - words.fields[row + NAME]
        to = words.fields[row + AT]
        at = read_field(data, at, limit, end, row, (head if to < layout[0] else own - layout[0]) + to, out, words)
        if at > limit or (at < limit and data[at] != end):
            return False
        at += 1
        f += 1
    return timed


def read_blocks(data: Bytes, starts: Ints, kinds: Ints, places: Ints, bases: Ints, layout: Ints, out: Bytes,
                words: Words) -> None:  # fmt: skip
    """All events into ``out``: heads from 0 on, own fields at ``bases``; what does not work out becomes GENERAL.

    ``layout``: bytes of a head, places of source and evidence in it, place of the header bytes in a packet's own
    fields and how many there are at most.
    """
    for i in range(len(kinds)):
        if kinds[i] != GENERAL and not read_block(
            data, starts[i], places[i], starts[i + 1] - 4, kinds[i], i * layout[0], bases[i], layout, out, words
        ):
            kinds[i] = GENERAL


_U8, _INT = np.dtype(np.uint8), np.dtype(np.int64)
_WORDS: Final = Group(Words, tuple(_U8 if "Bytes" in str(note) else _INT for note in Words.__annotations__.values()))
FUNCTIONS: Final = (
    "u32_at", "same", "word", "find_blocks", "find_kind", "find_kinds", "hex_digit", "read_number", "put",
    "put_checked", "dotted", "read_field", "read_block", "read_blocks",
)  # fmt: skip
"""Each after those it calls."""
CODE: Final = MachineCode(
    __name__,
    ((headers_loop, headers_loop.FUNCTIONS), (sys.modules[__name__], FUNCTIONS)),
    {
        "find_blocks": Entry((_U8, int, _INT), 1),
        "find_kinds": Entry((_U8, _INT, _INT, _INT, _WORDS)),
        "read_blocks": Entry((_U8, _INT, _INT, _INT, _INT, _INT, _U8, _WORDS)),
        "decode_rows": Entry((_U8, int, int)),
    },
)
