"""A peer that speaks TCP by hand: every segment as the script wants it, right or wrong.

Some stories need a partner that no kernel would play: one who never sends the last ACK, answers a SYN with a SYN,
sends an old segment again, or closes its window and says nothing. Such an actor has a cable like all others, but its
interface has no address, so its own kernel answers nobody. What it sends is built by scapy and sent as a frame of its
own (AF_PACKET); what comes to it is kept until the script asks for it, so nothing is missed between two steps.

A `Talk` is one connection from its side. It does the bookkeeping of sequence numbers that RFC 9293 section 3.4 asks
for, and lets itself be overruled in any number: `talk.send("ACK", seq=talk.snd_nxt - 1)` is a keepalive probe.
"""

from __future__ import annotations

import random
import select
import time
from dataclasses import dataclass, field
from typing import Any, Final

from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from scenarios.cables import FRAME_BYTES, plug_in
from scenarios.calls.core import Call, tell, tell_sleep
from scenarios.frames import Segment, parse
from scenarios.impairments import FLAGS, mask
from scenarios.places import INTERFACE, places_of
from scenarios.script import Scenario

SEQUENCE: Final = 1 << 32
TIMEOUT: Final = 3.0
"""Seconds to wait for a segment unless told otherwise: more than a kernel's first retransmission timeout, 1 s."""
MSS: Final = 1460
WINDOW: Final = 65535
EPHEMERAL: Final = 40000
"""First port of the peer's own connections."""

Flow = tuple[int, bytes, int]
"""Local port, remote address, remote port."""


class NotSeen(AssertionError):
    """What was expected did not come; str() says what came instead."""


class Peer:
    """One actor's hand-made TCP."""

    def __init__(self, name: str, places: dict[str, tuple[str, str]], port: int, seed: int) -> None:
        """`places`: MAC and IP address of each actor. Opens the interface of this network. Raises OSError."""
        self.name = name
        self.mac, self.address = places[name]
        self.port = port
        """The play's port."""
        self._places = places
        self._cable = plug_in(INTERFACE)
        self._inbox: list[tuple[Segment, bytes]] = []
        self._numbers = random.Random(seed)
        self._next_port = EPHEMERAL

    @classmethod
    def of(cls, name: str, scenario: Scenario, addresses: dict[str, str], port: int) -> Peer:
        """The peer that a scenario has under this name, in the network this process is in."""
        places = {actor: (place.mac, addresses[actor]) for actor, place in places_of(scenario).items()}
        return cls(name, places, port, scenario.seed)

    def talk(self, actor: str, *, sport: int | None = None, dport: int | None = None, iss: int | None = None) -> Talk:
        """A connection to an actor of which nothing has been said yet: its own port, theirs (the play's), and the
        initial sequence number; by default the next free one, the play's, and a random one."""
        if sport is None:
            sport, self._next_port = self._next_port, self._next_port + 1
        mac, address = self._places[actor]
        number = self._numbers.randrange(SEQUENCE) if iss is None else iss
        return Talk(self, mac, address, sport, self.port if dport is None else dport, number)

    def expect_syn(self, *, port: int | None = None, timeout: float = TIMEOUT, iss: int | None = None) -> Talk:
        """Wait for somebody's SYN to a port (the play's); the talk that it begins, with its SYN as `talk.last`.

        Raises NotSeen.
        """
        port = self.port if port is None else port
        segment, frame = self._wait(
            f"SYN to port {port}", lambda s: s.dport == port and s.flags & 0x12 == 0x02, timeout
        )
        actor = next(name for name, (mac, _) in self._places.items() if mac == Ether(frame).src)
        talk = self.talk(actor, sport=port, dport=segment.sport, iss=iss)
        talk.took(segment, frame)
        return talk

    def flood(self, actor: str, count: int, *, first_port: int = 10000, pause: float = 0.0) -> None:
        """Send SYNs from as many ports in a row and answer nothing: half-open connections, as many as it takes."""
        for number in range(count):
            self.talk(actor, sport=first_port + number).send("SYN", quietly=True)
            if pause:
                time.sleep(pause)
        moment = time.monotonic_ns()
        tell(Call("flood", f"{count} SYNs to the {actor}", -1, moment, moment, count, 0))

    def send_frame(self, mac: str, packet: Any) -> None:
        """Send an IP packet of scapy's to a MAC address as it is."""
        self._cable.send(bytes(Ether(src=self.mac, dst=mac) / packet))

    def pending(self) -> list[Segment]:
        """Segments that have come and nobody has asked for yet."""
        self._read()
        return [segment for segment, _ in self._inbox]

    def _wait(self, what: str, wanted: Any, timeout: float) -> tuple[Segment, bytes]:
        """The first segment that is wanted, taken out of the inbox. Raises NotSeen."""
        enter = time.monotonic_ns()
        deadline = time.monotonic() + timeout
        tell_sleep(Call("expect", what, -1, enter, enter, 0, 0))
        while True:
            self._read()
            for place, (segment, frame) in enumerate(self._inbox):
                if wanted(segment):
                    del self._inbox[place]
                    tell(Call("expect", what, -1, enter, time.monotonic_ns(), 1, 0, f"{describe(segment)}"))
                    return segment, frame
            rest = deadline - time.monotonic()
            if rest <= 0:
                came = "; ".join(describe(segment) for segment, _ in self._inbox[-5:]) or "nothing"
                raise NotSeen(f"waited {timeout:.1f} s for {what}; there was {came}")
            select.select([self._cable], [], [], rest)

    def _read(self) -> None:
        while True:
            try:
                frame = self._cable.recv(FRAME_BYTES)
            except BlockingIOError:
                return
            segment = parse(frame)
            if segment is not None:
                self._inbox.append((segment, frame))


