"""The moment under the cursor: what the timeline says about one event, gathered for the inspector.

Everything is asked for on demand and for this one event: the words, the numbers it carries, both ends just before and
just after it (two folds of the connection's history), why that followed, and which events led to it and came of it.
What lies ahead of the playhead is not told.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from textual.content import Content

from tracer.events import PACKETS
from tracer.kinds import Side
from tracer.timeline import Event, Timeline
from tracer.words import duration, message
from tui.numbers import hexdump, numbers
from tui.watch import NOWHERE, Watch
from tui.widgets.inspector import Line, Section
from tui.widgets.shapes import UNICODE, Shapes


class Moment:
    """Facts about the event under the cursor of a view."""

    def __init__(self, timeline: Timeline, shapes: Shapes = UNICODE) -> None:
        self._timeline, self._shapes = timeline, shapes
        self._key: tuple[int, ...] = ()
        self._event: Event | None = None
        self._place = self._total = 0
        self._since_start = self._since_before = 0
        self.cause_order: int | None = None
        self.effect_order: int | None = None

    def stale(self, view: Watch) -> bool:
        """The view has moved since the last look."""
        return self._key != self._key_of(view)

    @staticmethod
    def _key_of(view: Watch) -> tuple[int, ...]:
        return (view.cursor, view.focus, view.player.shown, view.player.count)

    def look(self, view: Watch) -> None:
        """Gather the facts."""
        self._key = self._key_of(view)
        self._event = None if view.cursor == NOWHERE else self._timeline[view.cursor]
        self._place, self._total = view.place, view.player.count
        if self._event is None:
            return
        track, at = view.track, view.track.place_of(view.cursor)
        if len(track):
            self._since_start = self._event.time - self._timeline[track[0]].time
            self._since_before = self._event.time - self._timeline[track[at - 1]].time if at else 0

    def where(self) -> str:
        """`#12 · event 13/27 · observed`"""
        if self._event is None:
            return "nothing yet"
        dot = self._shapes.dot
        known = f"{self._event.evidence.name.lower()} by {self._event.source.name.lower()}"
        return f"#{self._event.conn} {dot} event {self._place:,}/{self._total:,} {dot} {known}"

    def sentence(self) -> Content:
        """The event in one sentence."""
        if self._event is None:
            return Content("The first event will be shown here.")
        return Content(message(self._event))

    def sections(self) -> Sequence[Section]:
        """All that is known."""
        event = self._event
        if event is None:
            return (Section("Inspector", (Line("", Content("Nothing has happened yet.")),)),)
        moment = datetime.fromtimestamp(event.time // 1_000_000_000, UTC)
        head = [
            Line("event", Content(f"{self._place:,} of {self._total:,}")),
            Line("known", Content(f"{event.evidence.name.lower()} by {event.source.name.lower()}")),
            Line("what", Content.styled(message(event), "bold")),
            Line("time", Content(f"+{duration(self._since_start)} (+{duration(self._since_before)})")),
            Line("", Content(f"{moment:%H:%M:%S}.{event.time % 1_000_000_000:09d} UTC")),
            Line("by", Content(self._by(event))),
        ]
        carried = numbers(event, self._shapes.infinity)
        sections = [Section("Inspector", head)]
        if carried:
            sections.append(Section("Numbers", [Line("", Content(line)) for line in carried]))
        if event.number in PACKETS and event["caplen"]:
            raw: bytes = event["raw"][: event["caplen"]]
            sections.append(Section("Header bytes", [Line("", Content(line)) for line in hexdump(raw)]))
        return sections

    @staticmethod
    def _by(event: Event) -> str:
        who = [] if event.side is Side.NONE else [event.side.name.lower()]
        if event.pid:
            who.append(f"pid {event.pid}" + (f" thread {event.tid}" if event.tid not in (0, event.pid) else ""))
        if event.fd >= 0:
            who.append(f"fd {event.fd}")
        if event.evidence.name == "OBSERVED":
            who.append(f"cpu {event.cpu}")
        return ", ".join(who) or "not known"

    def queues(self) -> tuple[str, Sequence[Content]]:
        """Title and lines of the queues pane."""
        return "Queues at the cursor", ()
