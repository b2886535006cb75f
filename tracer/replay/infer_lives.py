"""How long each end of a connection was in which state.

A life is the list of the states of one end with the time of entering each. A correction takes back the states that were
wrongly deduced, so the time spent in them belongs to the state that was never left. Both inferred and observed changes
make a life: the connections report folds ``socket:state`` events of either evidence into lives.
"""

from __future__ import annotations

from typing import Final

from tracer.states import State

_STATES: Final = tuple(State)


class Life:
    """The states of one end, corrections applied."""

    __slots__ = ("states", "times")

    def __init__(self) -> None:
        self.states: list[int] = []
        """Numbers of states (tracer.states.State) in order; the first may be what was before anything was seen."""
        self.times: list[int] = []
        """ns, when each was entered. The first is that of the first change: how long it lasted before is not known."""

    def change(self, time: int, old: int, new: int, *, corrected: bool = False) -> None:
        """One change of state at ``time`` (ns). ``corrected``: ``new`` was never left."""
        if corrected and new in self.states:
            while self.states[-1] != new:
                self.states.pop()
                self.times.pop()
            return
        if not self.states or self.states[-1] != old:
            self.states.append(old)
            self.times.append(time)
        self.states.append(new)
        self.times.append(time)

    def spent(self, until: int) -> dict[State, int]:
        """ns spent in each state up to ``until``; states that were not seen to begin are left out."""
        found: dict[State, int] = {}
        times = self.times
        for place in range(1, len(times)):
            state = _STATES[self.states[place]]
            left = times[place + 1] if place + 1 < len(times) else until
            found[state] = found.get(state, 0) + max(left - times[place], 0)
        return found
