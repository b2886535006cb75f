"""The loops that write a recording's blocks in bulk: plain functions over arrays, made for numba to compile.

Everything they know of kinds and fields comes as tables of numbers (tracer.recording.bulk makes them from the table of
kinds), so there is one piece of code for all kinds. An event is a *flat row*: its head, its own fields, distances, in
one array of bytes at an offset that is a multiple of 8, so that each field is read through a view of its own width.

All arrays have one dimension; what would be a table has its rows one behind the other. A row of ``Tables.fields`` is
FORM, AT (offset in the flat row), COUNT (elements of a list, bytes of a text), NAME and NAME_END (in the names' pool).
Numbers are written as Python's str() and hex() write them.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.recording.digits import (
    Bytes,
    Ints,
    pad,
    put_address,
    put_bytes,
    put_endpoint,
    put_hex,
    put_number,
    put_signed,
    put_u32,
)  # fmt: skip

U8, U16, U32, U64, I8, I32, I64 = range(7)
HEX, FD, STATE, IP, RAW, TEXT = range(7, 13)
FORM, AT, COUNT, NAME, NAME_END = range(5)
"""Columns of the table of fields."""
FIELD: Final = 5
"""Numbers to a row of it."""
PLAN: Final = 8
"""Numbers to a row of the plan of flat rows."""
LITERAL, HOLE, ENDS_HOLE = range(3)
"""Parts of a phrase: (LITERAL, from, to in the pool), (HOLE, form, offset), (ENDS_HOLE, offsets of saddr and sport;
daddr and dport lie right behind each)."""
ARROW: Final = np.frombuffer(" → ".encode(), np.uint8)
"""Between two ends."""
DECIDING: Final = 24
"""Places that may decide how a line of one kind reads."""
TEXTS: Final = 6
"""Text fields that one kind may have."""
PACKET, JOURNAL = 6, 9
COMMENT, EPB_FLAGS = 1, 2
"""Numbers of blocks and options (pcapng)."""
SLOW: Final = -2
"""Instead of the number of a phrase: this event must be written by hand."""
MISSING: Final = -1
"""In the hash table: no phrase here."""


class Flat(NamedTuple):
    """The flat rows of all events, seen as numbers of each width."""

    b: Bytes
    h: NDArray[np.uint16]
    w: NDArray[np.uint32]
    q: NDArray[np.uint64]


class Tables(NamedTuple):
    """What the table of kinds says. A group is the number of a kind."""

    fields: Ints
    spans: Ints
    """Per group the first of its fields and the one behind the last."""
    names: Bytes
    states: Bytes
    """Names of all states."""
    state_starts: Ints
    layout: Ints
    """Where caplen, wire_len and raw of a packet are."""


class Phrases(NamedTuple):
    """The lines worked out so far, and what decides which is meant."""

    decides: Ints
    """Per group DECIDING pairs (offset, bytes); 0 bytes end it."""
    texts: Ints
    """Per group TEXTS pairs (offset, bytes) of fields that must be printable ASCII."""
    slots: Ints
    """Hash table: number of a phrase, or MISSING."""
    keys: Ints
    """Per phrase its group, and where its key is in the pool of keys: from, to."""
    key_pool: NDArray[np.uint64]
    spans: Ints
    """Per phrase the first of its parts and the one behind the last."""
    parts: Ints
    pool: Bytes
    key: NDArray[np.uint64]
    """Room for one key."""
    first: Ints
    """Per phrase the event for whose sake it was made."""
    ends: Ints
    """How many phrases there are, and how much of the pool of keys is taken."""


class Events(NamedTuple):
    """The events of a batch in columns."""

    groups: Ints
    bases: Ints
    """Where the flat row begins."""
    ticks: Ints
    """us since the Unix epoch."""
    phrase_of: Ints
    directions: Ints
    """-1 for a journal row, else a packet's direction flags (0 none)."""
    intros: Ints
    by_hand: Ints
    """Per event from, to in ``Constants.made``; only where one is SLOW."""


class Constants(NamedTuple):
    """Pieces of text."""

    intros: Bytes
    intro_spans: Ints
    stamp: Bytes
    words: Bytes
    after: Bytes
    made: Bytes
    """The finished blocks of events that are SLOW."""


