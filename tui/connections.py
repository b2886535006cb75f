"""The connections of a timeline, and the states each went through, kept up to date as events come.

One pass over new heads, once: who the two ends are (from the first event that carries addresses) and at which moments
an end changed state. That is all an overview row needs, and it must stay cheap at a hundred thousand events a second:
whole chunks are searched with numpy, and only the few events that name a state are looked at one by one. The exact
fold, with queues and descriptors, is tracer.world's, for the one connection in focus.

A full socket reaches CLOSE when its TIME_WAIT object takes over (tcp_time_wait()); the connection's end is still
waiting then, so that CLOSE does not count. An orphan's small object begins in FIN_WAIT2 and goes on to TIME_WAIT by
itself (tcp_timewait_state_process()): no probe is told, but the FIN that makes it do so is seen to arrive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from tracer.batch import Table
from tracer.events import NUMBER, PACKETS
from tracer.flow import Flow
from tracer.kinds import KINDS, Evidence, Side
from tracer.readings import overtaken
from tracer.replay.analysis import FAST_RETRANSMISSION, LOST_SEGMENT, RETRANSMISSION
from tracer.segments import FIN, RST
from tracer.states import State, as_state
from tracer.timeline import Event, Timeline
from tui.doors import Door, Doors

_WITH_TUPLE: Final = np.array(
    [number for number, kind in enumerate(KINDS, 1) if "sport" in {f.name for f in kind.fields}], dtype="u2"
)
_PACKETS: Final = [(number, KINDS[number - 1].name) for number in sorted(PACKETS)]
_STATE, _BORN = NUMBER["socket:state"], NUMBER["request:born"]
_WAIT, _EXPIRED, _CANCELLED = (NUMBER[f"timewait:{what}"] for what in ("born", "expired", "cancelled"))
_TELLS_STATE: Final = np.array([_STATE, _BORN, _WAIT, _EXPIRED, _CANCELLED], dtype="u2")
_ARRIVES: Final = NUMBER["packet:received"]
_NOT_OPEN: Final = frozenset({int(State.UNKNOWN), int(State.CLOSE), int(State.LISTEN)})
_OVERFLOWS: Final = np.array([NUMBER["accept:overflow"], NUMBER["request:overflow"]], dtype="u2")
_DROPPED: Final = NUMBER["network:dropped"]
_LOSS: Final = RETRANSMISSION | FAST_RETRANSMISSION | LOST_SEGMENT
"""What the analysis finds where something was lost."""

MOST_AT_ONCE: Final = 1 << 15
"""Events read in one go: some hundredths of a second, so that a key is answered while a capture of millions opens."""


@dataclass
class Life:
    """The states of one end: at `times[i]` (ns) it entered `states[i]`."""

    times: list[int] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    """How each is known."""
    waiting: bool = False
    """A TIME_WAIT object stands for it."""

    def enter(self, time: int, state: State, evidence: Evidence) -> bool:
        """It is in `state` from `time` on, known by `evidence`; False where that says nothing new."""
        if self.states:
            known, how = self.states[-1], self.evidence[-1]
            if state is known:
                self.evidence[-1] = min(how, evidence)
                return False
            past = self.states[:-1]
            if evidence is Evidence.SAMPLED and overtaken(
                state, time, state=known, evidence=how, since=self.times[-1], left=past
            ):
                return False
        self.times.append(time)
        self.states.append(state)
        self.evidence.append(evidence)
        return True

    def at(self, time: int) -> State:
        """The state at `time`; UNKNOWN before the first that was seen."""
        i = int(np.searchsorted(np.array(self.times, "i8"), time, side="right"))
        return self.states[i - 1] if i else State.UNKNOWN


@dataclass
class Connection:
    """What an overview row shows."""

    number: int
    start: int
    """ns since the Unix epoch, of its first event."""
    client: tuple[str, int] | None = None
    """Address and port of the end that opened; None while not known."""
    server: tuple[str, int] | None = None
    lives: dict[Side, Life] = field(default_factory=dict)
    resets: list[int] = field(default_factory=list)
    """Moments (ns) at which a RST passed."""
    losses: list[int] = field(default_factory=list)
    """Moments (ns) at which something was sent again, or seen to be missing."""

    @property
    def life(self) -> Life | None:
        """The end to show where there is room for one: the client's, else the server's."""
        return self.lives.get(Side.CLIENT) or self.lives.get(Side.SERVER)

    def stop(self, end: int) -> int:
        """ns of its last change of state, or ``end`` while it is not closed."""
        lives = [life for life in self.lives.values() if life.times]
        closed = lives and all(life.states[-1] is State.CLOSE for life in lives)
        return max(life.times[-1] for life in lives) if closed else end

    def ends(self, *, short: bool = False, arrow: str = "→") -> str:
        """Both ends as `address:port → address:port`, or ports alone; empty while not known."""
        if self.client is None or self.server is None:
            return ""
        if short:
            return f":{self.client[1]}{arrow}:{self.server[1]}"
        return f"{_endpoint(*self.client)} {arrow} {_endpoint(*self.server)}"


def _endpoint(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Listing(Protocol):
    """What a view knows of all connections at once."""

    flow: Flow
    """All changes of state, and what went wrong."""
    last_time: int
    """ns of the latest event read."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Connection:
        """Raises KeyError."""
        ...

    def get(self, number: int) -> Connection | None:
        """The connection of that number, if it has any event."""
        ...

    @property
    def numbers(self) -> Sequence[int]:
        """Ascending."""
        ...

    @property
    def known(self) -> Set[int]:
        """Numbers of all of them."""
        ...

    @property
    def doors(self) -> Mapping[int, Door]:
        """The listeners' queues, by port."""
        ...

    @property
    def start(self) -> int:
        """ns of the first connection's first event; 0 while there is none."""
        ...

    @property
    def alive(self) -> bool:
        """Some end that was seen to open has not closed: time goes on for it though nothing may happen."""
        ...

    @property
    def whole(self) -> bool:
        """The timeline holds the events of all of them; False: only of those that were looked at."""
        ...

    def search(self, words: Sequence[str], most: int) -> list[int]:
        """Numbers of connections, at most so many, of which every word is a number, a port or an address."""
        ...

    @property
    def behind(self) -> bool:
        """There are events that have not been read yet."""
        ...

    def refresh(self) -> bool:
        """Read what has come since; True when there was anything."""
        ...


