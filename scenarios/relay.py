"""The relay: a wire that decides about every packet.

It sits in the network between the actors, where each one's cable ends in an interface without an address, reads every
frame with AF_PACKET and hands it on to the cable of the one it is addressed to: at once, later, twice, damaged, or not
at all, as the first rule that fits says (`scenarios.impairments`). Userland costs some tens of microseconds a packet,
and for that needs no module that a kernel may lack (netem), no root, and can say of each single packet what became of
it. The actors' interfaces have their offloads off, so frames come with right checksums and no larger than the MTU.

The generator that decides by chance has a fixed seed: a performance is repeatable as far as its packets are.
"""

from __future__ import annotations

import heapq
import random
import select
import socket
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from scenarios.cables import FRAME_BYTES, plug_in
from scenarios.frames import Segment, parse
from scenarios.impairments import Rule

BATCH: Final = 64
"""Frames read from one cable before the others have their turn."""
QUEUE: Final = 200
"""Packets that wait for a wire with a `rate`; one more is dropped, as at any router."""

Told = Literal["dropped", "delayed", "held", "released", "duplicated", "reordered", "damaged"]


@dataclass(frozen=True)
class Fate:
    """What the wire did to one packet."""

    told: Told
    time: int
    """CLOCK_MONOTONIC, ns."""
    sender: str
    """Actor."""
    segment: Segment
    seconds: float
    """How much later it goes on (or its copy); 0 when that does not apply."""
    why: str
    """The rule, in words."""


@dataclass
class _Port:
    """One actor's cable."""

    name: str
    socket: socket.socket
    free_at: float = 0.0
    """When the wire towards this actor has carried all that waits for it (with a `rate`)."""
    waiting: int = 0


@dataclass
class _Standing:
    """A rule while it stands."""

    rule: Rule
    fitted: int = 0
    """Segments that have fitted it so far."""
    taken: int = 0
    """Those of them it was about."""


@dataclass
class _Overtaken:
    """A packet that later ones of its sender must overtake."""

    frame: bytes
    target: _Port
    left: int


