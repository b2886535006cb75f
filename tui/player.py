"""The player: how much of what is known is shown, and how that changes.

Time here is counted in events, not in seconds: a pause of sixty seconds in TIME_WAIT and one of sixty microseconds on
loopback are one step each, so idle time takes no room. (Playing by time is there too, since how long a thing took is
sometimes the point.) How far a step goes is asked of `rest` (a row of the ladder).
`shown` is the *playhead*: the first `shown` of `count` events may be drawn and the rest may not, which is what makes
stepping through a lesson honest. Following means that the playhead stays at the tail whatever comes; holding freezes
the view and never the recording, since `count` goes on growing. The player has no clock of its own: `tick` is told the
time.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

SPEEDS: Final = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
"""Multiples of the pace below."""

STEPS_PER_SECOND: Final = 2.0
"""Pace at 1x: slow enough to read a row and fast enough not to wait for it."""

TIME_SPEEDS: Final = (1e-4, 1e-3, 1e-2, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Multiples of real time, when playing by time: a handshake on loopback takes sixty microseconds."""

Rest = Callable[[int, int], int]
"""From how many events shown, by how many steps -> how many are shown then."""
Until = Callable[[int, float], tuple[int, float]]
"""From how many events shown, by how many ns -> how many are shown then, and the ns since the last of them."""


class Mode(Enum):
    """What the playhead does by itself."""

    FOLLOW = "follow"
    """It stays at the tail."""
    PLAY = "play"
    """It advances at the pace."""
    HOLD = "hold"
    """It stays where it is."""


class Player:
    """The playhead over the events of what is watched."""

    def __init__(self, *, follow: bool = True) -> None:
        self.mode = Mode.FOLLOW if follow else Mode.HOLD
        self.count = 0
        """Events known."""
        self.shown = 0
        """Events that may be drawn, 0..count."""
        self.gate: int | None = None
        """No more than that many may be shown for now: a lesson asks about the next one first."""
        self.open_ended = follow
        """More events may come: at the end playing becomes following."""
        self.by_time = False
        """Playing goes by the events' own times, not by rows."""
        self._speed = SPEEDS.index(1.0)
        self._time_speed = TIME_SPEEDS.index(1.0)
        self._resume = self.mode
        self._last = 0.0
        self._due = 0.0
        self._since = 0.0
        """ns that have been played since the event behind which the playhead is."""

    @property
    def speed(self) -> float:
        """Multiple of STEPS_PER_SECOND; by time, of real time."""
        return TIME_SPEEDS[self._time_speed] if self.by_time else SPEEDS[self._speed]

    @property
    def top(self) -> int:
        """How many may be shown at most."""
        return self.count if self.gate is None else min(self.gate, self.count)

    def wait_before(self, gate: int | None) -> None:
        """Show no more than the first `gate` events; None: whatever there is."""
        self.gate = gate
        self.shown = self.top if self.mode is Mode.FOLLOW else min(self.shown, self.top)

    def grow(self, count: int) -> None:
        """That many events are known now (fewer when another connection is in focus)."""
        self.count = count
        self.shown = self.top if self.mode is Mode.FOLLOW else min(self.shown, self.top)

    def tick(self, now: float, rest: Rest, until: Until) -> bool:
        """Advance to `now` (seconds, any epoch); True when the playhead moved."""
        if self.mode is not Mode.PLAY:
            return False
        passed = max(now - self._last, 0.0) * self.speed
        self._last = now
        before = self.shown
        if self.by_time:
            shown, self._since = until(self.shown, self._since + passed * 1e9)
            self.shown = max(min(1, self.top), min(shown, self.top))
            if self.shown == self.count:
                self._arrive()
            return self.shown != before
        self._due += passed * STEPS_PER_SECOND
        steps, self._due = int(self._due), self._due % 1.0
        if steps:
            self.shown = max(0, min(rest(self.shown, steps), self.top))
        if self.shown == self.count:
            self._arrive()
        return self.shown != before

    def toggle(self, now: float) -> None:
        """Hold what moves; let go what is held: back to the tail if it was held there, else playing from here."""
        if self.mode is not Mode.HOLD:
            self._resume, self.mode = self.mode, Mode.HOLD
        elif self._resume is Mode.FOLLOW and self.open_ended:
            self.to_tail()
        else:
            if self.shown == self.count:
                self.shown = 0
            self.mode, self._last, self._due, self._since = Mode.PLAY, now, 1.0, 0.0  # the first event comes at once

    def seek(self, shown: int) -> None:
        """Put the playhead behind the first `shown` events and hold it there."""
        self.shown = max(0, min(shown, self.top))
        self.mode = self._resume = Mode.HOLD

    def to_start(self) -> None:
        """Hold at the first event."""
        self.seek(1)

    def to_tail(self) -> None:
        """Show all; follow what comes, where more may come."""
        self.shown = self.top
        self._arrive()

    def faster(self, by: int) -> None:
        """So many notches faster (slower where negative)."""
        if self.by_time:
            self._time_speed = max(0, min(self._time_speed + by, len(TIME_SPEEDS) - 1))
        else:
            self._speed = max(0, min(self._speed + by, len(SPEEDS) - 1))

    def _arrive(self) -> None:
        self.mode = Mode.FOLLOW if self.open_ended else Mode.HOLD
        self._resume = self.mode
