"""When a reading of the socket table may still change what is known of an end, and when it has been overtaken.

A table is read row by row and stamped when the reading is over, so it may tell of a state that the end has left
meanwhile, as probes or packets have shown. Every fold that follows states (the world, the ladder's lanes, the bars of
the overview) asks here, so that none of them steps back where another does not.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from tracer.kinds import Evidence
from tracer.states import State

READING: Final = 250_000_000
"""ns that a reading of the socket table may take: it is stamped at its end, and may tell of its beginning."""

FIRMER: Final = frozenset({Evidence.OBSERVED, Evidence.INFERRED})
"""What tells of the moment of a change itself; a reading only tells of a state."""


def overtaken(read: State, time: int, *, state: State, evidence: Evidence, since: int, left: Collection[State]) -> bool:
    """Whether a reading (``Evidence.SAMPLED``) of state ``read`` at ``time`` (ns) is older than what is known.

    Known is that the end is in ``state`` since ``since`` (ns), by what ``evidence``, and which states it has ``left``.
    """
    if evidence not in FIRMER or read == state:
        return False
    if time < since:
        return True
    # No life comes back to a state that it has left, so such a reading began before that; one that goes on saying so
    # much later speaks against what was worked out.
    return time - since <= READING and read in left
