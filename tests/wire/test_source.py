"""What a seat sees becomes events: headers only, on the capture point's own time. The frames are made by scapy."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from tracer.kinds import MAX_HEADER_BYTES, Evidence
from tracer.timeline import Timeline
from tracer.wire.frames import Frames, Seat
from tracer.wire.listen import from_ip
from tracer.wire.source import Endpoint, WireSource

pytest.importorskip("scapy")
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether, Loopback


class Given(Seat):
    """A seat that has seen certain packets."""

    def __init__(self, *packets: bytes, wire: int | None = None) -> None:
        self._packets, self._wire, self.closed = list(packets), wire, False

    def read(self) -> Frames:
        packets, self._packets = self._packets, []
        cut = b"".join(p[:MAX_HEADER_BYTES].ljust(MAX_HEADER_BYTES, b"\xee") for p in packets)
        lengths = np.array([len(p) for p in packets], np.int64)
        return Frames(
            np.frombuffer(cut, np.uint8).reshape(-1, MAX_HEADER_BYTES),
            np.minimum(lengths, MAX_HEADER_BYTES),
            lengths if self._wire is None else np.full(len(packets), self._wire, np.int64),
            1_000 * (1 + np.arange(len(packets))),
            np.full(len(packets), 4, np.uint32),
        )

    def dropped(self) -> int:
        return 3

    def close(self) -> None:
        self.closed = True


def seen(seat: Seat, ports: tuple[int, ...] = ()) -> Timeline:
    timeline = Timeline()
    timeline.append(WireSource(seat, netns=9, ports=ports).drain())
    return timeline


def test_a_segment_becomes_an_event() -> None:
    syn = IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=5, dport=80, seq=7, flags="S", options=[("MSS", 1460)])
    event = seen(Given(bytes(syn)))[0]
    assert (event.name, event.evidence, event.time) == ("packet:captured", Evidence.CAPTURED, 1_000)
    assert (event.ip("saddr"), event.ip("daddr")) == ("10.0.0.1", "10.0.0.2")
    assert (event["sport"], event["dport"], event["seq"], event["flags"], event["mss"]) == (5, 80, 7, 2, 1460)
    assert (event["netns"], event["ifindex"], event["frame"]) == (9, 4, 1)


@pytest.mark.parametrize("layer", [IP(), IPv6()], ids=["IPv4", "IPv6"])
def test_payload_is_counted_and_not_kept(layer: IP | IPv6) -> None:
    packet = layer / TCP(flags="PA") / b"secret"
    event = seen(Given(bytes(packet)))[0]
    assert event["length"] == 6
    assert b"secret" not in event["raw"]
    assert event["raw"][event["caplen"] :].strip(b"\0") == b""
    assert event["caplen"] == len(bytes(packet)) - 6
    assert event["wire_len"] == len(bytes(packet))


def test_ethernet_padding_is_no_payload() -> None:
    event = seen(Given(bytes(IP() / TCP(flags="A")) + bytes(6), wire=46))[0]
    assert (event["length"], event["wire_len"]) == (0, 40)


def test_a_length_left_to_the_card_is_the_frames() -> None:
    packet = bytearray(bytes(IP() / TCP(flags="A")))
    packet[2:4] = b"\0\0"
    assert seen(Given(bytes(packet), wire=65_240))[0]["length"] == 65_200


def test_what_is_not_tcp_is_passed_over() -> None:
    timeline = seen(Given(bytes(IP() / UDP()), bytes(IP() / TCP()), b"\x45", b""))
    assert [event.time for event in timeline.events()] == [2_000]


def test_ports_choose_at_either_end() -> None:
    packets = [bytes(IP() / TCP(sport=a, dport=b)) for a, b in ((1, 80), (80, 1), (1, 2))]
    assert [event["frame"] for event in seen(Given(*packets), (80,)).events()] == [1, 2]


def test_frames_are_numbered_over_all_drains() -> None:
    first = Given(bytes(IP() / TCP()))
    source = WireSource(first)
    assert len(source.drain()) == 1
    first._packets.append(bytes(IP() / TCP()))
    assert source.drain().tables.popitem()[1]["frame"].tolist() == [2]
    assert (source.losses().written, source.losses().lost) == (2, 3)


def test_what_came_before_the_end_is_still_drained() -> None:
    seat = Given(bytes(IP() / TCP()))
    source = WireSource(seat)
    source.stop()
    source.stop()
    assert seat.closed
    assert len(source.drain()) == 1
    assert len(source.drain()) == 0


@pytest.mark.parametrize(
    ("frame", "found"),
    [
        (Ether() / IP(), True),
        (Ether() / Dot1Q(vlan=5) / IPv6(), True),
        (Ether(type=0x88A8) / Dot1Q() / Dot1Q() / IP(), True),
        (Ether(type=0x0806) / b"arp", False),
        (Loopback() / IP(), True),
        (IP(), True),
        (b"\x00\x01", False),
    ],
)
def test_the_ip_packet_is_found_in_a_frame(frame: Ether | IP | bytes, found: bool) -> None:
    layer = type(frame)
    octets = bytes(frame)
    packet = from_ip(layer, octets)
    assert bool(packet) == found
    assert octets.endswith(packet)
    assert not found or packet[0] >> 4 in (4, 6)


class Known:
    """A register that has been brought up to some time, and knows some pairs."""

    def __init__(self) -> None:
        self.read_until, self.hurried = 0, 0
        self.pairs: set[tuple[int, int]] = set()

    def knows(self, pairs: Iterable[tuple[Endpoint, Endpoint]]) -> list[bool]:
        return [(a[1], b[1]) in self.pairs or (b[1], a[1]) in self.pairs for a, b in pairs]

    def hurry(self) -> None:
        self.hurried += 1


def test_segments_wait_until_it_is_known_whose_they_are() -> None:
    packets = [IP() / TCP(sport=5, dport=80), IP() / TCP(sport=6, dport=80), IP() / TCP(sport=80, dport=5)]
    register = Known()
    source = WireSource(Given(*map(bytes, packets)), register=register)
    assert len(source.drain()) == 0 and register.hurried == 1  # read at 1, 2 and 3 us
    register.pairs.add((5, 80))
    register.read_until = 2_000
    timeline = Timeline()
    timeline.append(source.drain())
    assert [(event["sport"], event.time) for event in timeline.events()] == [(5, 1_000)]
    source.stop()  # the last are decided at the end
    timeline.append(source.drain())
    assert [(event["sport"], event["frame"]) for event in timeline.events()] == [(5, 1), (80, 2)]
    assert source.losses().written == 2
