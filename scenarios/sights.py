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
from scenarios.sights_actor import ActorSeen, CallSeen
from scenarios.sights_basis import Basis, CannotTell, NotYet, in_order, seconds, within
from scenarios.sights_connection import ConnectionSeen, TimeWait
from scenarios.sights_listener import ListenerSeen
from scenarios.sights_options import SynOptions
from tracer.lints import LINTS
from tracer.lints.basis import Finding, Limits
from tracer.states import State
from tracer.timeline import Event, Timeline

__all__ = [
    "ActorSeen", "CallSeen", "CannotTell", "ConnectionSeen", "ListenerSeen", "NotYet", "Outcome", "Seen", "SynOptions",
    "TimeWait", "evaluate", "failed",
]  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of one check."""

    text: str
    """The expectation."""
    verdict: Literal["seen", "not seen", "cannot tell"]
    reason: str
    """Why, empty when it was seen."""
    later: bool = False
    """It cannot be told because it was still to come when the watching ended."""


class Seen(ConnectionSeen):
    """The timeline of one play, as its checks ask it.

    What is asked of it without naming a connection is asked of the play's first one, since most plays have no other;
    `connection(n)`, `listener(n)` and `actor(name)` ask the rest. Sides are `client` (it sent the first SYN) and
    `server`, states and flags go by their names: scripts are read by actors too, which should not have to load the
    tracer for that.
    """

    def __init__(self, timeline: Timeline, connection: int = 1) -> None:
        """`connection` is the number of the connection that the play is about."""
        super().__init__(Basis(timeline), connection)
        self.timeline = timeline

    def connections(self) -> list[ConnectionSeen]:
        """All connections of the play, in the order in which they began."""
        numbers = sorted(number for number in self.basis.by_connection if number)
        return [ConnectionSeen(self.basis, number) for number in numbers]

    def connection(self, number: int) -> ConnectionSeen:
        """The connection that began as the `number`-th, from 1. Raises CannotTell when there were not so many."""
        every = self.connections()
        if len(every) < number:
            raise CannotTell(f"{len(every)} connections were seen, not {number}")
        return every[number - 1]

    def listeners(self) -> list[ListenerSeen]:
        """All sockets that came to LISTEN, in order. Raises CannotTell when none was seen."""
        opened: dict[int, Event] = {}
        for event in self.basis.events:
            if event.name == "socket:state" and event["new"] == State.LISTEN:
                opened.setdefault(event.sock, event)
        if not opened and not self.basis.probed:
            raise CannotTell("no listener was seen")
        return [ListenerSeen(self.basis, event) for event in opened.values()]

    def listener(self, number: int = 1) -> ListenerSeen:
        """The `number`-th of them, from 1. Raises CannotTell when there were not so many."""
        every = self.listeners()
        if len(every) < number:
            raise CannotTell(f"{len(every)} listeners were seen, not {number}")
        return every[number - 1]

    def actor(self, name: str) -> ActorSeen:
        """An actor by its name. Raises CannotTell when it never acted."""
        return ActorSeen(self.basis, name)

    def step(self, number: int) -> Event:
        """The event by which a step of the script began, from 1. Raises CannotTell when it was not played."""
        for event in self.basis.events:
            if event.name == "actor:step" and event["step"] == number:
                return event
        raise CannotTell(f"step {number} was not played")

    def all_of(self, *names: str) -> list[Event]:
        """Events of these kinds, of any connection or none. Raises CannotTell where only probes would show them."""
        return self.basis.pick(self.basis.events, names)

    def calls(self, actor: str, *names: str) -> list[CallSeen]:
        """An actor's calls of these names: entry, and return if it came back. Raises CannotTell when none is known."""
        return self.actor(actor).calls(*names)

    def results(self, actor: str, *names: str) -> list[int | str]:
        """What an actor's calls gave, in order: numbers, or the names of errors (`EAGAIN`)."""
        return self.actor(actor).results(*names)

    def asleep_during(self, actor: str, call: str, begin: Event, end: Event) -> str | None:
        """None when the actor was inside one call from one event to another."""
        return self.actor(actor).asleep_during(call, begin, end)

    def lint(self, name: str, **limits: int) -> list[Finding]:
        """What a lint found (`synfin lint`), its `words` and the `order` of the event that shows it. `limits` are those
        of tracer.lints.basis.Limits, put otherwise: `close_wait=50_000_000` (ns) where a play is too short for 5 s."""
        row = next(row for row in LINTS if row.name == name)
        if not self.basis.probed:
            self.basis.doubt = "without kernel probes a lint finds less"
        return list(row.check(self.timeline, Limits(**limits)))

    @staticmethod
    def in_order(*moments: tuple[str, Event | None]) -> str | None:
        """None when all of these (words, event) happened, in this order; else what is missing or came too early."""
        return in_order(*moments)

    @staticmethod
    def seconds(one: Event, other: Event) -> float:
        """Seconds from one event to another; negative when the other came first."""
        return seconds(one, other)

    @staticmethod
    def within(one: Event, other: Event, least: float, most: float) -> str | None:
        """None when so many seconds lie between two events, else how many it was. Give wide ranges: machines are
        busy."""
        return within(one, other, least, most)

    @staticmethod
    def same(found: object, wanted: object, what: str) -> str | None:
        """None when what was found is what was wanted; else both, in words."""
        return None if found == wanted else f"{what}: {found}, not {wanted}"

    @staticmethod
    def cannot_tell(reason: str) -> NoReturn:
        """End a check undecided."""
        raise CannotTell(reason)


def evaluate(scenario: Scenario, timeline: Timeline) -> list[Outcome]:
    """Ask all checks of a scenario, each by itself."""
    seen = Seen(timeline)
    outcomes = []
    for sight in scenario.sights:
        seen.basis.doubt = ""
        try:
            reason = sight.check(seen)
        except CannotTell as failure:
            outcomes.append(Outcome(sight.text, "cannot tell", str(failure), isinstance(failure, NotYet)))
            continue
        except Exception as failure:  # a user's check may raise anything; it must not take the others along
            reason = f"the check itself failed: {type(failure).__name__}: {failure}"
        if reason and (doubt := _doubt(seen.basis)):
            reason = f"{reason}; but {doubt}"
            outcomes.append(Outcome(sight.text, "cannot tell", reason))
        else:
            outcomes.append(Outcome(sight.text, "not seen" if reason else "seen", reason or ""))
    return outcomes


def _doubt(basis: Basis) -> str:
    """Why what was not seen may have been there all the same; empty when all would have been seen."""
    if basis.lost:
        return f"{basis.lost} events were lost, and it may be among them"
    if basis.unseen:
        return f"the kernel did not tell of all it did: {basis.unseen} segments or states were seen in part"
    return basis.doubt


def failed(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Those that were not seen, although the evidence would show them."""
    return [outcome for outcome in outcomes if outcome.verdict == "not seen"]