def value_at(form: int, at: int, flat: Flat) -> tuple[Any, Any]:
    """Whether the number at ``at`` is below zero, and its size as u64."""
    b, h, w, q = flat.b, flat.h, flat.w, flat.q
    if form in (U8, STATE):
        return False, np.uint64(b[at])
    if form == U16:
        return False, np.uint64(h[at >> 1])
    if form == U32:
        return False, np.uint64(w[at >> 2])
    if form in (U64, HEX):
        return False, q[at >> 3]
    if form == I8:
        signed = np.int64(np.int8(b[at]))
    elif form == I64:
        signed = np.int64(q[at >> 3])
    else:
        signed = np.int64(np.int32(w[at >> 2]))
    return signed < 0, np.uint64(-signed) if signed < 0 else np.uint64(signed)


def text_end(at: int, size: int, flat: Flat) -> int:
    """Where a text of at most ``size`` bytes ends: zeros fill it up."""
    end = at + size
    while end > at and flat.b[end - 1] == 0:
        end -= 1
    return end


def put_field(out: Bytes, at: int, f: int, base: int, flat: Flat, tables: Tables, end: int) -> int:
    """``NAME=value`` and ``end``, or nothing for a value that is zero."""
    row = f * FIELD
    form, where, count = tables.fields[row + FORM], base + tables.fields[row + AT], tables.fields[row + COUNT]
    name, name_end = tables.fields[row + NAME], tables.fields[row + NAME_END]
    if (count == 1 and form <= I64) or form == FD:
        below, value = value_at(form, where, flat)
        if value == 0 if form != FD else below and value == 1:  # no descriptor is -1, and 0 is one
            return at
        at = put_signed(out, put_bytes(out, at, tables.names, name, name_end), below, value)
    elif form == TEXT:
        last = text_end(where, count, flat)
        if last == where:
            return at
        at = put_bytes(out, put_bytes(out, at, tables.names, name, name_end), flat.b, where, last)
    elif form == RAW:
        if text_end(where, count, flat) == where:
            return at
        at = put_bytes(out, at, tables.names, name, name_end)
        for i in range(where, where + count):
            at = put_hex(out, at, np.uint64(flat.b[i]), 2)
    elif form == IP:
        high, low = flat.q[where >> 3], flat.q[(where >> 3) + 1]
        if high == 0 and low == 0:
            return at
        at = put_address(out, put_bytes(out, at, tables.names, name, name_end), high, low)
    elif form == HEX:
        value = flat.q[where >> 3]
        if value == 0:
            return at
        at = put_bytes(out, at, tables.names, name, name_end)
        out[at], out[at + 1] = np.uint8(48), np.uint8(120)
        at = put_hex(out, at + 2, value, 1)
    elif form == STATE:
        number = np.int64(flat.b[where])
        if number == 0:
            return at
        at = put_bytes(out, at, tables.names, name, name_end)
        at = put_bytes(out, at, tables.states, tables.state_starts[number], tables.state_starts[number + 1])
    else:
        step = 1 if form in (U8, I8) else 2 if form == U16 else 4 if form in (U32, I32) else 8
        if text_end(where, count * step, flat) == where:
            return at
        at = put_bytes(out, at, tables.names, name, name_end)
        for i in range(count):
            below, value = value_at(form, where + i * step, flat)
            if i:
                out[at] = np.uint8(44)
                at += 1
            at = put_signed(out, at, below, value)
    out[at] = np.uint8(end)
    return at + 1


def key_of(group: int, base: int, flat: Flat, phrases: Phrases) -> int:
    """The numbers that decide how a line reads, one behind the other in ``phrases.key``; returns how many."""
    length = 0
    for d in range(2 * DECIDING * group, 2 * DECIDING * (group + 1), 2):
        rest, at = phrases.decides[d + 1], base + phrases.decides[d]
        if rest == 0:
            break
        while rest > 0:  # in the largest pieces that lie straight
            if rest >= 8 and at & 7 == 0:
                phrases.key[length], size = flat.q[at >> 3], 8
            elif rest >= 4 and at & 3 == 0:
                phrases.key[length], size = flat.w[at >> 2], 4
            elif rest >= 2 and at & 1 == 0:
                phrases.key[length], size = flat.h[at >> 1], 2
            else:
                phrases.key[length], size = flat.b[at], 1
            at, rest, length = at + size, rest - size, length + 1
    return length


