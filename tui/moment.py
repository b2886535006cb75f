"""The moment under the cursor: what the timeline says about one event, gathered for the inspector.

Everything is asked for on demand and for this one event: the words, the numbers it carries, both ends just before and
just after the row it stands in (two folds of the connection's history), why that followed, and which events led to it
and came of it. What lies ahead of the playhead is not told.

A fold takes some microseconds an event. In a flood that is too long to be done at every frame, so there are facts
without folds too (`glance`), and `look` may run in another thread than the screen.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from tracer.causes import Link, cause, effects, step
from tracer.history import History
from tracer.kinds import Side
from tracer.relevant import Changing
from tracer.states import Transition
from tracer.timeline import Event, Timeline
from tracer.views import SocketView
from tracer.world import World
from tui.watch import NOWHERE, Watch

EFFECTS_REACH: Final = 96
"""Events behind the cursor's that are asked whether it led to them: a key press must stay quick."""
CAUSES: Final = 1 << 15
"""Events whose causes are remembered: from one moment to the next nearly the same ones are asked for."""
HISTORIES: Final = 8
"""Connections whose worlds are kept."""
SEARCHED: Final = 64
"""Events that are searched in the time that one is folded in."""

PORTION: Final = 100
"""Events that a thread in the background folds (2 ms or so) before it lets others go first."""
PAUSE: Final = 0.001
"""Seconds that it lets them."""


class Question(NamedTuple):
    """What the inspector is to tell about."""

    cursor: int
    """Order of the event; NOWHERE while there is none."""
    focus: int
    place: int
    """1-based place of it among the `total` events of the connection."""
    total: int
    limit: int
    """Events from this order on are not to be told of."""
    first: int
    """Order of the first event of its row."""
    last: int
    """Order of the row's last event below the limit."""
    start: int
    """ns of the connection's first event."""
    before: int
    """ns of the event before it; 0 where there is none."""


def question(view: Watch) -> Question:
    """What the view asks now."""
    if view.cursor == NOWHERE:
        return Question(NOWHERE, view.focus, 0, view.player.count, 0, 0, 0, 0, 0)
    track, at = view.track, view.track.place_of(view.cursor)
    first, last = track.row_of(view.cursor)
    start = view.timeline[track[0]].time if len(track) else 0
    before = view.timeline[track[at - 1]].time if at else 0
    limit = view.limit
    return Question(
        view.cursor, view.focus, view.place, view.player.count, limit, first, min(last, max(limit - 1, view.cursor)),
        start, before,
    )  # fmt: skip


class Step(NamedTuple):
    """One end has changed its state."""

    side: Side
    before: SocketView | None
    after: SocketView
    row: Transition | None
    """The row of the table that says why; None where the evidence leaves more than one."""


@dataclass(frozen=True)
class Facts:
    """The answer. Without `deep`, worlds and links are empty because nobody looked."""

    asked: Question
    event: Event | None = None
    conn: int = 0
    deep: bool = False
    before: World = field(default_factory=World)
    after: World = field(default_factory=World)
    cause: Link | None = None
    effects: Sequence[Link] = ()
    steps: Sequence[Step] = ()
    """The sides that changed state in the row."""

    def ends(self) -> list[tuple[Side, SocketView | None, SocketView | None]]:
        """Each side with what is known of it before and after, the side that acted first."""
        sides = [Side.CLIENT, Side.SERVER]
        if self.event is not None and self.event.side is Side.SERVER:
            sides.reverse()
        return [(side, self.before.end(self.conn, side), self.after.end(self.conn, side)) for side in sides]


class Moment:
    """Answers questions about a timeline."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._conn = -1
        self._changing = Changing(timeline)
        self._history = History(timeline, 0, self._changing)
        self._histories: dict[int, History] = {}
        """Of the connections that were asked about last, the latest at the end."""
        self._causes: dict[int, Link | None] = {}
        self._folded = 0
        self._lock = threading.Lock()

    def cost(self, asked: Question) -> int:
        """About how many events `look` would have to fold, or how long it takes to find them, in such."""
        fold = abs(asked.place - self._folded) if asked.focus == self._conn else asked.place
        return fold + self._changing.behind // SEARCHED

    def glance(self, asked: Question) -> Facts:
        """The event alone."""
        if asked.cursor == NOWHERE:
            return Facts(asked)
        event = self._timeline[asked.cursor]
        return Facts(asked, event, event.conn or asked.focus)

    @property
    def busy(self) -> bool:
        """Another thread is looking: who looks now waits for it."""
        return self._lock.locked()

    def look(self, asked: Question, wanted: Callable[[], bool] | None = None) -> Facts:
        """All of it. One thread at a time.

        ``wanted`` is for a thread that nobody waits for: it lets others go first again and again, and goes no further
        than a glance once its answer is not wanted any more.
        """
        seen = self.glance(asked)
        if seen.event is None:
            return seen
        with self._lock:
            if wanted is not None and not wanted():
                return seen
            if seen.conn != self._conn:
                history = self._histories.pop(seen.conn, None)
                self._conn = seen.conn
                self._history = history or History(self._timeline, seen.conn, self._changing)
                self._histories[seen.conn] = self._history
                if len(self._histories) > HISTORIES:
                    del self._histories[next(iter(self._histories))]
            if wanted is not None:
                for order in self._history.stages(asked.first - 1, PORTION):
                    self._history.at(order)
                    time.sleep(PAUSE)  # the interpreter lock is handed on
                    if not wanted():
                        self._folded = 0
                        return seen
            before, after = self._history.at(asked.first - 1), self._history.at(asked.last)
            self._folded = asked.place
        links = effects(self._timeline, asked.cursor, EFFECTS_REACH, self._cause)
        came = [link for link in links if link.order < asked.limit]
        led = self._cause(asked.cursor)
        facts = Facts(asked, seen.event, seen.conn, True, before, after, led, tuple(came))
        return replace(facts, steps=tuple(self._steps(facts)))

    def _cause(self, order: int) -> Link | None:
        if order not in self._causes:
            if len(self._causes) >= CAUSES:
                self._causes.clear()
            self._causes[order] = cause(self._timeline, order)
        return self._causes[order]

    def _steps(self, facts: Facts) -> Iterator[Step]:
        for side, before, after in facts.ends():
            if after is not None and (before is None or before.state != after.state):
                yield Step(side, before, after, step(self._timeline, after.order))
