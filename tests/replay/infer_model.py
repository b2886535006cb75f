"""Two TCP endpoints that obey the table of transitions, joined by a link that loses, delays and reorders.

The model is what the inference has to find out: each endpoint keeps the history of its states, and a capture point on
the link writes down the segments that pass. It knows connecting, sending, half-closing, aborting, retransmission and
TIME_WAIT, takes segments only in order (what comes early is dropped and sent again later) and no windows. The link is a
list of fates: for the n-th segment sent, whether it is lost before the capture point or behind it, and how late it is.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tracer.segments import ACK, FIN, RST, SYN
from tracer.states import State, Trigger, on

RTO: Final = 0.4
"""Seconds after which an unacknowledged segment is sent again."""
WAIT: Final = 60.0
"""Seconds of TIME_WAIT."""

SYNCHRONIZED: Final = frozenset(State) - {State.UNKNOWN, State.CLOSE, State.LISTEN, State.SYN_SENT}


class Segment(NamedTuple):
    """What is sent."""

    seq: int
    ack: int
    flags: int
    length: int

    @property
    def end(self) -> int:
        return self.seq + self.length + bool(self.flags & SYN) + bool(self.flags & FIN)


@dataclass
class Endpoint:
    """One endpoint; ``send`` takes what it emits."""

    name: str
    iss: int
    state: State
    emit: Callable[[Endpoint, Segment], None]
    history: list[State] = field(default_factory=list)
    una: int = 0
    nxt: int = 0
    rcv: int = 0
    fin: int = 0
    """Sequence number after its FIN; 0 before."""
    unacked: list[Segment] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.una = self.nxt = self.iss
        self.history.append(self.state)

    def go(self, trigger: Trigger) -> bool:
        """Take the table's step, if it has one."""
        row = on(self.state, trigger)
        if row is None:
            return False
        # Packets do not tell a request sock from a socket in SYN_RECV.
        self.state = State.SYN_RECV if row.next == State.NEW_SYN_RECV else row.next
        self.history.append(self.state)
        return True

    def send(self, flags: int, length: int = 0) -> None:
        """Emit something new."""
        segment = Segment(self.nxt, self.rcv if flags & ACK else 0, flags, length)
        if segment.end != segment.seq:
            self.unacked.append(segment)
            self.nxt = segment.end
        self.emit(self, segment)

    def connect(self) -> None:
        if self.state == State.CLOSE and self.go(Trigger.CONNECT):
            self.send(SYN)

    def write(self, length: int) -> None:
        if self.state in (State.ESTABLISHED, State.CLOSE_WAIT):
            self.send(ACK, length)

    def close(self) -> None:
        if self.state in (State.ESTABLISHED, State.CLOSE_WAIT) and self.go(Trigger.CLOSE):
            self.send(FIN | ACK)
            self.fin = self.nxt

    def abort(self) -> None:
        if self.state in SYNCHRONIZED and self.go(Trigger.ABORT):
            self.unacked.clear()
            self.emit(self, Segment(self.nxt, self.rcv, RST | ACK, 0))

    def retransmit(self) -> None:
        if self.unacked:
            first = self.unacked[0]
            flags = first.flags | ACK if self.state != State.SYN_SENT else first.flags
            self.emit(self, Segment(first.seq, self.rcv if flags & ACK else 0, flags, first.length))

    def receive(self, segment: Segment) -> None:
        """RFC 9293 section 3.10.7, as far as the model goes."""
        if self.state in (State.CLOSE, State.LISTEN) and not segment.flags & SYN:
            if not segment.flags & RST:
                self.emit(self, Segment(segment.ack, 0, RST, 0))
        elif self.state == State.CLOSE:
            if not segment.flags & RST:
                self.emit(self, Segment(0, segment.end, RST | ACK, 0))
        elif self.state == State.LISTEN:
            if segment.flags & ACK:
                self.emit(self, Segment(segment.ack, 0, RST, 0))
            elif self.go(Trigger.RCV_SYN):
                self.rcv = segment.end
                self.send(SYN | ACK)
        elif self.state == State.SYN_SENT:
            self.receive_in_syn_sent(segment)
        else:
            self.receive_synchronized(segment)

    def receive_in_syn_sent(self, segment: Segment) -> None:
        if segment.flags & ACK and segment.ack != self.nxt:
            if not segment.flags & RST:
                self.emit(self, Segment(segment.ack, 0, RST, 0))
        elif segment.flags & RST:
            if segment.flags & ACK:
                self.go(Trigger.RCV_RST)
                self.unacked.clear()
        elif segment.flags & SYN:
            self.rcv = segment.end
            if segment.flags & ACK:
                self.acknowledged(segment.ack)
                self.go(Trigger.RCV_SYN_ACK)
                self.send(ACK)
            else:
                self.go(Trigger.RCV_SYN)
                self.unacked[0] = Segment(self.iss, self.rcv, SYN | ACK, 0)
                self.emit(self, self.unacked[0])

    def receive_synchronized(self, segment: Segment) -> None:
        if segment.flags & RST:
            if segment.seq == self.rcv:
                self.go(Trigger.RCV_RST)
                self.unacked.clear()
            return
        if segment.flags & SYN:
            if segment.flags & ACK and self.state == State.SYN_RECV and segment.ack == self.nxt:
                self.acknowledged(segment.ack)
                self.go(Trigger.RCV_ACK_OF_SYN)
            if self.state != State.SYN_RECV:
                self.emit(self, Segment(self.nxt, self.rcv, ACK, 0))
            return
        if segment.seq != self.rcv:
            if segment.end != segment.seq:  # an ACK for an ACK would never end
                self.emit(self, Segment(self.nxt, self.rcv, ACK, 0))
            return
        if self.state == State.SYN_RECV:
            if segment.ack != self.nxt:
                self.emit(self, Segment(segment.ack, 0, RST, 0))
                return
            self.go(Trigger.RCV_ACK_OF_SYN)
        self.acknowledged(segment.ack)
        if self.fin and segment.ack >= self.fin:
            self.go(Trigger.RCV_ACK_OF_FIN)
        if segment.end != segment.seq and self.state != State.CLOSE:
            self.rcv = segment.end
            if segment.flags & FIN:
                self.go(Trigger.RCV_FIN)
            self.emit(self, Segment(self.nxt, self.rcv, ACK, 0))

    def acknowledged(self, ack: int) -> None:
        self.una = max(self.una, ack)
        self.unacked = [segment for segment in self.unacked if segment.end > ack]


