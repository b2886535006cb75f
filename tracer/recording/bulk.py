"""Many events as blocks of a recording at once: the same bytes that the writer makes event by event, but fast.

Each kind's events become flat rows (head, own fields, distances), the rows of all kinds one array of bytes, and the
loops of ``tracer.recording.loops`` write them by tables made from the table of kinds. The words come as phrases, kept
from batch to batch. What has text from outside that is not printable ASCII, or fields in the pool of strings, is rare
and is written by hand, that is by the writer's own code.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.batch import Batch
from tracer.events import HEAD, NUMBER, PAYLOAD
from tracer.kinds import HEAD_FIELDS, KINDS, TYPES, Evidence, Field, Kind, Source
from tracer.recording import loops
from tracer.recording.fields import HEAD as HEAD_NAMES
from tracer.recording.fields import PREFIX, WRITTEN
from tracer.recording.phrases import DISTANCES, ENDS, Phrase, Place, numeric, phrase, places
from tracer.states import State

OUT_BYTES: Final = 1 << 22
"""Of one write: large enough that system calls cost nothing, small enough to stay in a processor's cache."""
ROOM: Final = 4096
"""More than the largest block: 60 fields of 30 bytes, a line of words, header bytes."""
EVENTS: Final = 1 << 13
"""Events at a time."""
MOST_PHRASES: Final = 1 << 16
"""Lines kept: more than one for each event at a time."""
_KEY_NUMBERS: Final = 512
_FORMS: Final = {"u1": loops.U8, "u2": loops.U16, "u4": loops.U32, "u8": loops.U64, "i1": loops.I8, "i4": loops.I32,
                 "i8": loops.I64}  # fmt: skip
_SHOWN: Final = {"ip": loops.IP, "bytes": loops.RAW, "state": loops.STATE, "text": loops.TEXT}
_META: Final = b"synfin "
_INTRO_BITS: Final = len(KINDS).bit_length() + 9
"""Of kind, source (4), evidence (4), and whether it is a packet."""


def _form(field: Field) -> tuple[int, int]:
    kind = TYPES[field.type]
    length = kind.shape[0] if kind.shape else 1
    if kind.shown == "text":
        length = int(kind.numpy[1:])
    if kind.shown == "hex" and not kind.shape:
        return loops.HEX, 1
    return _SHOWN.get(kind.shown, _FORMS.get(kind.numpy, loops.TEXT)), length


def _ends(known: Mapping[str, Place]) -> tuple[int, int]:
    """Where the addresses and the ports of both ends are."""
    addresses, ports = known["saddr"].at, known["sport"].at
    assert (known["daddr"].at, known["dport"].at) == (addresses + 16, ports + 2)
    return addresses, ports


def in_bulk(kind: Kind) -> bool:
    texts = sum(TYPES[field.type].shown == "text" for field in kind.fields)
    return numeric(kind.name) and texts <= loops.TEXTS


class Tables:
    """The table of kinds as the loops want it; group is the number of the kind."""

    def __init__(self) -> None:
        names = bytearray()
        rows: list[tuple[int, int, int, int, int]] = []
        spans = np.zeros((len(KINDS) + 1, 2), np.int64)
        self.texts = np.zeros((len(KINDS) + 1, loops.TEXTS, 2), np.int64)
        head = {field.name: field for field in HEAD_FIELDS}
        for kind in KINDS:
            if not in_bulk(kind):
                continue
            number = NUMBER[kind.name]
            found = [(head[name], HEAD, 0) for name in ("time", *HEAD_NAMES)]
            found += [(field, PAYLOAD[number], HEAD.itemsize) for field in WRITTEN[number]]
            spans[number, 0] = len(rows)
            text = 0
            for field, dtype, base in found:
                form, count = _form(field)
                at = base + int(dtype.fields[field.name][1])  # type: ignore[index]
                name = f"{PREFIX}{field.name.upper()}=".encode()
                rows.append((loops.FD if field.name == "fd" else form, at, count, len(names), len(names) + len(name)))
                names += name
                if form == loops.TEXT:
                    self.texts[number, text] = at, count
                    text += 1
            spans[number, 1] = len(rows)
        states = [State(i).name if i in State._value2member_map_ else str(i) for i in range(256)]
        starts = np.cumsum([0, *map(len, states)]).astype(np.int64)
        raw = PAYLOAD[NUMBER["packet:sent"]].fields
        assert raw is not None
        layout = np.array([HEAD.itemsize + raw[name][1] for name in ("caplen", "wire_len", "raw")], np.int64)
        self.arrays = loops.Tables(
            np.array(rows, np.int64).ravel(), spans.ravel(), _array(names), _array("".join(states).encode()), starts,
            layout,
        )  # fmt: skip