@dataclass
class Talk:
    """One connection, as the peer keeps it. All its numbers may be changed at any time."""

    peer: Peer
    mac: str
    address: str
    """The other end's."""
    sport: int
    dport: int
    snd_nxt: int
    """Next sequence number to send."""
    rcv_nxt: int = 0
    """Next one expected: what ACKs acknowledge."""
    window: int = WINDOW
    """Offered in every segment; 0 closes it."""
    received: bytes = b""
    """Payload that has come in order."""
    last: Any = None
    """The last segment taken, as scapy's TCP layer."""
    passed: list[Segment] = field(default_factory=list)
    """Segments that `expect` has passed over, for they were not the ones meant."""
    timestamps: bool = False
    """Whether to send RFC 7323 timestamps, echoing the other's."""
    _tsval: int = 1000

    def __post_init__(self) -> None:
        self.iss = self.snd_nxt

    def send(
        self,
        flags: str,
        payload: bytes = b"",
        *,
        seq: int | None = None,
        ack: int | None = None,
        window: int | None = None,
        options: list[tuple[str, Any]] | None = None,
        urgent: int = 0,
        quietly: bool = False,
    ) -> Any:
        """Send a segment: `talk.send("SYN")`, `talk.send("ACK", b"hello")`. Returns scapy's TCP layer.

        What is not given comes from the bookkeeping: the next sequence number, which then advances over payload, SYN
        and FIN; the acknowledgement of all that came in order, if ACK is among the flags; for a SYN the MSS option.
        With `seq` given nothing advances.
        """
        bits = mask(flags)
        if options is None:
            options = [("MSS", MSS)] if bits & FLAGS["SYN"] else []
            if self.timestamps:
                options = [*options, ("NOP", None), ("NOP", None), ("Timestamp", (self._now(), self._echo()))]
        layer = TCP(
            sport=self.sport,
            dport=self.dport,
            seq=(self.snd_nxt if seq is None else seq) % SEQUENCE,
            ack=(self.rcv_nxt if bits & FLAGS["ACK"] else 0) if ack is None else ack % SEQUENCE,
            flags=bits,
            window=self.window if window is None else window,
            urgptr=urgent,
            options=options,
        )
        if seq is None:
            self.snd_nxt = (self.snd_nxt + len(payload) + bool(bits & 1) + bool(bits & 2)) % SEQUENCE
        network = IPv6 if ":" in self.address else IP
        self.peer.send_frame(self.mac, network(src=self.peer.address, dst=self.address) / layer / Raw(payload))
        if not quietly:
            moment = time.monotonic_ns()
            text = (
                f"{flags.replace(' ', '-')} seq {layer.seq} ack {layer.ack} window {layer.window} {len(payload)} bytes"
            )
            tell(Call("segment", text, -1, moment, moment, len(payload), 0))
        return layer

    def expect(
        self,
        flags: str = "",
        *,
        without: str = "",
        payload: bool | None = None,
        timeout: float = TIMEOUT,
    ) -> Any:
        """Wait for a segment of this talk with these flags; those before it are taken, counted in order, and passed.

        Returns scapy's TCP layer. Raises NotSeen, which ends the step.
        """
        deadline = time.monotonic() + timeout
        has, lacks = mask(flags), mask(without)
        what = f"{flags.replace(' ', '-') or 'a segment'}{' with data' if payload else ''} from port {self.dport}"
        while True:
            segment, frame = self.peer._wait(what, self._mine, max(deadline - time.monotonic(), 0.0))
            self.took(segment, frame)
            fits = segment.flags & has == has and not segment.flags & lacks
            if fits and payload in (None, segment.length > 0):
                return self.last
            self.passed.append(segment)

    def expect_silence(self, seconds: float) -> None:
        """Wait so long and let nothing come. Raises NotSeen when something does."""
        try:
            self.peer._wait(f"silence for {seconds:g} s", self._mine, seconds)
        except NotSeen:
            return
        raise NotSeen("something came, although nothing should")

    def open(self) -> None:
        """The three-way handshake from this side."""
        self.send("SYN")
        self.expect("SYN ACK")
        self.send("ACK")

    def accept(self) -> None:
        """The rest of it when the other's SYN has come (`expect_syn`)."""
        self.send("SYN ACK")
        self.expect("ACK", without="SYN")

    def close(self) -> None:
        """FIN, and the acknowledgement of the other's when it comes."""
        self.send("FIN ACK")
        if not self._ended():
            self.expect("FIN")
        self.send("ACK")

    def _ended(self) -> bool:
        return self.last is not None and bool(int(self.last.flags) & FLAGS["FIN"])

    def took(self, segment: Segment, frame: bytes) -> None:
        """Count a segment that has come: in order it moves `rcv_nxt`, a SYN sets it."""
        self.last = Ether(frame)[TCP]
        if segment.flags & FLAGS["SYN"]:
            self.rcv_nxt = (segment.seq + 1) % SEQUENCE
        elif segment.seq == self.rcv_nxt and (segment.length or segment.flags & FLAGS["FIN"]):
            self.received += frame[segment.payload_at : segment.payload_at + segment.length]
            self.rcv_nxt = (segment.seq + segment.length + bool(segment.flags & FLAGS["FIN"])) % SEQUENCE

    def _mine(self, segment: Segment) -> bool:
        return segment.dport == self.sport and segment.sport == self.dport

    def _now(self) -> int:
        self._tsval += 1
        return self._tsval

    def _echo(self) -> int:
        found = dict(self.last.options).get("Timestamp") if self.last is not None else None
        return found[0] if found else 0


def describe(segment: Segment) -> str:
    """A segment in a few words: `SYN-ACK seq 1 ack 2, 0 bytes`."""
    names = "-".join(name for name, bit in FLAGS.items() if segment.flags & bit)
    return f"{names} seq {segment.seq} ack {segment.ack}, {segment.length} bytes"
