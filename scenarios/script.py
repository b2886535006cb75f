"""The form of a scenario: a screenplay whose lines are played by real processes.

A scenario names its actors and then lists its steps in playing order. Each step is one line of text for the audience
and one small Python function for one actor, which runs in that actor's own process and makes the system calls of the
story (`scenarios.calls`). Nothing else runs there: between two steps an actor sleeps, either waiting for its next cue
or, where the step says `asleep_in=...`, inside a system call of the story itself. So "the server's thread is asleep in
epoll_wait during the whole handshake" is literally true, and a person may hold the play between any two steps.

A step that names `wakes=...` is over only when the sleeping actors it names have come back from their call. This is
what makes the order of a play certain without any waiting by the clock.

Most actors are a process with the kernel's TCP under it. Some are made otherwise: a `peers` actor has a cable and no
kernel behind it, and speaks TCP by hand; a `children` actor is born by fork(2) from another and shares its sockets; a
program takes an actor's place for good (`runs`); and the actor called `network` is the wire between all others.
docs/writing-scenarios.md shows each in five lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from scenarios.impairments import Rule

if TYPE_CHECKING:
    from scenarios.sights import Seen

Action = Callable[[Any], object]
"""Handed the actor: an `Actor`, of the `network` a `Network`."""
Check = Callable[["Seen"], str | None]
Network = Literal["loopback", "veth"]
Isolation = Literal["preferred", "required", "none"]
Family = Literal["ipv4", "ipv6", "mapped"]
"""`mapped`: IPv4 on the wire, and AF_INET6 sockets on the side that listens, where addresses are ::ffff:a.b.c.d."""

FAMILIES: Final[tuple[Family, ...]] = ("ipv4", "ipv6", "mapped")
NETWORK: Final = "network"
"""Name of the actor that is the wire: its steps decide what becomes of packets."""

_GO: Final = re.compile(r"\{go:(\w+)\}")

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
    ends: tuple[str, ...] = ()
    """Actors whose processes this step ends (kill -9): it is over when each is gone."""
    program: tuple[str, ...] = ()
    """The program that takes the actor's place from here on, with its arguments; empty for an ordinary step."""
    listens: int | None = 0
    """For a program: the step is over when it listens on the play's port plus this; None: when it runs."""
    rests: tuple[str, ...] = ()
    """Actors (programs, mostly) that have come to rest when the step is over: all threads asleep for a moment."""


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
    """`loopback`: one network with only lo. `veth`: a network for each actor, joined by a virtual wire. It is `veth` of
    itself when there are `peers`, `impairments` or steps of the `network`."""
    families: tuple[Family, ...] = FAMILIES
    """The address families it can be played in; the first is the default."""
    listeners: tuple[str, ...] = ()
    """Actors whose sockets are AF_INET6 in the `mapped` family; the first actor when empty."""
    peers: tuple[str, ...] = ()
    """Actors without a kernel's TCP, which speak it by hand: `me.peer` (scenarios.peer)."""
    children: dict[str, str] = field(default_factory=dict)
    """Actors that are born in the play by `me.fork(NAME)`: name -> parent. They share the parent's descriptors."""
    impairments: tuple[Rule, ...] = ()
    """What the wire does to packets from the beginning (scenarios.impairments)."""
    seed: int = 1
    """Of the wire's random generator: what is lost by chance is the same at every performance."""
    rate: float = 0.0
    """Bits per second that the wire carries in each direction; 0: as fast as it goes."""
    latency: float = 0.0
    """Seconds every packet is under way, in each direction."""
    mtu: int = 1500
    """Of the wire, in bytes; for `veth` only."""
    isolation: Isolation = "preferred"
    """`preferred`: a fresh network namespace, else the host's loopback. `required`: no play without one."""
    sysctls: dict[str, str] = field(default_factory=dict)
    """Settings inside the play's own network namespace, as `net.ipv4.tcp_...`; never the host's."""
    sysctls_of: dict[str, dict[str, str]] = field(default_factory=dict)
    """The same for single actors, who have networks of their own with `veth`."""
    port: int = 8080
    """TCP port of the story. On the host's own loopback a free one takes its place."""
    ports: int = 1
    """How many ports in a row it uses: `me.at("server", 1)` is the second."""
    slow: bool = False
    """It takes more than some ten seconds (a TIME_WAIT, a keepalive, a retransmission to its end)."""
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
        if NETWORK in self.actors:
            raise ValueError(f"{self.name}: the actor {NETWORK!r} is there of itself: just give it steps")
        for name in (*self.listeners, *self.peers, *self.children, *self.children.values(), *self.sysctls_of):
            self._known(name)
        for rule in self.impairments:
            self._known(rule.sender or self.actors[0])
        if self.mtu < 1280:  # IPv6 wants no less of a link (RFC 8200 section 5)
            self.families = tuple(family for family in self.families if family != "ipv6")
        if not self.families or set(self.families) - set(FAMILIES):
            raise ValueError(f"{self.name}: families are some of {', '.join(FAMILIES)}")
        if self.peers or self.sysctls_of or self.impairments or self.rate or self.latency:
            self.network = "veth"

    def _known(self, name: str) -> None:
        if name not in self.actors:
            raise ValueError(f"{self.name}: no actor {name!r} (there are {', '.join(self.actors)})")

    @property
    def go_programs(self) -> tuple[str, ...]:
        """Names of the Go programs that its actors become: `{go:NAME}` is scenarios/servers/go/NAME.go, built."""
        words = (word for step in self.steps for word in step.program)
        return tuple(sorted({name for word in words for name in _GO.findall(word)}))

    @property
    def relayed(self) -> bool:
        """True when the wire is a relay of ours, which decides about every packet."""
        steered = any(step.actor == NETWORK for step in self.steps)
        return bool(self.impairments or self.rate or self.latency or steered)

    @property
    def cast(self) -> tuple[str, ...]:
        """All who act: the actors, and the `network` where it is one."""
        return (*self.actors, NETWORK) if self.relayed else self.actors

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
        ends: str | Iterable[str] = (),
        rests: str | Iterable[str] = (),
    ) -> Callable[[Action], Action]:
        """Add the decorated function as the next step. Raises ValueError for an actor who is not in the play."""
        woken, ended, still = _names(wakes), _names(ends), _names(rests)
        for name in (*((actor,) if actor != NETWORK else ()), *woken, *ended, *still):
            self._known(name)
        if any(step.program and step.actor == actor for step in self.steps):
            raise ValueError(f"{self.name}: the {actor} has become a program, which takes no steps")
        if actor == NETWORK:
            self.network = "veth"
            if asleep_in:
                raise ValueError(f"{self.name}: the network never sleeps")

        def add(action: Action) -> Action:
            number = len(self.steps) + 1
            step = Step(number, actor, text, action, asleep_in, woken, watch, timeout, lasts, ended, rests=still)
            self.steps.append(step)
            return action

        return add

    def runs(
        self,
        actor: str,
        text: str,
        argv: Sequence[str],
        *,
        listens: int | None = 0,
        watch: str = "",
        timeout: float = STEP_TIMEOUT,
        rests: bool = False,
    ) -> None:
        """Add a step by which an actor becomes a program (execve), a server of some model for one.

        In `argv`, `{port}`, `{address}` (where it listens), `{address:ACTOR}` (where another is found), `{python}` and
        `{go:NAME}` (a program of scenarios/servers/go) are replaced. The step is over when the program listens on the
        play's port plus `listens` (None: when it runs), with `rests` when it has nothing more to do by itself. What
        it prints is put on the timeline as its remarks.
        """
        self._known(actor)
        number = len(self.steps) + 1
        action: Action = lambda me: None  # noqa: E731 - the actor sees that it is a program's step
        still = (actor,) if rests else ()
        words = tuple(argv)
        self.steps.append(
            Step(number, actor, text, action, watch=watch, timeout=timeout, program=words, listens=listens, rests=still)
        )

    def must_see(self, text: str) -> Callable[[Check], Check]:
        """Add the decorated check to what must be seen; it returns None when it holds, else why not."""

        def add(check: Check) -> Check:
            self.sights.append(Sight(text, check))
            return check

        return add


def _names(names: str | Iterable[str]) -> tuple[str, ...]:
    return ((names,) if names else ()) if isinstance(names, str) else tuple(names)
