"""The form of a scenario: a screenplay whose lines are played by real processes.

A scenario names its actors and then lists its steps in playing order. Each step is one line of text for the audience
and one small Python function for one actor, which runs in that actor's own process and makes the system calls of the
story (`scenarios.calls`). Nothing else runs there: between two steps an actor sleeps, either waiting for its next cue
or, where the step says `asleep_in=...`, inside a system call of the story itself. So "the server's thread is asleep in
epoll_wait during the whole handshake" is literally true, and a person may hold the play between any two steps.

A step that names `wakes=...` is over only when the sleeping actors it names have come back from their call. This is
what makes the order of a play certain without any waiting by the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from scenarios.actor import Actor
    from scenarios.sights import Seen

Action = Callable[["Actor"], object]
Check = Callable[["Seen"], str | None]
Network = Literal["loopback", "veth"]
Isolation = Literal["preferred", "required", "none"]

STEP_TIMEOUT: Final = 10.0
"""Seconds a step may take before the play is given up: a play that hangs in a class room is worse than one that
fails."""


@dataclass(frozen=True)
class Step:
    """One line of the screenplay."""

    number: int
    """1-based place in the play."""
    actor: str
    """Who acts."""
    text: str
    """What the audience reads."""
    action: Action
    """What the actor's process runs; it is handed the actor itself."""
    asleep_in: str = ""
    """The system call in which the actor is left asleep when the step is over; empty when it comes back from all."""
    wakes: tuple[str, ...] = ()
    """Sleeping actors which this step wakes: the step is over when each is back from its call."""
    watch: str = ""
    """What to look at while it happens."""
    timeout: float = STEP_TIMEOUT
    """Seconds after which the step counts as failed."""
    lasts: float = 0.0
    """Seconds it takes at least: time for what the kernel does by its own clock (a delayed ACK, a timer)."""


@dataclass(frozen=True)
class Sight:
    """Something that must be seen if the play went as its story says."""

    text: str
    """The expectation in words."""
    check: Check
    """Given what was seen, None when it holds, else the reason why not in words."""


@dataclass
class Scenario:
    """A play: who acts, what happens, what to watch and what must be seen."""

    name: str
    """What one types: `synfin run NAME`; lower case with dashes."""
    title: str
    topic: str
    """The chapter it belongs to: one of scenarios.registry.TOPICS."""
    story: str
    """What happens and why it matters, in a few sentences."""
    actors: tuple[str, ...]
    """Names of the actors, which are also the names of their processes (at most 15 bytes, as the kernel keeps them)."""
    place: int = 50
    """Where in its chapter it is taught: from the smallest on, equal ones by name."""
    watch: tuple[str, ...] = ()
    """What to look at during the whole play."""
    network: Network = "loopback"
    """`loopback`: one network with only lo. `veth`: a network for each actor, joined by a virtual wire."""
    isolation: Isolation = "preferred"
    """`preferred`: a fresh network namespace, else the host's loopback. `required`: no play without one."""
    sysctls: dict[str, str] = field(default_factory=dict)
    """Settings inside the play's own network namespace, as `net.ipv4.tcp_...`; never the host's."""
    port: int = 8080
    """TCP port of the story. On the host's own loopback a free one takes its place."""
    aftermath: str = ""
    """What the kernel goes on doing when all actors have left."""
    aftermath_seconds: float = 0.0
    """How long to keep watching for it, in seconds (the play's network stays alive until the stage is struck)."""
    questions: tuple[tuple[str, str], ...] = ()
    """(question, answer) pairs for a class."""
    sights: list[Sight] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        for actor in self.actors:
            if not 0 < len(actor.encode()) <= 15:
                raise ValueError(f"{self.name}: actor name {actor!r} must have 1 to 15 bytes (TASK_COMM_LEN)")

    def step(
        self,
        actor: str,
        text: str,
        *,
        asleep_in: str = "",
        wakes: str | Iterable[str] = (),
        watch: str = "",
        timeout: float = STEP_TIMEOUT,
        lasts: float = 0.0,
    ) -> Callable[[Action], Action]:
        """Add the decorated function as the next step. Raises ValueError for an actor who is not in the play."""
        woken = (wakes,) if isinstance(wakes, str) else tuple(wakes)
        for name in (actor, *woken):
            if name not in self.actors:
                raise ValueError(f"{self.name}: no actor {name!r} (there are {', '.join(self.actors)})")

        def add(action: Action) -> Action:
            number = len(self.steps) + 1
            self.steps.append(Step(number, actor, text, action, asleep_in, woken, watch, timeout, lasts))
            return action

        return add

    def must_see(self, text: str) -> Callable[[Check], Check]:
        """Add the decorated check to what must be seen; it returns None when it holds, else why not."""

        def add(check: Check) -> Check:
            self.sights.append(Sight(text, check))
            return check

        return add
