"""When the trace is looked at: a loop that looks soon while things happen, seldom while nothing does.

Sources never call into the screen. A timer asks how many events there are, and only what changed is drawn anew, so that
an idle trace costs next to nothing and a flood of a hundred thousand events a second no more than a few repaints. A key
is shown without waiting for the next frame, once for all keys that wait.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from tracer.timeline import Timeline
from tui.feed import Feed
from tui.screens.layout import Layout
from tui.widgets.scrolled import Scrolled

FRAMES_PER_SECOND: Final = 20
CALM_FRAMES: Final = 4
"""The same once nothing has happened for CALM_SECONDS: an idle screen must cost next to nothing."""
RESTING_FRAMES: Final = 2
"""The same after REST_SECONDS."""
HURRIED_FRAMES: Final = 100
"""The same while nothing comes, but there is more to read or to merge than is done at once."""
AFTER_SECONDS: Final = 0.01
"""So long after the session of a trace that is at rest."""
CALM_SECONDS: Final = 2.0
REST_SECONDS: Final = 12.0
TICK_SECONDS: Final = 1.0
"""What time alone changes is drawn that often."""
HOP_SECONDS: Final = 0.2
"""From one connection to the next in less they rush by."""
FLOOD: Final = 1_000
"""Events since the last look past which they rush by."""


class Pacing(Layout):
    """The widgets, looked after. `clock` gives seconds."""

    def __init__(self, feed: Feed, *, live: bool, clock: Callable[[], float]) -> None:
        super().__init__(feed)
        self.live, self._clock = live, clock
        self._next: asyncio.TimerHandle | None = None
        """When it is looked again."""
        self._called = False
        """It is looked as soon as what waits before that is done."""
        self._over = False
        """Only a key can change anything."""
        self._grown = False
        """Events had come when it was looked last."""
        self._busy = clock()
        """When something happened last."""
        self._seen: tuple[object, ...] = ()
        """The state that was drawn, and in which second."""
        self._length = len(feed.timeline)
        """Events when bars were seen to last."""
        self._rushed, self._kept = clock() - CALM_SECONDS, False
        """When events, or connections, rushed by last; scrollbars stay."""
        self._hopped = clock()
        """When another connection came into focus by a key."""

    @property
    def timeline(self) -> Timeline:
        """What is shown."""
        return self.feed.timeline

    def look(self) -> None:
        """Take in what has come and paint what changed."""
        raise NotImplementedError

    @property
    def _behind(self) -> bool:
        """Not everything that is known has been read and merged into rows."""
        raise NotImplementedError

    def _calm(self, now: float) -> bool:
        """Nothing that the frames themselves have to carry on."""
        raise NotImplementedError

    def _state(self) -> tuple[object, ...]:
        """What changes without a key."""
        play = self.feed.play
        script = (play.position, play.state) if play is not None else None
        return (len(self.timeline), self.feed.lost, self.feed.finished, script)

    def _frame(self) -> None:
        """Look, and see to it that it is looked again."""
        began, self._called = self._clock(), False
        self.look()
        self._keep_bars()
        if self._over:
            self._wait(None)
            return
        calm = self._clock() - self._busy > CALM_SECONDS
        hurried = self._behind and not self._grown
        pace = HURRIED_FRAMES if hurried else CALM_FRAMES if calm else FRAMES_PER_SECOND
        took = self._clock() - began  # frames are to be so many a second, however long each takes
        self._wait(max(1 / pace - took, 1 / HURRIED_FRAMES))

    def _wait(self, seconds: float | None) -> None:
        """Look again after so long and no sooner; None: when a key is pressed."""
        if self._next is not None:
            self._next.cancel()
        # The loop's own timer: one of Textual's is a task each time, most of what an idle screen would cost.
        self._next = None if seconds is None else asyncio.get_running_loop().call_later(seconds, self._due)

    def _due(self) -> None:
        """It is time to look: where nothing has changed that costs next to nothing."""
        self._next = None
        if self._still():
            # Together with whoever brings events (tracer.session.RESTS), just after him.
            period = 1 / (CALM_FRAMES if self._clock() - self._busy < REST_SECONDS else RESTING_FRAMES)
            self._wait(period - (time.monotonic() - AFTER_SECONDS) % period)
        elif self.is_running:
            self._soon()

    def _still(self) -> bool:
        """Nothing has come, nothing moves, and what time alone changes has just been drawn."""
        now = self._clock()
        return self._seen == (*self._state(), int(now / TICK_SECONDS)) and self._calm(now)

    def _keep_bars(self) -> None:
        """While events rush by, scrollbars stay: each that comes or goes is a layout of the whole screen."""
        now, length = self._clock(), len(self.timeline)
        if length - self._length > FLOOD and self.live and not self.feed.finished:
            self._rushed = now
        self._length = length
        rushing = now - self._rushed < CALM_SECONDS
        if rushing is not self._kept:
            self._kept = rushing
            for scrolled in self.query(Scrolled):
                scrolled.keep_bar(rushing)

    def hop(self) -> None:
        """A key has brought another connection: one after the other they rush by too."""
        now = self._clock()
        if 0 < now - self._hopped < HOP_SECONDS:
            self._rushed = now
        self._hopped = now

    def at_once(self) -> None:
        """A key has changed the view: show it without waiting for the next frame, once for all keys that wait."""
        self._seen = ()
        self._busy = self._clock()
        self._soon()

    def _soon(self) -> None:
        if not self._called:
            self._called = self.call_later(self._now)

    def _now(self) -> None:
        if self._called:  # else a frame has come in between, and shown it
            self._frame()

    def on_unmount(self) -> None:
        """Look no more."""
        self._wait(None)
