"""What every sight stands on: the events of one play, and what evidence there is at all.

That something is not on the timeline means that it did not happen only where somebody would have seen it. Kernel probes
see each timer, each reset and each call; packets show what was on the wire; a table read now and then shows states and
queues that lasted. So whoever asks for events that none of the sources at hand brings gets `CannotTell` and not an
empty list, and what was still under way when the watching ended is `NotYet`. What a table or a wire in between tells
may lack something: then the answer is given with a `doubt`, and a check that fails by it has not decided anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from tracer.kinds import Evidence, Source
from tracer.segments import ACK, FIN, PSH, RST, SYN, URG
from tracer.timeline import Event, Timeline

FLAGS: Final = {"FIN": FIN, "SYN": SYN, "RST": RST, "PSH": PSH, "ACK": ACK, "URG": URG}
SECOND: Final = 1_000_000_000
"""ns."""


class CannotTell(Exception):
    """The evidence at hand does not decide; str() says what would."""


class NotYet(CannotTell):
    """It may still come: it was under way when the watching ended."""


def bits(names: str) -> int:
    """Control bits by their names: `"SYN ACK"`. KeyError for a name that is none."""
    return sum(FLAGS[name] for name in names.split())


def in_order(*moments: tuple[str, Event | None]) -> str | None:
    """None when all of these happened, in this order; else what is missing or came too early, in words.

    Raises CannotTell where a table's reading would decide: it shows that something had begun, not when; or a state that
    was worked out from packets: it stands with the packet that tells of it, and the kernel may have had it before.
    """
    before: tuple[str, Event] | None = None
    for words, event in moments:
        if event is None:
            return f"not seen: {words}"
        if before is not None:
            one = before[1]
            if event.evidence == Evidence.SAMPLED and one.sock != event.sock:
                raise CannotTell(f"the table was read too seldom to show which came first, {before[0]} or {words}")
            if not _precedes(one, event):
                if one.evidence == Evidence.SAMPLED:
                    raise CannotTell(f"the table was read too seldom to show that {before[0]} came before {words}")
                if Evidence.INFERRED in (one.evidence, event.evidence):
                    raise CannotTell(f"packets alone do not show whether {before[0]} or {words} came first")
                return f"{words} came before {before[0]}"
        before = (words, event)
    return None


def _precedes(one: Event, other: Event) -> bool:
    """Whether it came first. What an actor reports may be appended late, on a busy machine: its time tells then."""
    if Evidence.REPORTED in (one.evidence, other.evidence) and one.time != other.time:
        return one.time < other.time
    return one.order < other.order


LEAVES: Final = ("packet:sent", "network:duplicated", "network:released")
ARRIVES: Final = ("packet:received", "network:dropped", "network:held")


def unseen(events: Iterable[Event]) -> int:
    """How many segments arrived that no probe saw leave, or left and never arrived, nor were lost by the wire; and how
    many changes of state began in another state than the one before had ended in.

    Where a machine keeps BPF programs from running in some process, they do not run in a softirq that interrupts it
    either (seen on a hosted virtual machine, in one timer softirq of a hundred: ftrace tells of them). How many there
    were is known (trace:unseen), not what was done in them; but that shows in what comes after.
    """
    under_way: Counter[tuple[int, ...]] = Counter()
    states: dict[int, int] = {}
    leaps = 0
    for event in events:
        if event.name in LEAVES:
            under_way[_segment(event)] += 1
        elif event.name in ARRIVES:
            under_way[_segment(event)] -= 1
        elif event.name == "socket:state" and event.evidence == Evidence.OBSERVED:
            leaps += states.get(event.sock, event["old"]) != event["old"]
            states[event.sock] = event["new"]
    return sum(map(abs, under_way.values())) + leaps


def _segment(event: Event) -> tuple[int, ...]:
    flags = event["flags"] & 0x3F
    return (*event["saddr"], event["sport"], *event["daddr"], event["dport"], event["seq"], flags, event["length"])


def seconds(one: Event, other: Event) -> float:
    """Seconds from one event to another; negative when the other came first."""
    return (other.time - one.time) / SECOND


def within(one: Event, other: Event, least: float, most: float) -> str | None:
    """None when so many seconds lie between two events; else how many it was.

    Raises CannotTell where a reading of a table, which comes late, would decide.
    """
    passed = seconds(one, other)
    if least <= passed <= most:
        return None
    if Evidence.SAMPLED in (one.evidence, other.evidence):
        raise CannotTell(f"the table was read too seldom to tell the time between {one.name} and {other.name}")
    return f"{passed:.3f} s lie between {one.name} and {other.name}, not {least:g} to {most:g}"


class Basis:
    """One play's timeline and what its sources can show."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.events: list[Event] = list(timeline.events())
        """All of them, in order."""
        self.by_connection: dict[int, list[Event]] = {}
        for event in self.events:
            self.by_connection.setdefault(event.conn, []).append(event)
        self.probed = any(event.source == Source.KERNEL for event in self.events)
        """Kernel probes were on."""
        self.lost = sum(event["lost"] for event in self.events if event.name == "trace:lost")
        """Events that never reached the timeline."""
        self.unseen = unseen(self.events) if self.probed else 0
        """Segments and changes of state that were not seen from end to end."""
        self.ends = self.events[-1].time if self.events else 0
        """ns, of the last event."""
        self.steered = any(event.name.startswith("network:") for event in self.events)
        """The wire did something to packets: what left one end did not come to the other just so."""
        self.doubt = ""
        """Why the answers given so far may lack something; empty when they do not."""

    def pick(self, events: Iterable[Event], names: tuple[str, ...]) -> list[Event]:
        """Those of these kinds. Raises CannotTell where there are none and only probes would have shown them."""
        found = [event for event in events if event.name in names]
        if not found and not self.probed:
            raise CannotTell(f"no {' or '.join(names)} was seen, and only kernel probes would show it")
        self.weigh(found)
        return found

    def weigh(self, answer: Iterable[Event]) -> None:
        """Note a doubt if readings of a table are among these events."""
        if not self.probed and any(event.evidence == Evidence.SAMPLED for event in answer):
            self.doubt = "the table was read now and then, and what passed between two readings is not in it"
