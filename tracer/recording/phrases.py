"""Words in bulk: the line of an event worked out once, and used again for all events that would read the same.

``tracer.words`` is ordinary Python and takes some microseconds a line, too slow for hundreds of thousands a second. But
most lines differ only in numbers that are written as they are (ports, sequence numbers, thread ids) and in who the two
ends are. So a line is written once for a *watched* event: its numbers notice what is done with them. A number that is
only ever formatted leaves a hole in the line. One that is compared, looked up or computed with has *decided* how the
line reads. Two events that agree in all that decided have the same line but for the holes, whatever ``words`` does.

Sequence numbers decide only by their distance (bytes unread, bytes not acknowledged), so the distance is noticed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np

from tracer.events import HEAD, KIND, PAYLOAD
from tracer.kinds import TYPES
from tracer.timeline import Event
from tracer.words import message

DISTANCES: Final = (("rcv_nxt", "copied_seq"), ("write_seq", "snd_una"))
"""Pairs of sequence numbers whose difference is kept behind the fields of a flat row, 4 bytes each."""
_MARK: Final = "\0"
"""Around the place of a hole in a line; no line has one of its own, as words are cleaned of control characters."""
ENDS: Final = "ends"


class Place(NamedTuple):
    """Where a value lies in the flat row of an event: head, own fields, distances."""

    at: int
    size: int
    dtype: str
    """numpy's name: u2, i4."""


class Phrase(NamedTuple):
    """A line with holes."""

    texts: tuple[bytes, ...]
    """What stands before each hole and behind the last."""
    holes: tuple[str, ...]
    """Names of places, or ENDS."""


def places(number: int) -> dict[str, Place]:
    """Every number that words may look at, by name; elements of lists as ``args.0``."""
    dtype = PAYLOAD[number]
    found = {name: _place(HEAD, name, 0) for name in ("fd", "tid", "pid")}
    for name in dtype.names or ():
        base, shape = dtype[name].base, dtype[name].shape
        whole = _place(dtype, name, HEAD.itemsize)
        found[name] = whole
        if shape and base.kind in "iu":
            step = base.itemsize
            found |= {f"{name}.{i}": Place(whole.at + i * step, step, base.str[1:]) for i in range(shape[0])}
    for i, pair in enumerate(DISTANCES):
        if set(pair) <= set(dtype.names or ()):
            found["-".join(pair)] = Place(HEAD.itemsize + dtype.itemsize + 4 * i, 4, "u4")
    return found


def _place(dtype: np.dtype[np.void], name: str, base: int) -> Place:
    assert dtype.fields is not None
    field, offset = dtype.fields[name][:2]
    return Place(base + offset, field.itemsize, field.base.str[1:])


class _Watched(int):
    """A number that notices what is done with it."""

    name: str
    decide: Callable[[str], None]

    def __new__(cls, value: int, name: str, decide: Callable[[str], None]) -> _Watched:
        made = super().__new__(cls, value)
        made.name, made.decide = name, decide
        return made

    def __format__(self, spec: str) -> str:
        if spec:
            self.decide(self.name)
            return format(int.__int__(self), spec)
        return f"{_MARK}{self.name}{_MARK}"

    def __str__(self) -> str:
        return f"{_MARK}{self.name}{_MARK}"

    __repr__ = __str__

    def __sub__(self, other: int) -> int:
        if isinstance(other, _Watched) and (self.name, other.name) in DISTANCES:
            value = (int.__int__(self) - int.__int__(other)) & 0xFFFF_FFFF
            return _Watched(value, f"{self.name}-{other.name}", self.decide)
        self.decide(self.name)
        if isinstance(other, _Watched):
            other.decide(other.name)
        return int.__int__(self) - int.__int__(other)


def _deciding(name: str) -> Callable[..., Any]:
    plain = getattr(int, name)

    def noticed(self: _Watched, *others: Any) -> Any:
        self.decide(self.name)
        for other in others:
            if isinstance(other, _Watched):
                other.decide(other.name)
        return plain(self, *others)

    return noticed


for _name in dir(int):
    if _name[:2] == "__" and _name not in _Watched.__dict__ and _name not in (
        "__class__", "__new__", "__init__", "__getattribute__", "__doc__", "__dir__", "__sizeof__", "__subclasshook__",
        "__init_subclass__", "__setattr__", "__delattr__", "__getnewargs__", "__reduce__", "__reduce_ex__",
        "__getstate__",
    ):  # fmt: skip
        setattr(_Watched, _name, _deciding(_name))


class _WatchedEvent(Event):
    """An event whose numbers are watched."""

    __slots__ = ("_decide",)

    def __init__(self, head: Any, row: Any, strings: list[str], decide: Callable[[str], None]) -> None:
        super().__init__(0, head, row, strings)
        self._decide = decide
        for name in ("fd", "tid", "pid"):
            object.__setattr__(self, name, _Watched(getattr(self, name), name, decide))

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        if isinstance(value, int):
            return _Watched(value, name, self._decide)
        if isinstance(value, list):
            return [_Watched(one, f"{name}.{i}", self._decide) for i, one in enumerate(value)]
        self._decide(name)  # names are compared and cleaned letter by letter
        return value

    @property
    def ends(self) -> str:
        """Who the ends are never decides anything, and has a place of its own."""
        return f"{_MARK}{ENDS}{_MARK}"


def phrase(head: Any, row: Any, strings: list[str]) -> tuple[Phrase, frozenset[str]]:
    """The event's line with holes, and the names of the places that decided how it reads."""
    decided: set[str] = set()
    parts = message(_WatchedEvent(head, row, strings, decided.add)).split(_MARK)
    return Phrase(tuple(part.encode() for part in parts[::2]), tuple(parts[1::2])), frozenset(decided)


def numeric(kind: str) -> bool:
    """Whether the kind's fields are all in the event's own bytes (none in the pool of strings)."""
    return all(TYPES[field.type].numpy[0] in "uiS" and field.type != "text" for field in KIND[kind].fields)
