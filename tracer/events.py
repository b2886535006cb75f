"""The shapes that follow from the table of kinds: numpy dtypes, C structs, numbers.

``tracer.kinds`` says what an event is; this module says how one is laid out in memory. A probe writes ``struct head``
and the kind's own struct, C's padding and numpy's ``align=True`` obey the same rule, so a ring is read in bulk as an
array. On the timeline the head grows by what user space works out (socket, connection, evidence), and each kind's
fields live in a table of their own, so that a head costs the same whatever it heads.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from tracer.kinds import HEAD_FIELDS, KINDS, STRIDE, TYPES, Field, Kind

KIND: Final[dict[str, Kind]] = {kind.name: kind for kind in KINDS}
"""A kind by name."""
NUMBER: Final[dict[str, int]] = {kind.name: number for number, kind in enumerate(KINDS, 1)}
"""Number of a kind by name."""
PACKETS: Final = frozenset(NUMBER[name] for name in ("packet:sent", "packet:received", "packet:captured"))
"""Numbers of the kinds that are a segment."""


def _dtype(fields: tuple[Field, ...], *, derived: bool) -> np.dtype[np.void]:
    chosen = [field for field in fields if derived or not field.derived]
    return np.dtype([(f.name, TYPES[f.type].numpy, TYPES[f.type].shape) for f in chosen], align=True)


HEAD: Final = _dtype(HEAD_FIELDS, derived=True)
"""dtype of an event's head on the timeline."""
RING_HEAD: Final = _dtype(HEAD_FIELDS, derived=False)
"""dtype of an event's head in a probe's record (C: ``struct head``)."""
PAYLOAD: Final[dict[int, np.dtype[np.void]]] = {NUMBER[k.name]: _dtype(k.fields, derived=True) for k in KINDS}
"""dtype of a kind's own fields on the timeline, by number."""
RING_PAYLOAD: Final[dict[int, np.dtype[np.void]]] = {
    NUMBER[k.name]: _dtype(k.fields, derived=False) for k in KINDS if k.ring
}
"""dtype of a kind's own fields in a probe's record, by number; it follows the head at an 8-byte boundary."""


def c_name(kind: Kind) -> str:
    """The kind's name in C: ``socket:state`` becomes ``socket_state`` (struct) and ``SOCKET_STATE`` (enum)."""
    return kind.name.replace(":", "_")


def c_declarations() -> str:
    """The enum of kinds and one struct a kind, for the probes' text.

    Each record is ``struct head`` followed by the kind's fields. C and numpy (align=True) pad by the same rule; a test
    compiles both and compares every offset.
    """
    lines = ["enum event_kind {"]
    lines += [f"    {c_name(kind).upper()} = {NUMBER[kind.name]}," for kind in KINDS if kind.ring]
    lines += ["};", *_c_struct("head", HEAD_FIELDS)]
    for kind in KINDS:
        if kind.ring:
            lines += _c_struct(c_name(kind), kind.fields, head=True)
    return "\n".join(lines) + "\n"


def _c_struct(name: str, fields: tuple[Field, ...], *, head: bool = False) -> list[str]:
    body = [f"    {TYPES[f.type].c % f.name};" for f in fields if not f.derived]
    first = ["    struct head head;"] if head else []
    return [f"struct {name} {{", *first, *body, "};"]


for _kind in KINDS:
    if _kind.ring:
        _size = RING_HEAD.itemsize + RING_PAYLOAD[NUMBER[_kind.name]].itemsize
        assert _size + 8 <= STRIDE[_kind.ring], f"{_kind.name} needs {_size + 8} bytes in ring {_kind.ring.name}"
