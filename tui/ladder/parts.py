"""What a row of the ladder is made of, and what the fold that makes rows remembers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tracer.kinds import Evidence, Side
from tracer.readings import overtaken
from tracer.states import State


@dataclass(frozen=True, slots=True)
class Arrow:
    """A segment as a row draws it."""

    to_right: bool
    """From client to server."""
    label: tuple[str, ...]
    """The same in words, shortest first: whatever fits is drawn."""
    dashed: bool = False
    """Pure ACK."""
    again: bool = False
    """A retransmission."""
    reset: bool = False
    left: bool = True
    """It was seen to leave."""
    arrived: bool = False
    """It was seen to arrive; False while under way, or lost."""
    lost: bool = False
    """It had to be sent again before it was seen to arrive, or a wire is known to have lost it."""


@dataclass(frozen=True, slots=True)
class End:
    """What one side's lanes show in a row."""

    app: tuple[str, ...] = ()
    """What the program does, in words, shortest first: whatever fits is drawn."""
    state: State = State.UNKNOWN
    mark: str = ""
    """? inferred, ~ sampled."""
    moved: bool = False
    """The state changed in this row."""
    queue: str = ""
    left: int = 0
    """ns of TIME_WAIT left when the row was made; 0 none."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the ladder."""

    time: int
    """ns, of its first event."""
    orders: tuple[int, ...]
    """Of all events in it, ascending."""
    main: int
    """Order of the event that the row is about."""
    client: End
    server: End
    arrow: Arrow | None = None
    stage: int = 0
    from_client: bool = True
    title: str = ""
    """A line across all lanes instead of the lanes: a step of the script, losses."""
    gap: int = 0
    """ns of silence that this row stands for; it then holds no event."""
    live: bool = False
    """Not an event but the present: how long TIME_WAIT will still last."""


@dataclass(frozen=True, slots=True)
class Held:
    """How it is known which state a side is in."""

    evidence: Evidence
    since: int
    """ns."""
    left: frozenset[State] = frozenset()
    """States that it was in before."""

    def outlasts(self, read: State, time: int, known: State) -> bool:
        """Whether a reading of the table at ``time`` (ns) is older than the ``known`` state (tracer.readings)."""
        return overtaken(read, time, state=known, evidence=self.evidence, since=self.since, left=self.left)


@dataclass
class Memory:
    """What the lanes said last, to be shown on and to be compared with."""

    client: End = End()
    server: End = End()
    held: dict[Side, Held] = field(default_factory=dict)
    queues: dict[Side, str] = field(default_factory=dict)
    base: dict[Side, int] = field(default_factory=dict)
    """Sequence number that counts as 0, per side: that of its SYN."""
    segments: dict[tuple[object, ...], int] = field(default_factory=dict)
    """Rows of segments that have left and not arrived."""
    calls: dict[int, tuple[int, str]] = field(default_factory=dict)
    """Per thread the row of the call it is in, and its name."""
    last: int = 0
    """ns, of the last event."""
    waiting: dict[Side, int] = field(default_factory=dict)
    """Ends that a TIME_WAIT object stands for, and when its timer fires as armed, in ns."""
    watched: frozenset[Side] = frozenset()
    """Ends of which something was seen but the segments they sent: what reaches them is seen too."""
    lost: frozenset[int] = frozenset()
    """Rows of segments that had to be sent again before they were seen to arrive."""
    dropped: frozenset[int] = frozenset()
    """Rows of segments that a wire is known to have lost."""

    def copy(self) -> Memory:
        """One that can go another way."""
        return replace(
            self, queues=dict(self.queues), base=dict(self.base), segments=dict(self.segments),
            calls=dict(self.calls), waiting=dict(self.waiting), held=dict(self.held),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Saved:
    """A place in the fold to come back to."""

    count: int
    last: Row | None
    pending: tuple[int, ...]
    memory: Memory
