"""What the screen is fed with: plain data and a few verbs, so that the screen knows no probe, file or socket.

The command line makes a feed from whatever it was asked to watch (probes, a capture, a scenario) and hands it over.
The screen reads it at its own pace: the timeline's count says what is complete, the counters are exact, and nothing
here is ever called back from another thread. A scenario that is being played may be held and stepped through the
`Script`; scenarios.play.Play has this shape as it is.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tracer.timeline import Timeline
from tui.connections import Listing


class Probe(NamedTuple):
    """One group of probes, and whether it sees anything."""

    group: str
    """Short name: kernel, wire, epoll, ..."""
    on: bool
    reason: str = ""
    """Why it is off, in words; empty where it is on."""


class ScriptStep(Protocol):
    """One line of a screenplay."""

    @property
    def actor(self) -> str:
        """Who acts."""
        ...

    @property
    def text(self) -> str:
        """What the audience reads."""
        ...

    @property
    def watch(self) -> str:
        """What to look at while it happens; empty where nothing is said."""
        ...


class Script(Protocol):
    """A screenplay in performance, held or let run by a person."""

    @property
    def steps(self) -> Sequence[ScriptStep]:
        """All lines, in playing order."""
        ...

    @property
    def position(self) -> int:
        """How many steps are over."""
        ...

    @property
    def state(self) -> str:
        """ready, playing, held, finished, failed or stopped."""
        ...

    @property
    def failure(self) -> str:
        """Why it failed, in words."""
        ...

    def next_step(self) -> None:
        """Let the real actor take one more step, then hold."""
        ...

    def run(self) -> None:
        """Let it run by itself."""
        ...

    def hold(self) -> None:
        """Hold it before the next step."""
        ...


class Feed(Protocol):
    """What is being watched."""

    @property
    def timeline(self) -> Timeline:
        """All events so far; another thread may be appending."""
        ...

    @property
    def written(self) -> int:
        """Events that the sources have written, exact."""
        ...

    @property
    def lost(self) -> int:
        """Events lost before they could be read, exact."""
        ...

    @property
    def probes(self) -> Sequence[Probe]:
        """What is switched on, group by group."""
        ...

    @property
    def recording(self) -> str | None:
        """Where it is being recorded to; None when it is not."""
        ...

    @property
    def filter(self) -> str:
        """What was asked to be left out at the source, in the user's words; empty for nothing."""
        ...

    @property
    def finished(self) -> bool:
        """No further event can come."""
        ...

    @property
    def progress(self) -> float | None:
        """Part of a file that has been read, 0 to 1; None where nothing is being read or its length is not known."""
        ...

    @property
    def play(self) -> Script | None:
        """The scenario in performance, where there is one."""
        ...


@runtime_checkable
class Partial(Protocol):
    """A feed of which the timeline does not hold everything, but all connections are known."""

    @property
    def written(self) -> int:
        """Packets read so far."""
        ...

    @property
    def listing(self) -> Listing:
        """All connections."""
        ...

    def want(self, number: int) -> None:
        """This connection is being looked at: its events are to come onto the timeline."""
        ...

    def likely(self, text: str) -> NDArray[np.int64]:
        """Numbers, ascending, of all connections that may have events that meet a filter. Raises FilterError."""
        ...

    @property
    def visited(self) -> Set[int]:
        """Numbers of the connections of which all events have come."""
        ...


@dataclass
class StillFeed:
    """A feed that is just its data: a recording, a capture, a test."""

    timeline: Timeline
    lost: int = 0
    probes: Sequence[Probe] = field(default_factory=tuple)
    recording: str | None = None
    filter: str = ""
    finished: bool = True
    progress: float | None = None
    play: Script | None = None

    @property
    def written(self) -> int:
        """What lies on the timeline."""
        return len(self.timeline)
