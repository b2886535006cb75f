"""Telling the facts of a moment: as a sentence, as the inspector's sections, as the queues at the cursor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from textual.content import Content

from tracer.causes import Link
from tracer.events import PACKETS
from tracer.kinds import EVIDENCE_MARK, Evidence, Side
from tracer.timeline import Event, Timeline
from tracer.views import SocketView
from tracer.words import clean, duration, message
from tui.moment import Facts
from tui.numbers import hexdump, numbers
from tui.queue_lines import queue_lines, state_text
from tui.tools import Layer
from tui.widgets.inspector import Line, Section
from tui.widgets.pane import link as linked

SHOWN_EFFECTS = 4
IN_WORDS = frozenset({"trace:note", "trace:lost", "trace:unseen", "trace:anomaly", "actor:step", "actor:report"})
"""Kinds of which the text is a sentence."""


def where(facts: Facts) -> str:
    """`#12 · event 13/27 · observed by kernel`"""
    if facts.event is None:
        return "nothing yet"
    return f"#{facts.conn} · event {facts.asked.place:,}/{facts.asked.total:,} · {_known(facts.event)}"


def sentence(facts: Facts) -> Content:
    """The event in one sentence; a state that changes in its row, with the reason."""
    if facts.event is None:
        return Content("The first event will be shown here.")
    for side, before, after, row in facts.steps:
        reason = row.why if row else message(facts.event)
        return Content(f"{side.name.lower()} ") + _change(before, after) + Content(f": {reason}")
    return Content(_told(facts.event))


def _told(event: Event) -> str:
    """The event and what such an event means; what is in words already stands for itself."""
    text = message(event)
    if event.name in IN_WORDS:
        return text
    who = event.side.name.lower() if event.side is not Side.NONE else ""
    head = text if not who or text.startswith(who) else f"{who}: {text}"
    return f"{head} ({event.kind.meaning})"


Dissect = Callable[[Event], Sequence[Layer]]


def sections(facts: Facts, timeline: Timeline, dissect: Dissect | None = None) -> Sequence[Section]:
    """All that is known; `dissect` takes a packet apart, layer by layer."""
    event = facts.event
    if event is None:
        return (Section("Inspector", (Line("", Content("Nothing has happened yet.")),)),)
    out = [Section("Inspector", [*_head(facts, event), *_sides(facts), *_why(facts, event), *_links(facts, timeline)])]
    carried = numbers(event)
    if carried:
        out.append(Section("Numbers", [Line(None, Content(line)) for line in carried]))
    if event.number in PACKETS and event["caplen"]:
        if dissect is not None and facts.deep:
            out += _layers(event, dissect)
        raw: bytes = event["raw"][: event["caplen"]]
        out.append(Section("Header bytes", [Line(None, Content(line)) for line in hexdump(raw)]))
    return out


def queues(facts: Facts) -> tuple[str, Sequence[Content]]:
    """Title and lines of the queues pane."""
    since = facts.event.time - facts.asked.start if facts.event else 0
    return f"Queues at the cursor (t = +{duration(since)})", queue_lines(facts.after, facts.conn)


def _layers(event: Event, dissect: Dissect) -> list[Section]:
    try:
        layers = dissect(event)
    except ValueError as failure:
        return [Section("Layers", [Line(None, Content(clean(str(failure))))])]
    return [
        Section(f"{clean(layer.name)} layer", [Line(None, Content(f"{clean(name)} = {clean(value)}"))
                                               for name, value in layer.fields])
        for layer in layers
    ]  # fmt: skip


def _head(facts: Facts, event: Event) -> list[Line]:
    asked = facts.asked
    moment = datetime.fromtimestamp(event.time // 1_000_000_000, UTC)
    delta = f" (+{duration(event.time - asked.before)})" if asked.before else ""
    return [
        Line("event", Content(f"{asked.place:,} of {asked.total:,}")),
        Line("known", Content(_known(event))),
        Line("what", Content.styled(message(event), "bold")),
        Line("time", Content(f"+{duration(event.time - asked.start)}{delta}")),
        Line("", Content(f"{moment:%H:%M:%S}.{event.time % 1_000_000_000:09d} UTC")),
        Line("by", Content(_by(event))),
    ]


def _sides(facts: Facts) -> list[Line]:
    if not facts.deep:
        return [Line("ends", Content("too fast to follow: pause to see both ends"))]
    out = []
    for side, before, after in sorted(facts.ends(), key=lambda end: end[0]):
        out.append(Line(side.name.lower(), Content("not seen") if after is None else _change(before, after)))
    return out


def _why(facts: Facts, event: Event) -> list[Line]:
    lines: list[Line] = []
    for step in facts.steps:
        reason = "More than one thing can have led here, and the evidence does not say which."
        lines.append(Line("" if lines else "why", Content(step.row.why if step.row else reason)))
        if step.row:
            lines.append(Line("", Content.styled(step.row.rfc, "italic")))
    return lines or [Line("means", Content(event.kind.meaning))]


def _links(facts: Facts, timeline: Timeline) -> list[Line]:
    lines = []
    if facts.cause is not None:
        lines.append(Line("c cause", _link(facts.cause, timeline)))
        lines.append(Line("", Content(facts.cause.words)))
    for i, link in enumerate(facts.effects[:SHOWN_EFFECTS]):
        lines.append(Line("" if i else "e led to", _link(link, timeline)))
    if len(facts.effects) > SHOWN_EFFECTS:
        lines.append(Line("", Content(f"and {len(facts.effects) - SHOWN_EFFECTS} more")))
    return lines


def _link(link: Link, timeline: Timeline) -> Content:
    return linked(Content(message(timeline[link.order])), link.order)


def _known(event: Event) -> str:
    return f"{event.evidence.name.lower()} by {event.source.name.lower()}"


def _by(event: Event) -> str:
    who = [] if event.side is Side.NONE else [event.side.name.lower()]
    if event.ctx:
        who.append("softirq, processing a packet")
    elif event.pid:
        who.append(f"pid {event.pid}" + (f" thread {event.tid}" if event.tid not in (0, event.pid) else ""))
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