class Fate(NamedTuple):
    """What happens to one segment on its way."""

    lost: str = ""
    """"before" or "behind" the capture point; "" if it arrives. FINs are not lost before it: a FIN sent again could not
    be told from a first one, and looks sent after what was received in between."""
    late: float = 0.0
    """Seconds more than usual, behind the capture point."""


@dataclass(order=True)
class _Due:
    time: float
    number: int
    run: Callable[[], None] = field(compare=False)


class Link:
    """The two endpoints, the way between them and the capture point on it; ``captured`` is what that has seen."""

    def __init__(self, server: State, fates: Sequence[Fate], delay: float, near: float) -> None:
        """``delay`` is seconds from end to end, ``near`` the part of it between the client and the capture point."""
        self.client = Endpoint("C", 100, State.CLOSE, self._sent)
        self.server = Endpoint("S", 5000, server, self._sent)
        self.captured: list[tuple[float, str, Segment]] = []
        self.now = 0.0
        self._fates, self._delay, self._near = list(fates), delay, near
        self._due: list[_Due] = []
        self._number = 0

    def at(self, time: float, run: Callable[[], None]) -> None:
        """Let something happen at ``time``."""
        self._number += 1
        heapq.heappush(self._due, _Due(time, self._number, run))

    def _sent(self, end: Endpoint, segment: Segment) -> None:
        fate = self._fates.pop(0) if self._fates else Fate()
        reached = self._near if end is self.client else self._delay - self._near
        other = self.server if end is self.client else self.client
        if fate.lost == "before" and segment.flags & FIN:
            fate = Fate()
        if fate.lost != "before":
            self.at(self.now + reached, lambda: self.captured.append((self.now, end.name, segment)))
        if not fate.lost:
            self.at(self.now + self._delay + fate.late, lambda: other.receive(segment))
        if segment.end != segment.seq:
            self.at(self.now + RTO, lambda: self._expire(end, segment))

    def _expire(self, end: Endpoint, segment: Segment) -> None:
        if end.unacked and end.unacked[0].end == segment.end:
            end.retransmit()
        elif any(one.end == segment.end for one in end.unacked):
            self.at(self.now + RTO, lambda: self._expire(end, segment))

    def run(self, until: float = 30.0) -> None:
        """Let everything happen up to ``until`` seconds."""
        while self._due and self._due[0].time <= until:
            due = heapq.heappop(self._due)
            self.now = due.time
            due.run()
