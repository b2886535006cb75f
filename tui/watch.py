"""What is being looked at: which connection, how far the playhead is, which event the cursor is on, which are marked.

This is the screen's whole state and none of its looks, so that keys can be tested without a terminal. The cursor is an
event's order on the timeline. It rides along with the playhead until it is moved by hand; then it stays on its event
whatever comes, and rides again once it has been sent to the tail.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from tracer.timeline import Timeline
from tui.connections import Connection, Connections, Listing
from tui.feed import Partial
from tui.player import Mode, Player
from tui.track import Track

NOWHERE = -1
"""The cursor's order while there is no event to be on."""
KEPT: Final = 16
"""Connections of which the places of their events are remembered."""


class Watch:
    """The view on a timeline. `refresh` often; everything else is a key."""

    def __init__(self, timeline: Timeline, *, riding: bool = True, part: Partial | None = None) -> None:
        """``part``: who knows all connections and brings the events of one, where the timeline does not hold all."""
        self.timeline = timeline
        self.connections: Listing = Connections(timeline) if part is None else part.listing
        self._part = part
        self.player = Player()
        self.track = Track(timeline, 0)
        self._tracks: dict[int, Track] = {}
        """Of the connections that were looked at last, the latest at the end: to come back costs only what has come."""
        self.cursor = NOWHERE
        self.riding = riding
        """The cursor goes with the playhead."""
        self.marks: set[int] = set()
        self.among: set[int] | None = None
        """Connections with something that is looked for; None while nothing is."""
        self.gate: int | None = None
        """Events from this order on are not shown for now: a lesson asks about them first."""
        self._frozen = 0
        """The limit while the view is held at the tail: events of other connections do not move it either."""

    @property
    def focus(self) -> int:
        """Number of the connection in focus; 0 while there is none: then it is what belongs to no connection."""
        return self.track.connection

    @property
    def connection(self) -> Connection | None:
        """The connection in focus."""
        return self.connections.get(self.focus)

    @property
    def numbers(self) -> Sequence[int]:
        """Connections that are listed: those with a match while something is looked for, and the one in focus."""
        if self.among is None:
            return self.connections.numbers
        return sorted({*self.among & self.connections.known, *([self.focus] if self.focus else ())})

    @property
    def behind(self) -> bool:
        """The next `refresh` has more to read, though no more may come."""
        return self.connections.behind or self.track.behind

    @property
    def coming(self) -> bool:
        """The connection in focus is being read, and nothing of it is there yet."""
        return (
            self._part is not None and self.focus > 0 and not len(self.track) and self.focus not in self._part.visited
        )

    @property
    def limit(self) -> int:
        """Only events with a lower order may be drawn."""
        player = self.player
        if self.gate is not None and player.shown >= player.top:
            return min(self.gate, len(self.timeline))
        if player.shown >= player.count:
            return len(self.timeline) if player.mode is not Mode.HOLD or not player.open_ended else self._frozen
        return self.track[player.shown] if player.shown else 0

    @property
    def place(self) -> int:
        """1-based place of the cursor's event in its connection; 0 while there is none."""
        if self.cursor == NOWHERE or not len(self.track):
            return 0
        return min(self.track.place_of(self.cursor) + 1, len(self.track))

    @property
    def mark_places(self) -> tuple[int, ...]:
        """1-based places of the marks in this connection."""
        places = [(order, self.track.place_of(order)) for order in sorted(self.marks)]
        return tuple(at + 1 for order, at in places if at < len(self.track) and self.track[at] == order)

    def refresh(self, now: float, *, more: bool) -> bool:
        """Take in what has come; `more`: further events may come; True when anything to be drawn changed."""
        news = self.connections.refresh()
        if not self.focus and len(self.connections):
            self._focus(self.connections.numbers[0])
            news = True
        shown = self.player.shown
        if self._grow():
            news = True
        self._wait()
        news = news or shown != self.player.shown
        self._close_end(more)
        if self.player.tick(now, self.track.rest, self.track.until):
            news = True
        if news:
            self._ride()
        return news

    def _grow(self) -> bool:
        """Take in what has come of this connection; the playhead stays behind the event it was behind."""
        player, track = self.player, self.track
        last = track[player.shown - 1] if player.shown else NOWHERE
        if not track.refresh():
            return False
        if player.mode is not Mode.FOLLOW and last != NOWHERE:
            player.shown = track.place_of(last) + 1
        player.grow(len(track))
        return True

    def _wait(self) -> None:
        """Keep the playhead before the gate."""
        self.player.wait_before(None if self.gate is None else self.track.place_of(self.gate))

    def _close_end(self, more: bool) -> None:
        player = self.player
        if player.open_ended and not more:
            player.open_ended = False
            if player.mode is Mode.FOLLOW:
                player.to_tail()

    def toggle(self, now: float) -> None:
        """Hold the view, or let it go on."""
        self._frozen = self.limit
        self.player.toggle(now)
        self.riding = self.player.mode is not Mode.HOLD or self.riding
        self._ride()

    def step(self, by: int) -> None:
        """Move the playhead by so many rows; the cursor goes with it."""
        self.seek(self.track.rest(self.player.shown, by))

    def seek(self, shown: int) -> None:
        """Put the playhead behind the first `shown` events of the connection (at least one)."""
        self._frozen = len(self.timeline)
        self.player.seek(max(shown, 1))
        self.riding = True
        self._ride()

    def to_tail(self) -> None:
        """To the last event, and follow."""
        self.player.to_tail()
        self.riding = True
        self._ride()

    def point(self, order: int) -> None:
        """The cursor was moved by hand onto this event."""
        self.cursor = order
        shown = self.player.shown
        following = self.player.mode is Mode.FOLLOW and shown > 0
        self.riding = following and self.track.row_of(order)[1] >= self.track[shown - 1]

    def go(self, order: int) -> bool:
        """Follow a link to any event: change connection and move the playhead if need be. False if there is none.

        What a lesson still asks about is not there yet.
        """
        if not 0 <= order < len(self.timeline):
            return False
        number = self.timeline[order].conn
        if number and number != self.focus:
            self.focus_on(number)
        self._grow()
        if order >= self.limit:
            self.seek(self.track.place_of(order) + 1)
        if self.gate is not None and order >= self.gate:
            return False
        self.riding = False
        self.cursor = order
        return True

    def focus_on(self, number: int) -> bool:
        """Look at another connection; False when it is the same or there is none of that number."""
        if number == self.focus or self.connections.get(number) is None:
            return False
        self._focus(number)
        self._ride()
        return True

    def neighbour(self, by: int) -> bool:
        """Look at the next or the previous connection; False at the ends of the list."""
        numbers = self.numbers
        if not numbers:
            return False
        at = bisect_left(numbers, self.focus)
        return self.focus_on(numbers[max(0, min(at + by, len(numbers) - 1))])

    def mark(self) -> None:
        """Mark the cursor's event, or take the mark away."""
        if self.cursor != NOWHERE:
            self.marks ^= {self.cursor}

    def next_mark(self) -> bool:
        """The cursor goes to the next mark behind it, from the last one to the first; False where there is none."""
        if not self.marks:
            return False
        behind = sorted(order for order in self.marks if order > self.cursor)
        return self.go(behind[0] if behind else min(self.marks))

    def _focus(self, number: int) -> None:
        whole = self.player.shown >= self.player.count
        track = self._tracks.pop(number) if number in self._tracks else Track(self.timeline, number)
        self._tracks[number] = self.track = track
        if len(self._tracks) > KEPT:
            del self._tracks[next(iter(self._tracks))]
        track.refresh()
        self.player.grow(len(self.track))
        if whole:
            self.player.shown = self.player.count
        self._wait()
        self.cursor = NOWHERE
        if self._part is not None:
            self._part.want(number)
            if whole:  # what comes of it now is shown as it comes
                self.player.open_ended = True
                self.player.to_tail()

    def _ride(self) -> None:
        shown = self.player.shown
        if not shown:
            self.cursor = NOWHERE
        elif self.riding or self.cursor == NOWHERE:
            self.cursor = self._about(self.track[shown - 1 if self.riding else 0])
        elif self.cursor >= self.limit:
            self.cursor = self._about(self.track[shown - 1])

    def _about(self, order: int) -> int:
        """The event that the row of `order` is about, as far as that may be told already."""
        main = self.track.main_of(order)
        return main if main < self.limit else order