@dataclass
class Relay:
    """Carries frames between cables. `report` is called with the fate of every packet that a rule was about."""

    report: Callable[[Fate], None]
    seed: int = 1
    rate: float = 0.0
    """Bits per second in each direction; 0: no limit."""
    latency: float = 0.0
    """Seconds under way."""
    standing: list[_Standing] = field(default_factory=list)
    passed: int = 0
    """Packets handed on."""

    def __post_init__(self) -> None:
        self._ports: dict[int, _Port] = {}
        self._by_mac: dict[bytes, _Port] = {}
        self._due: list[tuple[float, int, _Port, bytes]] = []
        self._count = 0
        self._held: list[tuple[_Port, bytes, Segment, str]] = []
        self._behind: dict[str, list[_Overtaken]] = defaultdict(list)
        self._chance = random.Random(self.seed)

    def plug(self, name: str, interface: str, mac: str) -> None:
        """Take the end of an actor's cable. Raises OSError."""
        end = plug_in(interface)
        port = _Port(name, end)
        self._ports[end.fileno()] = port
        self._by_mac[bytes.fromhex(mac.replace(":", ""))] = port

    # What a step may ask for

    def add(self, rule: Rule) -> None:
        """From now on, before all rules that stand already."""
        self.standing.insert(0, _Standing(rule))

    def remove(self, rule: Rule | None = None) -> None:
        """A rule, or all of them. What is delayed or held stays so."""
        self.standing = [each for each in self.standing if rule is not None and each.rule != rule]

    def taken(self, rule: Rule) -> int:
        """How many packets a rule that stands has been about so far."""
        return sum(each.taken for each in self.standing if each.rule == rule)

    def release(self) -> int:
        """Let all go on that is held, in its order; how many."""
        held, self._held = self._held, []
        for target, frame, segment, sender in held:
            self.report(Fate("released", time.monotonic_ns(), sender, segment, 0.0, "released"))
            self._go(target, frame, 0.0)
        return len(held)

    @property
    def held(self) -> int:
        """Packets that are held."""
        return len(self._held)

    # Carrying

    def run(self, until: int, cue: Callable[[], bool]) -> None:
        """Carry, and call `cue` whenever there is something to be read from the descriptor `until`, till it says no."""
        while not self._turn((until,), None) or cue():
            pass

    def carry(self, enough: Callable[[], bool], seconds: float) -> None:
        """In the middle of a step: go on carrying until it is enough, so many seconds at most."""
        over = time.monotonic() + seconds
        while not enough() and (rest := over - time.monotonic()) > 0:
            self._turn((), rest)

    def _turn(self, also: tuple[int, ...], most: float | None) -> bool:
        """Hand on what is due, wait for more (so many seconds at most), take it; whether one of `also` is readable."""
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            _, _, target, frame = heapq.heappop(self._due)
            target.waiting -= 1
            self._send(target, frame)
        waits = [seconds for seconds in (most, self._due[0][0] - now if self._due else None) if seconds is not None]
        ready = select.select([*also, *self._ports], [], [], max(min(waits), 0.0) if waits else None)[0]
        called = any(fd in also for fd in ready)
        if called:  # what was sent before that word was given comes before it
            ready = select.select([*self._ports], [], [], 0)[0]
        for fd in ready:
            self._read(self._ports[fd])
        return called

    def _read(self, port: _Port) -> None:
        for _ in range(BATCH):
            try:
                frame = port.socket.recv(FRAME_BYTES)
            except BlockingIOError:
                return
            except OSError:  # ENETDOWN: its actor's network has gone
                return
            target = self._by_mac.get(frame[:6])
            segment = parse(frame)
            if target is None or target is port:
                continue
            if segment is None:
                self._go(target, frame, 0.0)
            else:
                self._decide(port.name, target, frame, segment)

    def _decide(self, sender: str, target: _Port, frame: bytes, segment: Segment) -> None:
        rule = self._rule_for(sender, segment)
        if rule is None:
            self._go(target, frame, 0.0)
            self._overtake(sender)
            return
        self.report(Fate(rule.fate, time.monotonic_ns(), sender, segment, rule.seconds, str(rule)))
        if rule.fate == "delayed":
            self._go(target, frame, rule.seconds)
        elif rule.fate == "held":
            self._held.append((target, frame, segment, sender))
        elif rule.fate == "duplicated":
            self._go(target, frame, 0.0)
            self._go(target, frame, rule.seconds)
        elif rule.fate == "reordered":
            self._behind[sender].append(_Overtaken(frame, target, rule.behind))
        elif rule.fate == "damaged":
            at = segment.payload_at if segment.length else segment.payload_at - 4
            self._go(target, frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :], 0.0)

    def _rule_for(self, sender: str, segment: Segment) -> Rule | None:
        """The first rule that is about this one. Each counts what fits it, also while another takes it."""
        found = None
        for each in self.standing:
            if not each.rule.fits(sender, segment.flags, segment.length):
                continue
            each.fitted += 1
            # The chance is taken for each that fits, so that other rules do not change what it falls on.
            lucky = each.rule.chance >= 1.0 or self._chance.random() < each.rule.chance
            if found is None and lucky and each.rule.takes(each.fitted):
                each.taken += 1
                found = each.rule
        return found

    def _overtake(self, sender: str) -> None:
        """A packet of this sender has passed: those it was to overtake are one nearer to their turn."""
        waiting = self._behind[sender]
        for each in waiting:
            each.left -= 1
        self._behind[sender] = [each for each in waiting if each.left > 0]
        for each in waiting:
            if each.left <= 0:
                self._go(each.target, each.frame, 0.0)

    def _go(self, target: _Port, frame: bytes, seconds: float) -> None:
        """Hand a frame on, so many seconds later than the wire itself takes."""
        if not (seconds or self.rate or self.latency):
            self._send(target, frame)
            return
        due = time.monotonic() + seconds
        if self.rate and not seconds:  # what is delayed for its own sake holds up nobody else
            if target.waiting >= QUEUE:
                if segment := parse(frame):
                    self.report(Fate("dropped", time.monotonic_ns(), "", segment, 0.0, "the wire's queue is full"))
                return
            due = target.free_at = max(due, target.free_at) + len(frame) * 8 / self.rate
        self._count += 1
        target.waiting += 1
        heapq.heappush(self._due, (due + self.latency, self._count, target, frame))

    def _send(self, target: _Port, frame: bytes) -> None:
        try:
            target.socket.send(frame)
        except OSError:  # ENETDOWN, ENOBUFS: as on any wire, nobody is told
            return
        self.passed += 1


def fate_message(fate: Fate) -> dict[str, Any]:
    """A fate as it goes over the report pipe."""
    segment = fate.segment
    return {
        "told": fate.told,
        "time": fate.time,
        "sender": fate.sender,
        "seconds": fate.seconds,
        "why": fate.why,
        "family": segment.family,
        "saddr": segment.saddr.hex(),
        "daddr": segment.daddr.hex(),
        "sport": segment.sport,
        "dport": segment.dport,
        "seq": segment.seq,
        "ack": segment.ack,
        "flags": segment.flags,
        "length": segment.length,
    }