class _Phrases:
    """All lines worked out so far. A group is the number of a kind."""

    def __init__(self, texts: NDArray[np.int64]) -> None:
        """``texts``: per group, the fields that have text from outside."""
        count = len(KINDS) + 1
        self._decides = np.zeros((count, loops.DECIDING, 2), np.int64)
        self._texts = texts
        self._deciding: list[set[str]] = [set() for _ in range(count)]
        self._places = {NUMBER[kind.name]: places(NUMBER[kind.name]) for kind in KINDS}
        self.arrays = loops.Phrases(
            self._decides.reshape(-1), self._texts.reshape(-1), np.zeros(4 * MOST_PHRASES, np.int64),
            np.zeros(3 * MOST_PHRASES, np.int64), np.zeros(8 * MOST_PHRASES, np.uint64),
            np.zeros(2 * MOST_PHRASES, np.int64), np.zeros(3 * 8 * MOST_PHRASES, np.int64),
            np.zeros(64 * MOST_PHRASES, np.uint8), np.zeros(_KEY_NUMBERS, np.uint64), np.zeros(MOST_PHRASES, np.int64),
            np.zeros(2, np.int64),
        )  # fmt: skip
        self.forget()

    def forget(self) -> None:
        """Begin anew: there is no room, or more places decide than was thought."""
        self.arrays.slots.fill(loops.MISSING)
        self.arrays.ends.fill(0)
        self.made = self._parts_end = self._pool_end = 0

    def _decide(self, number: int, names: set[str]) -> bool:
        """Note what decides; whether that is news."""
        deciding = self._deciding[number]
        if names <= deciding:
            return False
        deciding |= names
        rows = [self._places[number][name][:2] for name in sorted(deciding)]
        self._decides[number] = 0
        self._decides[number, : len(rows)] = rows
        return True

    def make(self, batch: Batch) -> bool:
        """Work out the phrases that were asked for; False when all have to be asked for anew."""
        asked = int(self.arrays.ends[0])
        news = False
        for at in self.arrays.first[self.made : asked].tolist():
            head = batch.heads[at]
            kind = int(head["kind"])
            row = batch.tables[kind][int(head["row"])]
            made, decided = phrase(head, row, batch.strings)
            news = self._decide(kind, set(decided)) or news
            if 3 * self._parts_end > len(self.arrays.parts) - 200 or self._pool_end > len(self.arrays.pool) - 8192:
                return False
            self._add(kind, made)
        return not news

    def _add(self, number: int, made: Phrase) -> None:
        first = self._parts_end
        for i, text in enumerate(made.texts):
            if text:
                self.arrays.pool[self._pool_end : self._pool_end + len(text)] = np.frombuffer(text, np.uint8)
                self._part(loops.LITERAL, self._pool_end, self._pool_end + len(text))
                self._pool_end += len(text)
            if i < len(made.holes):
                if made.holes[i] == ENDS:
                    self._part(loops.ENDS_HOLE, *_ends(self._places[number]))
                else:
                    place = self._places[number][made.holes[i]]
                    self._part(loops.HOLE, _FORMS[place.dtype], place.at)
        self.arrays.spans[2 * self.made : 2 * self.made + 2] = first, self._parts_end
        self.made += 1

    def _part(self, what: int, one: int, other: int) -> None:
        self.arrays.parts[3 * self._parts_end : 3 * self._parts_end + 3] = what, one, other
        self._parts_end += 1