def slot_of(group: int, length: int, phrases: Phrases) -> int:
    """Where in the hash table the phrase with the key in ``phrases.key`` is, or would be. FNV-1a, of 8 bytes a step."""
    mixed = np.uint64(14695981039346656037) ^ np.uint64(group)
    for i in range(length):
        mixed = (mixed ^ phrases.key[i]) * np.uint64(1099511628211)
        mixed ^= mixed >> np.uint64(32)
    mask = len(phrases.slots) - 1
    slot = np.int64((mixed ^ (mixed >> np.uint64(29))) & np.uint64(mask))
    while phrases.slots[slot] >= 0:
        entry = 3 * phrases.slots[slot]
        begin = phrases.keys[entry + 1]
        if phrases.keys[entry] == group and phrases.keys[entry + 2] - begin == length:
            same = True
            for i in range(length):
                if phrases.key_pool[begin + i] != phrases.key[i]:
                    same = False
                    break
            if same:
                break
        slot = (slot + 1) & mask
    return slot  # type: ignore[return-value]


def look_up(which: Ints, groups: Ints, bases: Ints, found: Ints, flat: Flat, phrases: Phrases) -> int:
    """The number of the phrase of each of the events ``which``, or SLOW, into ``found``; how many fitted in.

    A phrase that is not there yet gets the next number, and ``first`` says for whose sake: its parts are to be made.
    """
    for i in range(len(which)):
        event, group, base = which[i], groups[which[i]], bases[which[i]]
        found[event] = SLOW
        ok = True
        for t in range(2 * TEXTS * group, 2 * TEXTS * (group + 1), 2):
            at = base + phrases.texts[t]
            for j in range(at, text_end(at, phrases.texts[t + 1], flat)):
                if flat.b[j] < 32 or flat.b[j] > 126:
                    ok = False
        if not ok:
            continue
        length = key_of(group, base, flat, phrases)
        slot = slot_of(group, length, phrases)
        entry = phrases.slots[slot]
        if entry < 0:
            entry, at = phrases.ends[0], phrases.ends[1]
            if entry >= len(phrases.first) or at + length > len(phrases.key_pool):
                return i
            phrases.slots[slot] = entry
            phrases.first[entry] = event
            phrases.keys[3 * entry] = group
            phrases.keys[3 * entry + 1], phrases.keys[3 * entry + 2] = at, at + length
            for j in range(length):
                phrases.key_pool[at + j] = phrases.key[j]
            phrases.ends[0], phrases.ends[1] = entry + 1, at + length
        found[event] = entry
    return len(which)


def put_ends(out: Bytes, at: int, addresses: int, ports: int, flat: Flat) -> int:
    """As ``tracer.timeline.Event.ends``: every connection has others, so they are no part of a phrase."""
    q, h = addresses >> 3, ports >> 1
    at = put_endpoint(out, at, flat.q[q], flat.q[q + 1], np.uint64(flat.h[h]))
    if flat.h[h + 1] == 0:
        return at
    at = put_bytes(out, at, ARROW, 0, len(ARROW))
    return put_endpoint(out, at, flat.q[q + 2], flat.q[q + 3], np.uint64(flat.h[h + 1]))


def put_phrase(out: Bytes, at: int, entry: int, base: int, flat: Flat, phrases: Phrases) -> int:
    """A line of words, its holes filled."""
    parts = phrases.parts
    for p in range(3 * phrases.spans[2 * entry], 3 * phrases.spans[2 * entry + 1], 3):
        if parts[p] == LITERAL:
            at = put_bytes(out, at, phrases.pool, parts[p + 1], parts[p + 2])
        elif parts[p] == HOLE:
            below, value = value_at(parts[p + 1], base + parts[p + 2], flat)
            at = put_signed(out, at, below, value)
        else:
            at = put_ends(out, at, base + parts[p + 1], base + parts[p + 2], flat)
    return at


def put_fields(out: Bytes, at: int, i: int, events: Events, flat: Flat, tables: Tables, end: int, without: int) -> int:
    """All fields of an event but those of the form ``without``."""
    group, base = events.groups[i], events.bases[i]
    for f in range(tables.spans[2 * group], tables.spans[2 * group + 1]):
        if tables.fields[f * FIELD + FORM] != without:
            at = put_field(out, at, f, base, flat, tables, end)
    return at


