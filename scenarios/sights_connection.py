"""One connection of a play, as checks ask it: states, segments, trouble, queues, timers and the wait at the end.

Sides are `client` (it sent the first SYN) and `server`; where a method takes a side, empty means both. Everything comes
from the timeline's events, the best evidence first, and one kind of evidence answers a question alone: what probes saw
and what was worked out from packets are not mixed, or one thing would be counted twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from scenarios.sights_basis import SECOND, Basis, CannotTell, NotYet, bits
from scenarios.sights_options import SynOptions, syn_options
from tracer.kinds import KNOWN_BUFFERS, KNOWN_SEQUENCE, KNOWN_TIMERS, KNOWN_WINDOW, SNAPSHOT, Evidence, Side
from tracer.replay.analysis import FINDING
from tracer.resources import resources
from tracer.segments import FIN, RST, SYN, URG
from tracer.states import State
from tracer.timeline import Event

STATES_FROM: Final = (Evidence.OBSERVED, Evidence.SAMPLED, Evidence.INFERRED)
"""Best evidence of a state first; one kind of evidence tells the whole path, they are not mixed."""
PACKETS_FROM: Final = ("packet:sent", "packet:captured")
"""Each packet once: probes see it sent and received."""
AGAIN: Final = ("retransmission", "fast_retransmission", "spurious_retransmission")
TIMERS: Final = {
    "retransmission": 1, "zero-window-probe": 2, "keepalive": 3, "delayed-ack": 4, "loss-probe": 5, "reordering": 6,
    "fin-wait-2": 7,
}  # fmt: skip
"""Numbers of `socket:timer`."""
CONGESTION: Final = ("open", "disorder", "cwr", "recovery", "loss")
"""Names of enum tcp_ca_state, by number."""
DIFFERENCES: Final = {
    "unread": ("copied_seq", "rcv_nxt"),
    "unacked": ("snd_una", "snd_nxt"),
    "unsent": ("snd_nxt", "write_seq"),
}
"""Quantities that lie between two sequence numbers, in bytes (a SYN or FIN on the way counts one)."""
GROUPS: Final = {
    **dict.fromkeys((*DIFFERENCES, "rcv_nxt", "copied_seq", "snd_una", "snd_nxt", "write_seq"), KNOWN_SEQUENCE),
    **dict.fromkeys(("snd_wnd", "rcv_wnd", "snd_cwnd", "ssthresh", "srtt", "rto", "mss", "packets_out"), KNOWN_WINDOW),
    **dict.fromkeys(("rmem", "rcvbuf", "wmem", "sndbuf"), KNOWN_BUFFERS),
    **dict.fromkeys(("pending", "backoff", "retransmits"), KNOWN_TIMERS),
}
"""Which bit of a snapshot's `known` vouches for a quantity."""


@dataclass(frozen=True)
class TimeWait:
    """The TIME_WAIT object of one side."""

    born: Event
    state: str
    """At its birth: TIME_WAIT, or FIN_WAIT2 for an orphan, whose object goes on to TIME_WAIT by itself."""
    armed: float
    """Seconds its timer was set to at its birth."""
    rearmed: tuple[Event, ...]
    """Each time its timer began anew."""
    ended: Event | None
    """None while it waits."""
    end: str
    """`expired`, `cancelled`, or empty while it waits."""

    @property
    def lasted(self) -> float:
        """Seconds from birth to end. Raises NotYet while it waits."""
        if self.ended is None:
            raise NotYet("TIME_WAIT was not over when the watching ended (--wait goes on until it is)")
        return (self.ended.time - self.born.time) / SECOND


@dataclass(frozen=True)
class ResourceSeen:
    """Something that a connection takes up."""

    born: Event | None
    """The event it began with; None: it was there before, or its birth was not seen."""
    freed: Event | None
    """The event that ended it; None: it is still there, as far as is known."""
    bytes: int | None
    """The most memory that a buffer took; None where nothing tells."""


