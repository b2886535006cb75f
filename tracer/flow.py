"""How many ends of connections are in which state over time: the state river.

With thousands of connections nobody looks at each; what tells is how many there are of a kind, and when that changed.
All that needs is every change of state (when, from what, to what) and every moment at which something went wrong, in
columns that only grow. An end counts in a bucket of time if it was in the state at any moment of it, so that a
SYN_SENT of sixty microseconds is seen however wide the bucket is.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.states import STATES, State

Times = NDArray[np.int64]
"""ns since the Unix epoch."""

TROUBLES: Final = ("reset", "overflow", "loss")
"""What may go wrong in a bucket, the most important first: a RST, an overflow of a listener's queue, a loss."""
GROUPS: Final = ("opening", "open", "we-close", "peer-closes", "waiting")
"""Groups of states (tracer.states), as the bands of the river."""
STEADY: Final = frozenset({State.ESTABLISHED, State.LISTEN, State.TIME_WAIT})
"""States that last by themselves; in a bucket the others, which pass, are more important."""


class Column:
    """Whole numbers, appended in bulk."""

    def __init__(self, dtype: str) -> None:
        self._values: NDArray[Any] = np.zeros(256, dtype)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def extend(self, values: Any) -> None:
        """Append these."""
        need = self._count + len(values)
        if need > len(self._values):
            grown = np.zeros(max(need, 2 * len(self._values)), self._values.dtype)
            grown[: self._count] = self._values[: self._count]
            self._values = grown
        self._values[self._count : need] = values
        self._count = need  # last: another thread may read what is complete

    @property
    def values(self) -> NDArray[Any]:
        """A view on all of them."""
        return self._values[: self._count]


class Flow:
    """Changes of state and troubles, as columns."""

    def __init__(self) -> None:
        self._times, self._old, self._new = Column("i8"), Column("u1"), Column("u1")
        self._troubles = {name: Column("i8") for name in TROUBLES}

    def __len__(self) -> int:
        """Changes and troubles so far: as long as that is the same, so are all answers."""
        return len(self._new) + sum(map(len, self._troubles.values()))

    def change(self, times: Any, old: Any, new: Any) -> None:
        """Ends went from state ``old`` to ``new``, each at its time; numbers of tracer.states.State."""
        self._times.extend(times)
        self._old.extend(old)
        self._new.extend(new)

    def trouble(self, name: str, times: Any) -> None:
        """One of TROUBLES came about at these times."""
        self._troubles[name].extend(times)

    def states(self, edges: Times) -> NDArray[np.int64]:
        """Ends by state (rows, as State numbers them) and bucket: those in it at any moment of the bucket.

        ``edges`` are the bounds of the buckets, one more than there are of these, ascending.
        """
        count, buckets = len(self._new), len(edges) - 1
        bucket = np.searchsorted(edges, self._times.values[:count], side="right") - 1
        old, new = self._old.values[:count].astype(np.int64), self._new.values[:count].astype(np.int64)
        size = len(State) * (buckets + 2)
        # Column 0 is what came before the first edge, the last column what came at the last edge or later.
        at = np.clip(bucket + 1, 0, buckets + 1)
        entered = np.bincount(new * (buckets + 2) + at, minlength=size).reshape(len(State), -1)
        left = np.bincount(old * (buckets + 2) + at, minlength=size).reshape(len(State), -1)
        present = np.cumsum(entered - left, axis=1)
        found: NDArray[np.int64] = np.maximum(present[:, :buckets] + entered[:, 1 : buckets + 1], 0)
        return found

    def troubles(self, edges: Times) -> dict[str, NDArray[np.int64]]:
        """How often each of TROUBLES came about in each bucket."""
        buckets = len(edges) - 1
        found = {}
        for name, column in self._troubles.items():
            at = np.searchsorted(edges, column.values, side="right") - 1
            found[name] = np.bincount(at[(at >= 0) & (at < buckets)], minlength=buckets)
        return found


def by_group(states: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """The rows of ``Flow.states`` summed up by GROUPS."""
    return {
        group: states[[state.value for state in State if STATES[state].group == group]].sum(axis=0) for group in GROUPS
    }


def foremost(states: NDArray[np.int64]) -> list[State]:
    """Of each bucket the state that is to be seen: the commonest of those that pass, else of those that last."""
    passing = [state for state in State if state not in STEADY and STATES[state].group in GROUPS]
    lasting = [state for state in State if state in STEADY]
    found = []
    for bucket in states.T:
        among = next((some for some in (passing, lasting) if any(bucket[state.value] > 0 for state in some)), ())
        found.append(max(among, key=lambda state: int(bucket[state.value]), default=State.UNKNOWN))
    return found