class Connections:
    """All connections of a timeline. Call `refresh`, then read."""

    whole = True

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._doors = Doors(timeline)
        self._sorted: list[int] = []
        self.flow = Flow()
        self.start = 0
        self._done = 0
        self._by_number: dict[int, Connection] = {}
        self._met = np.ones(1, np.bool_)
        """By number, whether it is in there; so is 0, which is none."""
        self._nameless: set[int] = set()
        self._orphaned: set[int] = set()
        """Those of which an end was left to an object in FIN_WAIT2."""
        self.last_time = 0
        """ns of the latest event read."""
        self._open = 0
        """Ends that have opened and not closed."""

    def __len__(self) -> int:
        return len(self._by_number)

    def __getitem__(self, number: int) -> Connection:
        return self._by_number[number]

    def get(self, number: int) -> Connection | None:
        """The connection of that number, if it has any event."""
        return self._by_number.get(number)

    @property
    def numbers(self) -> list[int]:
        """Ascending."""
        if len(self._sorted) != len(self._by_number):
            self._sorted = sorted(self._by_number)
        return self._sorted

    @property
    def known(self) -> Set[int]:
        """Numbers of all of them."""
        return self._by_number.keys()

    def search(self, words: Sequence[str], most: int) -> list[int]:
        """Numbers of connections in whose number and ends every word occurs, at most so many."""
        told = ((number, f"#{number}  {self[number].ends()}") for number in self.numbers)
        return list(islice((number for number, text in told if all(word in text for word in words)), most))

    @property
    def alive(self) -> bool:
        """Some end that was seen to open has not closed."""
        return self._open > 0

    @property
    def doors(self) -> Mapping[int, Door]:
        """The listeners' queues, by port."""
        return self._doors.by_port

    @property
    def behind(self) -> bool:
        """There are events that have not been read yet."""
        return self._done < len(self._timeline)

    def refresh(self, limit: int = MOST_AT_ONCE) -> bool:
        """Read what has come since, at most `limit` events of it; True when there was anything."""
        count = min(len(self._timeline), self._done + limit)
        if count <= self._done:
            return False
        start, self._done = self._done, count
        for chunk in self._timeline.heads(start, count):
            self._read(chunk, start)
            start += len(chunk)
        return True

    def _read(self, heads: Table, start: int) -> None:
        self.last_time = max(self.last_time, int(heads["time"].max()))
        for number, first in self._unmet(heads["conn"]):
            time = int(heads["time"][first])
            self._by_number[number] = Connection(number, time)
            self._nameless.add(number)
            self.start = min(self.start or time, time)
        if self._nameless:
            telling = np.isin(heads["kind"], _WITH_TUPLE) & np.isin(heads["conn"], list(self._nameless))
            for i in np.flatnonzero(telling).tolist():
                if int(heads["conn"][i]) in self._nameless:  # until one tells: a port may not be chosen yet
                    self._name(self._timeline[start + i])
        self._enter(heads)
        self._find_troubles(heads)
        self._doors.read(heads)

    def _unmet(self, column: NDArray[Any]) -> list[tuple[int, int]]:
        """(number, position of its first occurrence) of every connection that was not there before."""
        top = int(column.max(initial=0))
        if top >= len(self._met):
            self._met = np.pad(self._met, (0, top + 1))
        places = np.flatnonzero(~self._met[column])
        values, firsts = np.unique(column[places], return_index=True)
        self._met[values] = True
        return list(zip(values.tolist(), places[firsts].tolist(), strict=True))

    def _name(self, event: Event) -> None:
        local = (event.ip("saddr"), event["sport"])
        peer = (event.ip("daddr"), event["dport"])
        if event.side is Side.NONE or not local[1] or not peer[1]:
            return
        connection = self._by_number[event.conn]
        connection.client, connection.server = (local, peer) if event.side is Side.CLIENT else (peer, local)
        self._nameless.discard(event.conn)

    def _enter(self, heads: Table) -> None:
        """Changes of state, from whole columns: there are tens of thousands a second where connections are short."""
        mine = np.flatnonzero(np.isin(heads["kind"], _TELLS_STATE) & (heads["conn"] > 0))
        fins = self._fins_for_orphans(heads, mine)
        if len(fins):
            mine = np.sort(np.concatenate([mine, fins]))
        kinds, rows = heads["kind"][mine], heads["row"][mine]
        entered = np.full(len(mine), int(State.CLOSE))
        entered[kinds == _BORN] = State.NEW_SYN_RECV
        entered[kinds == _ARRIVES] = State.TIME_WAIT
        for kind, name, column in ((_STATE, "socket:state", "new"), (_WAIT, "timewait:born", "substate")):
            here = kinds == kind
            if here.any():
                entered[here] = self._column(name, column, rows[here])
        told = zip(
            heads["conn"][mine].tolist(), heads["side"][mine].tolist(), heads["time"][mine].tolist(), kinds.tolist(),
            entered.tolist(), heads["evidence"][mine].tolist(), strict=True,
        )  # fmt: skip
        changes = []
        for conn, number, time, kind, code, evidence in told:
            side, new = Side(number), as_state(code)
            lives = self._by_number[conn].lives
            if kind == _ARRIVES:
                side = Side.CLIENT if side == Side.SERVER else Side.SERVER  # a packet is its sender's
                life = lives.get(side)
                if life is None or not life.waiting or life.states[-1] is not State.FIN_WAIT2:
                    continue
                evidence = Evidence.INFERRED
                self._orphaned.discard(conn)
            elif kind in (_EXPIRED, _CANCELLED):
                self._orphaned.discard(conn)
            life = lives.get(side)
            if life is None:
                life = lives[side] = Life()
            if kind == _STATE and life.waiting and new is State.CLOSE:
                continue
            if kind in (_WAIT, _EXPIRED, _CANCELLED):
                life.waiting = kind == _WAIT
            before = int(life.states[-1]) if life.states else 0
            if life.enter(time, new, Evidence(evidence)) and side:
                changes.append((time, before, code))
                self._open += (code not in _NOT_OPEN) - (before not in _NOT_OPEN)
        if changes:
            self.flow.change(*np.array(changes, np.int64).T)

    def _fins_for_orphans(self, heads: Table, telling: NDArray[Any]) -> NDArray[Any]:
        """Places of FINs that arrived in connections of which an end is, or now gets, an object in FIN_WAIT2."""
        births = telling[heads["kind"][telling] == _WAIT]
        if len(births):
            substates = self._column("timewait:born", "substate", heads["row"][births])
            self._orphaned.update(heads["conn"][births[substates == State.FIN_WAIT2]].tolist())
        if not self._orphaned:
            return np.zeros(0, np.intp)
        arrived = np.flatnonzero((heads["kind"] == _ARRIVES) & np.isin(heads["conn"], list(self._orphaned)))
        if len(arrived):
            flags = self._column("packet:received", "flags", heads["row"][arrived])
            arrived = arrived[(flags & FIN) > 0]
        return arrived

    def _column(self, kind: str, name: str, rows: NDArray[Any]) -> NDArray[Any]:
        """A field of the events of a kind that have these rows, ascending; a kind's rows lie in the order of events."""
        first = int(rows[0])
        values: NDArray[Any] = self._timeline.field(kind, name, first, int(rows[-1]) + 1 - first)
        found: NDArray[Any] = values[rows - first]
        return found

    def _find_troubles(self, heads: Table) -> None:
        """A capture has no sockets that could tell of a reset or a loss, so the packets are asked."""
        for number, kind in _PACKETS:
            mine = np.flatnonzero(heads["kind"] == number)
            if not len(mine):
                continue
            # A kind's rows lie in the order of its events.
            first = int(heads["row"][mine[0]])
            flags = self._timeline.field(kind, "flags", first, len(mine))
            resets = mine[(flags & RST) > 0]
            for i in resets.tolist():
                if heads["conn"][i]:
                    self._by_number[int(heads["conn"][i])].resets.append(int(heads["time"][i]))
            self.flow.trouble("reset", heads["time"][resets])
            found = self._timeline.field(kind, "analysis", first, len(mine))
            losses = mine[found & np.uint32(_LOSS) != 0]
            for i in losses.tolist():
                if heads["conn"][i]:
                    self._by_number[int(heads["conn"][i])].losses.append(int(heads["time"][i]))
            self.flow.trouble("loss", heads["time"][losses])
        self.flow.trouble("loss", heads["time"][heads["kind"] == _DROPPED])
        self.flow.trouble("overflow", heads["time"][np.isin(heads["kind"], _OVERFLOWS)])
