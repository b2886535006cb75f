"""What must be seen of a play, checked against what was seen.

A scenario's checks read the timeline through `Seen`, whatever sources filled it: probes, packets and samples, or a
sampled table alone. Each check has one of three outcomes. It holds; it does not, with what was seen instead; or this
evidence cannot tell, with what would be needed. The last is no failure: a table read every millisecond does not show a
state that lasts microseconds, and a check must not guess.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NoReturn

from scenarios.script import Scenario
from tracer.kinds import Evidence, Side
from tracer.segments import ACK, FIN, PSH, RST, SYN
from tracer.states import State
from tracer.timeline import Event, Timeline

STATES_FROM = (Evidence.OBSERVED, Evidence.SAMPLED, Evidence.INFERRED)
"""Best evidence of a state first; one kind of evidence tells the whole path, they are not mixed."""
FLAGS = {"FIN": FIN, "SYN": SYN, "RST": RST, "PSH": PSH, "ACK": ACK}
PACKETS_FROM = ("packet:sent", "packet:captured")
"""Each packet once: probes see it sent and received."""


class CannotTell(Exception):
    """The evidence at hand does not decide; str() says what would."""


@dataclass(frozen=True)
class Outcome:
    """What became of one check."""

    text: str
    """The expectation."""
    verdict: Literal["seen", "not seen", "cannot tell"]
    reason: str
    """Why, empty when it was seen."""


class Seen:
    """The timeline of one play, as its checks ask it.

    Sides are `client` (it sent the first SYN) and `server`, states and flags go by their names: scripts are read by
    actors too, which should not have to load the tracer for that.
    """

    def __init__(self, timeline: Timeline, connection: int = 1) -> None:
        """`connection` is the number of the connection that the play is about."""
        self.timeline = timeline
        self._connection = connection
        self._mine = [timeline[int(order)] for order in timeline.indices("conn", connection)]

    def actor(self, name: str) -> int:
        """Process number of an actor. Raises CannotTell."""
        for event in self.timeline.events():
            if event.name == "actor:step" and event["actor"] == name:
                return int(event.pid)
        raise CannotTell(f"no step of the {name} is on the timeline")

    @staticmethod
    def cannot_tell(reason: str) -> NoReturn:
        """End a check undecided."""
        raise CannotTell(reason)

    def path(self, side: str) -> list[tuple[State, Event]]:
        """The states one side went through, by the best evidence there is. Raises CannotTell when there is none."""
        for evidence in STATES_FROM:
            found = [
                (State(event["new"] if "new" in event else event["substate"]), event)
                for event in self._mine
                if event.side == Side[side.upper()]
                and event.evidence == evidence
                and event.name in ("socket:state", "timewait:born")
            ]
            if found:
                return found
        raise CannotTell(f"no states of the {side} were seen")

    def went_through(self, side: str, *states: str) -> str | None:
        """None when the side was in all these states in this order (among others); else where it left the path."""
        path = self.path(side)
        seen = iter(path)
        for state in states:
            if not any(reached.name == state for reached, _ in seen):
                missing = f"{state} is missing on the {side}'s way: {', '.join(reached.name for reached, _ in path)}"
                if path[0][1].evidence == Evidence.SAMPLED and any(name.name == states[-1] for name, _ in path):
                    raise CannotTell(f"{missing}; it may have passed between two readings of the table")
                return missing
        return None

    def reached(self, side: str, state: str) -> Event | None:
        """The event by which a side first came into a state."""
        return next((event for reached, event in self.path(side) if reached.name == state), None)

    def packets(self, side: str = "") -> list[Event]:
        """The segments of the connection in order, each once; only those a side sent if given. Raises CannotTell."""
        for name in PACKETS_FROM:
            found = [event for event in self._mine if event.name == name]
            if found:
                return [event for event in found if side in ("", event.side.name.lower())]
        raise CannotTell("no packets were seen")

    def first(self, side: str, flags: str, without: str = "") -> Event | None:
        """The first segment of a side with all these flags and none of those (`"SYN ACK"`)."""
        has, lacks = _bits(flags), _bits(without)
        return next((e for e in self.packets(side) if e["flags"] & has == has and not e["flags"] & lacks), None)

    def handshake(self) -> tuple[Event, Event, Event]:
        """SYN, SYN-ACK and the ACK that completes it. Raises CannotTell when not all were seen."""
        syn, reply = self.first("client", "SYN", without="ACK"), self.first("server", "SYN ACK")
        last = self.first("client", "ACK", without="SYN FIN")
        if syn is None or reply is None or last is None:
            raise CannotTell("the handshake's packets were not all seen")
        return syn, reply, last

    def calls(self, actor: str, *names: str) -> list[tuple[Event, Event | None]]:
        """An actor's calls of these names: entry, and return if it came back. Raises CannotTell when none is known."""
        pid = self.actor(actor)
        under_way: Event | None = None
        found: list[tuple[Event, Event | None]] = []
        known = False
        for event in self.timeline.events():
            if event.pid != pid or event.name not in ("syscall:enter", "syscall:exit"):
                continue
            known = True
            if event.call not in names:
                continue
            if event.name == "syscall:enter":
                under_way = event
                found.append((event, None))
            elif under_way is not None:
                found[-1] = (under_way, event)
                under_way = None
        if not known:
            raise CannotTell(f"no system calls of the {actor} were seen")
        return found

    def asleep_during(self, actor: str, call: str, begin: Event, end: Event) -> str | None:
        """None when the actor was inside one call from one event to another."""
        for enter, leave in self.calls(actor, call):
            if enter.time < begin.time and (leave is None or leave.time > end.time):
                return None
        return f"the {actor} was not in {call} all the time"


def evaluate(scenario: Scenario, timeline: Timeline) -> list[Outcome]:
    """Ask all checks of a scenario, each by itself."""
    seen = Seen(timeline)
    outcomes = []
    for sight in scenario.sights:
        try:
            reason = sight.check(seen)
        except CannotTell as failure:
            outcomes.append(Outcome(sight.text, "cannot tell", str(failure)))
        else:
            outcomes.append(Outcome(sight.text, "not seen" if reason else "seen", reason or ""))
    return outcomes


def failed(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Those that were not seen, although the evidence would show them."""
    return [outcome for outcome in outcomes if outcome.verdict == "not seen"]


def _bits(names: str) -> int:
    return sum(FLAGS[name] for name in names.split())