class ConnectionSeen:
    """What was seen of one connection."""

    def __init__(self, basis: Basis, number: int) -> None:
        self.basis = basis
        self.number = number
        """Of the connection on the timeline, from 1."""
        self.events = basis.by_connection.get(number, []) if number else []

    def of(self, *names: str, side: str = "") -> list[Event]:
        """Events of these kinds. Raises CannotTell where there are none and only probes would have shown them."""
        return self.basis.pick([event for event in self.events if _on(event, side)], names)

    # States

    def path(self, side: str) -> list[tuple[State, Event]]:
        """The states one side went through, by the best evidence there is. Raises CannotTell when there is none."""
        path = self._paths(side)[0]
        self.basis.weigh(event for _, event in path)
        return path

    def _paths(self, side: str) -> list[list[tuple[State, Event]]]:
        """The same by each kind of evidence, best first."""
        found = [path for evidence in STATES_FROM if (path := self._path(side, evidence))]
        if not found:
            raise CannotTell(f"no states of the {side} were seen")
        if self.basis.steered and found[-1][0][1].evidence == Evidence.INFERRED:
            self.basis.doubt = "states were worked out from packets as they left, before the wire did something to them"
        return found

    def _path(self, side: str, evidence: Evidence) -> list[tuple[State, Event]]:
        path = []
        orphan = False
        for event in self.events:
            if event.name in ("socket:state", "timewait:born"):
                if event.side == Side[side.upper()] and event.evidence == evidence:
                    path.append((State(event["new"] if "new" in event else event["substate"]), event))
                    orphan |= event.name == "timewait:born" and event["substate"] == State.FIN_WAIT2
            elif orphan and event.name == "packet:received" and event["flags"] & FIN and not _on(event, side):
                # An orphan's small object goes from FIN_WAIT2 to TIME_WAIT by itself (tcp_timewait_state_process()),
                # and no probe is told; the FIN that makes it do so is seen.
                path.append((State.TIME_WAIT, event))
                orphan = False
        return path

    def went_through(self, side: str, *states: str) -> str | None:
        """None when the side was in all these states in this order (among others); else where it left the path."""
        missing: list[str] = []
        for path in self._paths(side):
            seen = iter(path)
            lacking = (state for state in states if not any(reached.name == state for reached, _ in seen))
            state = next(lacking, None)
            if state is None:
                return None
            missing.append(f"{state} is missing on the {side}'s way: {', '.join(reached.name for reached, _ in path)}")
        best = self._paths(side)[0]
        if best[0][1].evidence == Evidence.SAMPLED and (
            len(missing) == 1 or any(reached.name == states[-1] for reached, _ in best)
        ):  # a table alone, of many sockets, may take longer to read than most of the states last
            raise CannotTell(f"{missing[0]}; it may have passed between two readings of the table")
        return missing[0]

    def never_in(self, side: str, state: str) -> str | None:
        """None when the side was never in that state."""
        sampled: Event | None = None
        for path in self._paths(side):
            found = next((event for reached, event in path if reached.name == state), None)
            if path[0][1].evidence == Evidence.SAMPLED:
                sampled = found
            elif found is not None:
                return f"the {side} was in {state} (event {found.order})"
            elif sampled is None:
                return None
            else:  # one socket may have been tried twice: to the table it is the same socket
                raise CannotTell(f"by its packets the {side} was never in {state}, by the table it was")
        if sampled is not None:
            return f"the {side} was in {state} (event {sampled.order})"
        raise CannotTell(f"{state} may have passed between two readings of the table")

    def reached(self, side: str, state: str) -> Event | None:
        """The event by which a side first came into a state. Raises CannotTell where only a table was read."""
        for path in self._paths(side):
            found = next((event for reached, event in path if reached.name == state), None)
            if found is not None or path[0][1].evidence == Evidence.OBSERVED:
                return found
        raise CannotTell(f"{state} of the {side} may have passed between two readings of the table")

    # Segments

    def packets(self, side: str = "", flags: str = "", without: str = "", data: bool = False) -> list[Event]:
        """The segments of the connection in order, each once, as they left. Raises CannotTell when none were seen.

        `side` sent them, `flags` are control bits that all of them have (`"SYN ACK"`), `without` those that none has;
        `data`: only segments with payload.
        """
        has, lacks = bits(flags), bits(without)
        for name in PACKETS_FROM:
            found = [event for event in self.events if event.name == name]
            if found:
                return [
                    event for event in found
                    if _on(event, side) and event["flags"] & has == has and not event["flags"] & lacks
                    and (event["length"] or not data)
                ]  # fmt: skip
        raise CannotTell("no packets were seen")

    def first(self, side: str, flags: str = "", without: str = "", data: bool = False) -> Event | None:
        """The first segment of a side with all these flags and none of those (`"SYN ACK"`)."""
        return next(iter(self.packets(side, flags, without, data)), None)

    def last(self, side: str, flags: str = "", without: str = "", data: bool = False) -> Event | None:
        """The last such segment."""
        return next(reversed(self.packets(side, flags, without, data)), None)

    def arrived(self, side: str, flags: str = "", without: str = "", data: bool = False) -> list[Event]:
        """As `packets`, but when they reached the other side's stack; what was lost on the way is not among them.

        Raises CannotTell where packets were captured as they left for a wire that does something to them.
        """
        sent = self.packets(side, flags, without, data)
        if not self.basis.probed:
            if self.basis.steered:
                raise CannotTell("packets were captured as they left, before the wire did something to them")
            return sent
        has, lacks = bits(flags), bits(without)
        return [
            event for event in self.of("packet:received", side=side)
            if event["flags"] & has == has and not event["flags"] & lacks and (event["length"] or not data)
        ]  # fmt: skip

    def handshake(self) -> tuple[Event, Event, Event]:
        """SYN, SYN-ACK and the ACK that completes it. Raises CannotTell when not all were seen."""
        syn, reply = self.first("client", "SYN", without="ACK"), self.first("server", "SYN ACK")
        last = self.first("client", "ACK", without="SYN FIN RST")
        if syn is None or reply is None or last is None:
            raise CannotTell("the handshake's packets were not all seen")
        return syn, reply, last

    def syn_options(self, side: str) -> SynOptions:
        """The options of the side's first SYN (or SYN-ACK). Raises CannotTell when it was not seen or was cut."""
        syn = self.first(side, "SYN")
        if syn is None:
            raise CannotTell(f"no SYN of the {side} was seen")
        return syn_options(syn)

    def urgent(self, side: str) -> list[Event]:
        """Segments of a side with URG set; `event["urgent"]` is the pointer, in bytes from the segment's beginning."""
        return [event for event in self.packets(side) if event["flags"] & URG]

    def analysed(self, finding: str, side: str = "") -> list[Event]:
        """Segments about which the analysis found so: Wireshark's names without `tcp.analysis.`
        (`fast_retransmission`, `duplicate_ack`, `zero_window`, `keep_alive`, ...; tracer.replay.analysis lists them).
        """
        bit = FINDING[finding].bit
        return [event for event in self.packets(side) if event["analysis"] & bit]

    def zero_windows(self, side: str) -> list[Event]:
        """Segments by which a side offers a window of 0."""
        return [event for event in self.packets(side) if not event["window"] and not event["flags"] & (RST | SYN)]

    # Trouble

    def retransmissions(self, side: str = "") -> list[Event]:
        """Segments sent again: as the stack did it (a SYN-ACK of a request sock too), else as the analysis found."""
        if self.basis.probed:
            return self.of("socket:retransmit", "request:retransmit", side=side)
        wanted = sum(FINDING[name].bit for name in AGAIN)
        return [event for event in self.packets(side) if event["analysis"] & wanted]

    def resets_sent(self, side: str = "") -> list[Event]:
        """RSTs a side sent: the stack's decisions (`event["why"]` is its reason), else the segments."""
        if self.basis.probed:
            return self.of("reset:sent", side=side)
        return self.packets(side, "RST")

    def resets_received(self, side: str = "") -> list[Event]:
        """Where a valid RST ended a side's socket (tcp_reset)."""
        return self.of("reset:received", side=side)

    def reset_reasons(self, side: str = "") -> list[str]:
        """Why the side sent its RSTs, by the kernel's names (enum sk_rst_reason). Raises CannotTell before 6.10."""
        if not self.basis.probed:
            raise CannotTell("only kernel probes see why a RST is sent")
        sent = self.resets_sent(side)
        if any(not event.get("why") for event in sent):
            raise CannotTell("this kernel does not say why it sends a RST (6.10 does)")
        return [event["why"] for event in sent]

    def drops(self, side: str = "", why: str = "") -> list[Event]:
        """Segments the stack threw away, on `side`'s end of the connection, for that reason (enum skb_drop_reason)."""
        found = self.of("segment:dropped", side=side)
        if why and any(not event["why"] for event in found):
            raise CannotTell("this kernel does not say why it drops a segment (5.17 does)")
        return [event for event in found if why in ("", event["why"])]

    def timers(self, side: str, which: str) -> list[Event]:
        """Each time a timer of a side's socket fired: a name of TIMERS, or `syn-ack` for a request sock's."""
        if which == "syn-ack":
            return self.of("request:timer", side=side)
        return [event for event in self.of("socket:timer", side=side) if event["timer"] == TIMERS[which]]

    def congestion(self, side: str) -> list[str]:
        """Congestion states a side entered, in order: open, disorder, cwr, recovery, loss."""
        return [CONGESTION[event["ca_next"]] for event in self.of("socket:congestion", side=side)]

    # Queues, and the objects at the two ends of a life

    def values(self, side: str, quantity: str) -> list[tuple[Event, int]]:
        """A quantity of a side's socket at every event that tells it: a field of the snapshot (`rmem`, `snd_wnd`,
        `snd_cwnd`, `rto`, ...), or `unread`, `unacked`, `unsent` in bytes. Raises CannotTell where nothing tells it.
        """
        if quantity not in DIFFERENCES and quantity not in _SNAPSHOT_FIELDS:
            raise KeyError(f"no quantity {quantity!r}; there are {', '.join([*DIFFERENCES, *sorted(GROUPS)])}")
        group = GROUPS.get(quantity, 0)
        told = [
            (event, _quantity(event, quantity)) for event in self.events
            if _on(event, side) and "known" in event and event["known"] & group == group
        ]  # fmt: skip
        if not told:
            raise CannotTell(f"nothing tells {quantity} of the {side}'s socket")
        self.basis.weigh(event for event, _ in told)
        return told

    def value_before(self, side: str, quantity: str, moment: Event) -> int:
        """Its last value before an event. Raises CannotTell where that is a table's reading, which may be too old."""
        told = [(event, value) for event, value in self.values(side, quantity) if event.order < moment.order]
        if not told:
            raise CannotTell(f"nothing tells {quantity} of the {side}'s socket before event {moment.order}")
        if told[-1][0].evidence == Evidence.SAMPLED:
            raise CannotTell(f"the table was read too seldom to tell {quantity} at event {moment.order}")
        return told[-1][1]

    def most(self, side: str, quantity: str) -> int:
        """The largest value that was seen of it."""
        return max(value for _, value in self.values(side, quantity))

    def requests(self) -> list[Event]:
        """What became of the connection's request socks: request:born, :timer, :retransmit, :gone, in order."""
        return self.of("request:born", "request:timer", "request:retransmit", "request:gone")

    def timewait(self, side: str) -> TimeWait | None:
        """The side's TIME_WAIT object, None where it had none. Raises CannotTell where only probes would show it."""
        told = self.of("timewait:born", "timewait:rearmed", "timewait:cancelled", "timewait:expired", side=side)
        born = next((event for event in told if event.name == "timewait:born"), None)
        if born is None:
            return None
        later = [event for event in told if event.order > born.order]
        ended = next((event for event in later if event.name in ("timewait:cancelled", "timewait:expired")), None)
        rearmed = tuple(event for event in later if event.name == "timewait:rearmed")
        end = ended.name.partition(":")[2] if ended else ""
        return TimeWait(born, State(born["substate"]).name, born["left"] / SECOND, rearmed, ended, end)

    def resource(self, side: str, kind: str) -> ResourceSeen:
        """What the side takes up of a kind (tracer.resources.KINDS: `descriptor`, `epoll item`, `request sock`,
        `socket`, `receive buffer`, `send buffer`, `TIME_WAIT object`), the first one. Raises CannotTell without any.
        """
        timeline = self.basis.timeline
        for row in resources(timeline, self.number):
            if row.kind == kind and row.side == Side[side.upper()]:
                born, freed = (timeline[order] if order >= 0 else None for order in (row.born, row.freed))
                return ResourceSeen(born, freed, row.bytes)
        raise CannotTell(f"no {kind} of the {side} was seen")

    def destroyed(self, side: str) -> Event | None:
        """When the side's full socket was freed."""
        return next(iter(self.of("socket:destroy", side=side)), None)


_SNAPSHOT_FIELDS: Final = {field.name for field in SNAPSHOT}


def _on(event: Event, side: str) -> bool:
    return not side or event.side == Side[side.upper()]


def _quantity(event: Event, quantity: str) -> int:
    if quantity in DIFFERENCES:
        low, high = DIFFERENCES[quantity]
        return int(event[high] - event[low]) & 0xFFFF_FFFF
    return int(event[quantity])