class Bulk:
    """Writes batches as blocks. ``loops`` are the functions of tracer.recording.loops by name, compiled or plain."""

    def __init__(self, made: Mapping[str, Callable[..., Any]]) -> None:
        self.loops = made
        self._tables = Tables()
        self._phrases = _Phrases(self._tables.texts)
        self._out = np.zeros(OUT_BYTES, np.uint8)
        self._rows = _FlatRows(self.loops["flatten"])
        self._intros = np.full(1 << _INTRO_BITS, -1, np.int64)
        self._intro_pool = bytearray()
        self._intro_spans: list[tuple[int, int]] = []
        self._stamp, self._words = _array(b"__REALTIME_TIMESTAMP="), _array(b"\nMESSAGE=")
        self._after = _array(b"\n")
        self._bulky = np.zeros(len(KINDS) + 1, bool)
        self._bulky[[NUMBER[kind.name] for kind in KINDS if in_bulk(kind)]] = True

    def blocks(
        self, batch: Batch, ticks: NDArray[np.int64], directions: NDArray[np.int64], by_hand: Callable[[int], bytes],
        put: Callable[[Any, NDArray[np.int64]], None],
    ) -> None:  # fmt: skip
        """The blocks of all events, handed to ``put`` in pieces: the bytes, and where in them each block ends.

        ``ticks`` are the microseconds to be written, ``directions`` -1 for a journal row, else a packet's direction
        flags. ``by_hand`` makes the block of one event.
        """
        self._rows.take(batch)
        for begin in range(0, len(batch), EVENTS):  # few enough for a processor's cache, and that all phrases fit in
            here = slice(begin, begin + EVENTS)
            some = Batch(batch.heads[here], batch.tables, batch.strings)
            self._some(some, ticks[here], directions[here], functools.partial(_later, by_hand, begin), put)

    def _some(
        self, batch: Batch, ticks: NDArray[np.int64], directions: NDArray[np.int64], by_hand: Callable[[int], bytes],
        put: Callable[[Any, NDArray[np.int64]], None],
    ) -> None:  # fmt: skip
        kinds = batch.heads["kind"]
        bases, flat = self._rows.of(batch)
        groups = np.where(self._bulky[kinds] & (batch.heads["time"] > 0), kinds.astype(np.int64), -1)
        phrase_of = self._look_up(batch, groups, bases, flat, directions)
        slow = np.flatnonzero(phrase_of == loops.SLOW)
        made = [by_hand(i) for i in slow.tolist()]
        where = np.zeros((len(kinds) if len(slow) else 0, 2), np.int64)
        if len(slow):
            edges = np.cumsum([0, *map(len, made)])
            where[slow, 0], where[slow, 1] = edges[:-1], edges[1:]
        out = self._out
        if made and max(map(len, made)) > len(out):
            out = np.zeros(max(map(len, made)), np.uint8)
        intros = self._introduce(batch, directions)
        events = loops.Events(groups, bases, ticks, phrase_of, directions, intros, where.ravel())
        constants = loops.Constants(
            _array(self._intro_pool), np.array(self._intro_spans, np.int64).ravel(), self._stamp, self._words,
            self._after, _array(b"".join(made)),
        )  # fmt: skip
        ended = np.zeros(len(kinds), np.int64)
        start = 0
        while start < len(kinds):
            stop = self.loops["blocks"](
                start, ROOM, out, ended, events, constants, flat, self._tables.arrays, self._phrases.arrays
            )
            put(out[: int(ended[stop - 1])].data, ended[start:stop])
            start = stop

    def _look_up(
        self, batch: Batch, groups: NDArray[np.int64], bases: NDArray[np.int64], flat: loops.Flat,
        directions: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """The phrase of each event."""
        lines = np.zeros(len(groups), np.int64)
        lines[groups < 0] = loops.SLOW
        with_line = np.flatnonzero((directions < 0) & (groups >= 0))  # packets have no words
        known, look_up = self._phrases, self.loops["look_up"]
        while look_up(with_line, groups, bases, lines, flat, known.arrays) < len(with_line) or not known.make(batch):
            known.forget()
        return lines

    def _introduce(self, batch: Batch, directions: NDArray[np.int64]) -> NDArray[np.int64]:
        """For each event the number of the text that says its kind, source and evidence."""
        heads = batch.heads
        mixed = (
            heads["kind"].astype(np.int64) << 9 | heads["source"].astype(np.int64) << 5
            | heads["evidence"].astype(np.int64) << 1 | (directions >= 0)
        )  # fmt: skip
        numbers: NDArray[np.int64] = self._intros[mixed]
        if numbers.size and numbers.min() < 0:
            for one in np.unique(mixed[numbers < 0]).tolist():
                end = " " if one & 1 else "\n"
                words = ("KIND", KINDS[(one >> 9) - 1].name), ("SOURCE", Source(one >> 5 & 15).name.lower()), (
                    "EVIDENCE", Evidence(one >> 1 & 15).name.lower())  # fmt: skip
                text = (_META if one & 1 else b"") + "".join(f"{PREFIX}{a}={b}{end}" for a, b in words).encode()
                self._intros[one] = len(self._intro_spans)
                self._intro_spans.append((len(self._intro_pool), len(self._intro_pool) + len(text)))
                self._intro_pool += text
            numbers = self._intros[mixed]
        return numbers


class _FlatRows:
    """Heads and tables of a batch as flat rows, some events at a time; the memory for it is used again."""

    def __init__(self, flatten: Callable[..., Any]) -> None:
        self._flatten = flatten
        self._plan = np.zeros((len(KINDS) + 1, loops.PLAN), np.int64)
        self._widths = np.zeros(len(KINDS) + 1, np.int64)
        for number, dtype in PAYLOAD.items():
            behind = HEAD.itemsize + dtype.itemsize
            self._plan[number, 1] = dtype.itemsize
            self._widths[number] = behind + 4 * len(DISTANCES) + 7 & ~7
            for i, pair in enumerate(DISTANCES):
                if set(pair) <= set(dtype.names or ()):
                    offsets = [HEAD.itemsize + int(dtype.fields[name][1]) for name in pair]  # type: ignore[index]
                    self._plan[number, 2 + 3 * i : 5 + 3 * i] = *offsets, behind + 4 * i
        self._owns = self._buffer = np.zeros(8, np.uint8)

    def take(self, batch: Batch) -> None:
        """The tables of these events are meant from now on."""
        starts = np.cumsum([0, *(table.nbytes for table in batch.tables.values())])
        if starts[-1] > len(self._owns):
            self._owns = np.zeros(2 * starts[-1], np.uint8)
        for (number, table), start in zip(batch.tables.items(), starts.tolist(), strict=False):
            self._plan[number, 0] = start
            self._owns[start : start + table.nbytes] = np.ascontiguousarray(table).view(np.uint8).reshape(-1)

    def of(self, batch: Batch) -> tuple[NDArray[np.int64], loops.Flat]:
        """Where each event's flat row begins, and the bytes of all of them, which the next call overwrites."""
        ends = np.cumsum(self._widths[batch.heads["kind"]])
        bases = ends - self._widths[batch.heads["kind"]]
        if ends[-1] > len(self._buffer):
            self._buffer = np.zeros(int(2 * ends[-1]), np.uint8)
        b = self._buffer
        flat = loops.Flat(b, b.view(np.uint16), b.view(np.uint32), b.view(np.uint64))
        heads = np.ascontiguousarray(batch.heads).view(np.uint8).reshape(-1)
        at = (HEAD.itemsize, int(HEAD.fields["kind"][1]), int(HEAD.fields["row"][1]))  # type: ignore[index]
        self._flatten(heads, self._owns, self._plan.reshape(-1), *at, flat, bases)
        return bases, flat


def _later(by_hand: Callable[[int], bytes], begin: int, i: int) -> bytes:
    return by_hand(begin + i)


def _array(data: bytes | bytearray) -> NDArray[np.uint8]:
    return np.frombuffer(bytes(data) or b"\0", np.uint8).copy()