def put_packet(out: Bytes, begin: int, i: int, events: Events, constants: Constants, flat: Flat, tables: Tables) -> int:
    """An Enhanced Packet Block but for its closing length: header bytes, fields as a comment, the direction."""
    base, tick, intro = events.bases[i], events.ticks[i], 2 * events.intros[i]
    length = np.int64(flat.h[(base + tables.layout[0]) >> 1])
    wire, raw = np.int64(flat.w[(base + tables.layout[1]) >> 2]), base + tables.layout[2]
    at = put_u32(out, put_u32(out, begin, PACKET) + 4, 0)
    at = put_u32(out, put_u32(out, at, tick >> 32), tick & 0xFFFFFFFF)
    at = put_u32(out, put_u32(out, at, length), max(wire, length))
    option = pad(out, put_bytes(out, at, flat.b, raw, raw + length), at)
    at = put_bytes(out, option + 4, constants.intros, constants.intro_spans[intro], constants.intro_spans[intro + 1])
    at = put_fields(out, at, i, events, flat, tables, 32, RAW) - 1  # spaces between fields, none behind the last
    put_u32(out, option, COMMENT | (at - option - 4) << 16)
    at = pad(out, at, option)
    if events.directions[i] > 0:
        at = put_u32(out, put_u32(out, at, EPB_FLAGS | 4 << 16), events.directions[i])
    return put_u32(out, at, 0)


def put_entry(out: Bytes, begin: int, i: int, events: Events, constants: Constants, flat: Flat, tables: Tables,
              phrases: Phrases) -> int:  # fmt: skip
    """A Journal Export Block but for its closing length."""
    intro = 2 * events.intros[i]
    at = put_bytes(out, put_u32(out, begin, JOURNAL) + 4, constants.stamp, 0, len(constants.stamp))
    at = put_number(out, at, np.uint64(events.ticks[i]))
    at = put_bytes(out, at, constants.words, 0, len(constants.words))
    at = put_phrase(out, at, events.phrase_of[i], events.bases[i], flat, phrases)
    at = put_bytes(out, at, constants.after, 0, len(constants.after))
    at = put_bytes(out, at, constants.intros, constants.intro_spans[intro], constants.intro_spans[intro + 1])
    return pad(out, put_fields(out, at, i, events, flat, tables, 10, -1), begin)


def blocks(start: int, room: int, out: Bytes, ended: Ints, events: Events, constants: Constants, flat: Flat,
           tables: Tables, phrases: Phrases) -> int:  # fmt: skip
    """Write the blocks of events from ``start`` on, as far as they fit; returns the first that was not written.

    ``ended`` gets the end of each block in ``out``; ``room`` bytes are enough for any event that is not SLOW.
    """
    at = 0
    count = len(ended)
    for i in range(start, count):
        begin = at
        if events.phrase_of[i] == SLOW:
            first, last = events.by_hand[2 * i], events.by_hand[2 * i + 1]
            if at + last - first > len(out):
                return i
            at = put_bytes(out, at, constants.made, first, last)
        else:
            if at + room > len(out):
                return i
            if events.directions[i] >= 0:
                at = put_packet(out, at, i, events, constants, flat, tables)
            else:
                at = put_entry(out, at, i, events, constants, flat, tables, phrases)
            at = put_u32(out, at, at + 4 - begin)
            put_u32(out, begin + 4, at - begin)
        ended[i] = at
    return count


def flatten(heads: Bytes, owns: Bytes, plan: Ints, head: int, at_kind: int, at_row: int, flat: Flat,
            bases: Ints) -> None:  # fmt: skip
    """Flat rows of events: head, own fields, distances; ``bases`` says where each is to begin.

    ``heads`` are of ``head`` bytes each, with the kind (2 bytes) and the row (4) at the places given. ``owns`` has the
    tables of all kinds, ``plan`` per kind PLAN numbers: where its table begins, bytes of a row, and for each distance
    the offsets in the flat row of its two numbers and of itself (0: it has none).
    """
    for i in range(len(bases)):
        base, own = bases[i], i * head
        for j in range(head):
            flat.b[np.uint64(base + j)] = heads[np.uint64(own + j)]
        p = PLAN * np.int64(flat.h[(base + at_kind) >> 1])
        size = plan[p + 1]
        own = plan[p] + size * np.int64(flat.w[(base + at_row) >> 2])
        for j in range(size):
            flat.b[np.uint64(base + head + j)] = owns[np.uint64(own + j)]
        for d in (p + 2, p + 5):
            if plan[d]:
                flat.w[(base + plan[d + 2]) >> 2] = flat.w[(base + plan[d]) >> 2] - flat.w[(base + plan[d + 1]) >> 2]


FUNCTIONS: Final = (
    "value_at", "text_end", "put_field", "key_of", "slot_of", "look_up", "put_ends", "put_phrase", "put_fields",
    "put_packet", "put_entry", "blocks", "flatten",
)  # fmt: skip
"""Each after those it calls."""
