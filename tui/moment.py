"""The moment under the cursor: what the timeline says about one event, gathered for the inspector.

Everything is asked for on demand and for this one event: the words, the numbers it carries, both ends just before and
just after it (two folds of the connection's history), why that followed, and which events led to it and came of it.
What lies ahead of the playhead is not told.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from textual.content import Content

from tracer.causes import Link, cause, effects
from tracer.events import PACKETS
from tracer.history import History
from tracer.kinds import EVIDENCE_MARK, Evidence, Side
from tracer.states import Transition
from tracer.timeline import Event, Timeline
from tracer.views import SocketView
from tracer.words import duration, message
from tracer.world import World, step_taken
from tui.numbers import hexdump, numbers
from tui.queue_lines import queue_lines, state_text
from tui.watch import NOWHERE, Watch
from tui.widgets.inspector import Line, Section

EFFECTS_REACH = 96
"""Events behind the cursor's that are asked whether it led to them: a key press must stay quick."""
_BY_SEGMENT = frozenset({"context", "segment"})


class Moment:
    """Facts about the event under the cursor of a view."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._history = History(timeline, 0)
        self._conn = 0
        self._key: tuple[int, ...] = ()
        self._event: Event | None = None
        self._place = self._total = self._limit = 0
        self._since_start = self._since_before = 0
        self._before, self._after = World(), World()
        self.cause: Link | None = None
        self.effects: list[Link] = []

    def stale(self, view: Watch) -> bool:
        """The view has moved since the last look."""
        return self._key != self._key_of(view)

    @staticmethod
    def _key_of(view: Watch) -> tuple[int, ...]:
        return (view.cursor, view.focus, view.player.shown, view.player.count)

    def look(self, view: Watch) -> None:
        """Gather the facts."""
        self._key = self._key_of(view)
        self._event = event = None if view.cursor == NOWHERE else self._timeline[view.cursor]
        self._place, self._total, self._limit = view.place, view.player.count, view.limit
        if event is None:
            return
        track, at = view.track, view.track.place_of(view.cursor)
        if len(track):
            self._since_start = event.time - self._timeline[track[0]].time
            self._since_before = event.time - self._timeline[track[at - 1]].time if at else 0
        conn = event.conn or view.focus
        if conn != self._conn:
            self._conn, self._history = conn, History(self._timeline, conn)
        self._before, self._after = self._history.at(event.order - 1), self._history.at(event.order)
        self.cause = cause(self._timeline, event.order)
        came = effects(self._timeline, event.order, EFFECTS_REACH)
        self.effects = [link for link in came if link.order < self._limit]

    def where(self) -> str:
        """`#12 · event 13/27 · observed by kernel`"""
        if self._event is None:
            return "nothing yet"
        return f"#{self._conn} · event {self._place:,}/{self._total:,} · {_known(self._event)}"

    def sentence(self) -> Content:
        """The event in one sentence; a state that changes, with the reason."""
        if self._event is None:
            return Content("The first event will be shown here.")
        for side, before, after in self._ends():
            step = self._step(before, after)
            if step is not None and after is not None:
                return Content(f"{side.name.lower()} ") + _change(before, after) + Content(f": {step.why}")
        return Content(message(self._event))

    def sections(self) -> Sequence[Section]:
        """All that is known."""
        event = self._event
        if event is None:
            return (Section("Inspector", (Line("", Content("Nothing has happened yet.")),)),)
        sections = [Section("Inspector", [*self._head(event), *self._sides(), *self._why(event), *self._links()])]
        carried = numbers(event)
        if carried:
            sections.append(Section("Numbers", [Line("", Content(line)) for line in carried]))
        if event.number in PACKETS and event["caplen"]:
            raw: bytes = event["raw"][: event["caplen"]]
            sections.append(Section("Header bytes", [Line("", Content(line)) for line in hexdump(raw)]))
        return sections

    def queues(self) -> tuple[str, Sequence[Content]]:
        """Title and lines of the queues pane."""
        return f"Queues at the cursor (t = +{duration(self._since_start)})", queue_lines(self._after, self._conn)

    def _head(self, event: Event) -> list[Line]:
        moment = datetime.fromtimestamp(event.time // 1_000_000_000, UTC)
        return [
            Line("event", Content(f"{self._place:,} of {self._total:,}")),
            Line("known", Content(_known(event))),
            Line("what", Content.styled(message(event), "bold")),
            Line("time", Content(f"+{duration(self._since_start)} (+{duration(self._since_before)})")),
            Line("", Content(f"{moment:%H:%M:%S}.{event.time % 1_000_000_000:09d} UTC")),
            Line("by", Content(_by(event))),
        ]

    def _ends(self) -> list[tuple[Side, SocketView | None, SocketView | None]]:
        sides = (Side.CLIENT, Side.SERVER)
        return [(side, self._before.end(self._conn, side), self._after.end(self._conn, side)) for side in sides]

    def _sides(self) -> list[Line]:
        out = []
        for side, before, after in self._ends():
            if after is None:
                out.append(Line(side.name.lower(), Content("not seen")))
            else:
                out.append(Line(side.name.lower(), _change(before, after)))
        return out

    def _step(self, before: SocketView | None, after: SocketView | None) -> Transition | None:
        """The row of the table that was taken; where several fit, the one whose trigger the cause speaks for."""
        steps = step_taken(before, after)
        rule = self.cause.rule if self.cause else ""
        for step in steps:
            if (rule in _BY_SEGMENT and step.trigger.by_segment) or (rule == "call" and step.trigger.by_call):
                return step
        return steps[0] if steps else None

    def _why(self, event: Event) -> list[Line]:
        for _, before, after in self._ends():
            step = self._step(before, after)
            if step is not None:
                return [Line("why", Content(step.why)), Line("", Content(step.rfc))]
        return [Line("means", Content(event.kind.meaning))]

    def _links(self) -> list[Line]:
        lines = []
        if self.cause is not None:
            lines.append(Line("c cause", self._link(self.cause)))
            lines.append(Line("", Content(self.cause.words)))
        for i, link in enumerate(self.effects[:4]):
            lines.append(Line("" if i else "e led to", self._link(link)))
        if len(self.effects) > 4:
            lines.append(Line("", Content(f"and {len(self.effects) - 4} more")))
        return lines

    def _link(self, link: Link) -> Content:
        return Content.styled(message(self._timeline[link.order]), "underline")


def _known(event: Event) -> str:
    return f"{event.evidence.name.lower()} by {event.source.name.lower()}"


def _by(event: Event) -> str:
    who = [] if event.side is Side.NONE else [event.side.name.lower()]
    if event.pid and not event.ctx:
        who.append(f"pid {event.pid}" + (f" thread {event.tid}" if event.tid not in (0, event.pid) else ""))
    elif event.ctx:
        who.append("softirq, processing a packet")
    if event.fd >= 0:
        who.append(f"fd {event.fd}")
    if event.evidence is Evidence.OBSERVED:
        who.append(f"cpu {event.cpu}")
    return ", ".join(who) or "not known"


def _change(before: SocketView | None, after: SocketView) -> Content:
    now = state_text(after.state, EVIDENCE_MARK[after.evidence])
    if before is None or before.state == after.state:
        return now
    return state_text(before.state, EVIDENCE_MARK[before.evidence]) + Content(" → ") + now
