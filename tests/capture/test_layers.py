"""From the link to TCP: one tiny frame for each encapsulation and each trap on the way."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from tests.capture.craft import (
    A4,
    A6,
    B4,
    B6,
    FIRST,
    FORMS,
    ether,
    ip4,
    ip6,
    notes,
    pcap,
    read,
    tcp,
    udp,
    values,
)  # fmt: skip
from tracer.capture.linktypes import DECODED, NAMES, link_name

IP = ip4(tcp(b"data"))
IP6 = ip6(tcp(b"data"))
LLC_IP = bytes.fromhex("aaaa03000000") + b"\x08\x00"
QOS = bytes.fromhex("88010000") + bytes(20) + bytes(2)

LINKS: dict[str, tuple[int, bytes]] = {
    "ethernet": (1, ether(IP)),
    "ethernet, IPv6": (1, ether(IP6, 0x86DD)),
    "VLAN": (1, ether(b"\0\x05\x08\0" + IP, 0x8100)),
    "QinQ": (1, ether(b"\0\x05\x81\0\0\x06\x08\0" + IP, 0x88A8)),
    "VLAN with LLC": (1, ether(b"\0\x05\0\x40" + LLC_IP + IP, 0x8100)),
    "802.3 with SNAP": (1, ether(LLC_IP + IP, 60)),
    "802.3 with LLC": (1, ether(b"\x06\x06\x03" + IP, 60)),
    "PPPoE": (1, ether(b"\x11\0\0\1" + struct.pack(">H", len(IP) + 2) + b"\0\x21" + IP, 0x8864)),
    "PPPoE, short protocol": (1, ether(b"\x11\0\0\1" + struct.pack(">H", len(IP) + 1) + b"\x21" + IP, 0x8864)),
    "MPLS": (1, ether(b"\0\0\x10\0" + b"\0\0\x11\0" + IP, 0x8847)),
    "MPLS pseudowire": (1, ether(b"\0\0\x11\0" + bytes(4) + ether(IP), 0x8847)),
    "VN-Tag": (1, ether(b"\0\0\0\0\x08\0" + IP, 0x8926)),
    "raw 101": (101, IP),
    "raw 12": (12, IP6),
    "raw 14": (14, IP),
    "IPV4": (228, IP),
    "IPV6": (229, IP6),
    "null, little": (0, b"\x02\0\0\0" + IP),
    "null, big": (0, b"\0\0\0\x02" + IP),
    "null, Darwin IPv6": (0, b"\x1e\0\0\0" + IP6),
    "null, FreeBSD IPv6, big": (0, b"\0\0\0\x1c" + IP6),
    "loop": (108, b"\0\0\0\x02" + IP),
    "SLL": (113, bytes(14) + b"\x08\0" + IP),
    "SLL, IPv6": (113, bytes(14) + b"\x86\xdd" + IP6),
    "SLL with VLAN": (113, bytes(14) + b"\x81\0" + b"\0\x05\x08\0" + IP),
    "SLL2": (276, b"\x08\0" + bytes(18) + IP),
    "PPP": (9, b"\xff\x03\0\x21" + IP),
    "PPP, compressed": (9, b"\x57" + IP6),
    "PPP over HDLC": (50, b"\xff\x03\0\x21" + IP),
    "Cisco HDLC": (104, b"\x0f\0\x08\0" + IP),
    "frame relay": (107, b"\x18\x41\x03\xcc" + IP),
    "frame relay, SNAP": (107, b"\x18\x41\x03\0\x80\0\0\0\x08\0" + IP),
    "FDDI": (10, bytes(13) + LLC_IP + IP),
    "802.11": (105, bytes.fromhex("08010000") + bytes(20) + LLC_IP + IP),
    "802.11, QoS": (105, QOS + LLC_IP + IP),
    "802.11, four addresses": (105, bytes.fromhex("08030000") + bytes(26) + LLC_IP + IP),
    "radiotap": (127, b"\0\0\x0a\0\x02\0\0\0\0\0" + bytes.fromhex("08010000") + bytes(20) + LLC_IP + IP),
    "radiotap, padded": (127, b"\0\0\x09\0\x02\0\0\0\x20" + QOS + bytes(2) + LLC_IP + IP),
    "PPI": (192, b"\0\0\x08\0\x01\0\0\0" + ether(IP)),
    "ENC": (109, bytes(12) + IP),
    "PFLOG": (117, b"\x3d" + bytes(63) + IP),
    "NFLOG": (239, b"\x02\0\0\0" + b"\x05\0\x0a\0x\0\0\0" + struct.pack("<HH", len(IP) + 4, 9) + IP),
    "IPoIB": (242, bytes(40) + b"\x08\0\0\0" + IP),
    "PKTAP": (258, struct.pack("<III", 16, 1, 1) + bytes(4) + ether(IP)),
}
GTP = b"\x30\xff\0\0\0\0\0\x01"
TUNNELS: dict[str, bytes] = {
    "IPv4 options": ip4(tcp(b"data"), options=bytes(8)),
    "IPIP": ip4(IP, 4),
    "6in4": ip4(IP6, 41),
    "4in6": ip6(IP, 4),
    "GRE": ip4(b"\0\0\x08\0" + IP, 47),
    "GRE, key and sequence": ip4(b"\x30\0\x08\0" + bytes(8) + IP, 47),
    "GRE, Ethernet": ip4(b"\0\0\x65\x58" + ether(IP), 47),
    "PPTP": ip4(b"\x30\x81\x88\x0b" + bytes(12) + b"\xff\x03\0\x21" + IP, 47),
    "ERSPAN II": ip4(b"\x10\0\x88\xbe" + bytes(12) + ether(IP), 47),
    "EtherIP": ip4(b"\x30\0" + ether(IP), 97),
    "AH": ip4(b"\x06\x04" + bytes(22) + tcp(b"data"), 51),
    "VXLAN": ip4(udp(b"\x08" + bytes(7) + ether(IP), 4789), 17),
    "Geneve": ip4(udp(b"\x01\0\x65\x58" + bytes(8) + ether(IP), 6081), 17),
    "GTP-U": ip4(udp(GTP + IP, 2152), 17),
    "GTP-U, extension": ip4(udp(b"\x34" + GTP[1:] + b"\0\0\0\x85" + b"\x01\0\0\0" + IP6, 2152), 17),
    "L2TP": ip4(udp(b"\x40\x02\0\0\0\1\0\1" + b"\xff\x03\0\x21" + IP, 1701), 17),
    "Teredo": ip4(udp(IP6, 3544), 17),
    "hop-by-hop": ip6(b"\x06\0" + bytes(6) + tcp(b"data"), 0),
    "routing, then destination": ip6(b"\x3c\0" + bytes(6) + b"\x06\x01" + bytes(14) + tcp(b"data"), 43),
    "atomic fragment": ip6(b"\x06\0\0\0\0\0\0\x09" + tcp(b"data"), 44),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", LINKS)
def test_link_layers(name: str, form: Any) -> None:
    link, frame = LINKS[name]
    rows, capture = read(pcap(frame + bytes(6), frame, link=link), form)
    assert rows["length"].tolist() == [4, 4], "Ethernet padding is not payload"
    assert not notes(capture)
    assert rows["family"][0] in (4, 6)
    source = FIRST if rows["family"][0] == 4 else int.from_bytes(A6[8:], "big")
    assert rows["src_lo"].tolist() == [source] * 2
    assert link in DECODED


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", TUNNELS)
def test_tunnels_and_extension_headers(name: str, form: Any) -> None:
    rows, capture = read(pcap(TUNNELS[name], link=101), form)
    assert rows["length"].tolist() == [4] and not notes(capture)
    assert rows["sport"].tolist() == [1111]


def test_the_innermost_addresses_count() -> None:
    rows, _ = read(pcap(ip6(IP, 4), link=101))
    assert (rows["family"][0], rows["src_lo"][0], rows["ttl"][0]) == (4, FIRST, 64)
    rows, _ = read(pcap(ip4(IP6, 41), link=101))
    assert rows["dst_hi"][0] == int.from_bytes(B6[:8], "big") and rows["ip_id"][0] == 0


@pytest.mark.parametrize("form", FORMS)
def test_segmentation_offload_takes_the_wire_length(form: Any) -> None:
    big = ip4(tcp(bytes(3000)), total=0)
    rows, _ = read(pcap(ether(big)[:128], ether(ip6(tcp(bytes(3000)), size=0), 0x86DD)[:128], wire=3054), form)
    assert rows["length"].tolist() == [3000, 2980]


@pytest.mark.parametrize("form", FORMS)
def test_payload_length_is_the_headers_not_the_captures(form: Any) -> None:
    frame = ether(ip4(tcp(bytes(1000))))
    rows, _ = read(pcap(frame[:54], wire=len(frame)), form)
    assert (rows["length"][0], rows["caplen"][0], rows["partial"][0]) == (1000, 54, 0)


@pytest.mark.parametrize("form", FORMS)
def test_a_snapshot_length_may_cut_the_options(form: Any) -> None:
    options = bytes.fromhex("020405b4" "01030307" "0101080a" "0000000100000002")
    frame = ether(ip4(tcp(b"x", options)))
    rows, _ = read(pcap(frame[:62], wire=len(frame)), form)
    assert (rows["partial"][0], rows["mss"][0], rows["wscale"][0], rows["has_ts"][0]) == (1, 1460, 7, 0)
    assert rows["length"][0] == 1


OTHERS: dict[str, tuple[bytes, str]] = {
    "UDP": (ip4(udp(bytes(20), 53), 17), "IP but not TCP"),
    "ICMP quoting TCP": (
        ip4(b"\x03\x01" + bytes(6) + IP, 1),
        "ICMP (a TCP header quoted in an ICMP error is not a segment)",
    ),
    "ICMPv6 quoting TCP": (
        ip6(b"\x01\x01" + bytes(6) + IP6, 58),
        "ICMP (a TCP header quoted in an ICMP error is not a segment)",
    ),
    "cut in the TCP header": (IP[:39], "captured bytes end before the headers do"),
    "IP says fewer bytes than a TCP header": (ip4(tcp(), total=39), "malformed TCP header"),
    "data offset below 5": (ip4(tcp(b"data", words=4)), "malformed TCP header"),
    "data offset beyond the packet": (ip4(tcp(b"data", words=15)), "malformed TCP header"),
    "IP header length below 5": (b"\x44" + IP[1:], "malformed IP header"),
    "total length below the header's": (ip4(tcp(), total=19), "malformed IP header"),
    "ESP": (ip4(bytes(40), 50), "encrypted"),
    "IPComp": (ip4(bytes(40), 108), "tunnel not decoded"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_a_segment_is_counted_with_its_reason(name: str, form: Any) -> None:
    packet, words = OTHERS[name]
    rows, capture = read(pcap(IP, packet, packet, IP, link=101, wire=2000), form)
    assert rows["frame"].tolist() == [1, 4]
    assert notes(capture) == [f"2 x {words}, first at frame 2"]


def test_not_ip_is_other_traffic() -> None:
    _, capture = read(pcap(ether(bytes(28), 0x0806)))
    assert [(note.kind, note.frame) for note in capture.notes] == [("other", 1)]


def test_protected_wireless_frames_are_told() -> None:
    _, capture = read(pcap(bytes.fromhex("08410000") + bytes(60), link=105))
    assert notes(capture) == ["1 x encrypted, first at frame 1"]


@pytest.mark.parametrize(
    ("link", "name"),
    [(189, "USB_LINUX (189)"), (129, "ARCNET_LINUX (129)"), (150, "USER3 (150)"), (9999, "unknown (9999)")],
)
def test_other_link_types_are_named(link: int, name: str) -> None:
    rows, capture = read(pcap(bytes(60), bytes(60), link=link))
    assert len(rows) == 0 and capture.packets == 2
    assert notes(capture) == [f"2 x link type not decoded: {name}, first at frame 1"]


def test_every_decoded_link_type_has_a_name() -> None:
    assert not [link for link in DECODED if link not in NAMES]
    assert link_name(1) == "ETHERNET (1)"


def test_endless_nesting_ends() -> None:
    packet = IP
    for _ in range(40):
        packet = ip4(packet, 4)
    _, capture = read(pcap(packet, link=101))
    assert notes(capture) == ["1 x too many layers of encapsulation, first at frame 1"]


SEGMENT = tcp(bytes(range(60)))


def pieces4(*cuts: int, ident: int = 1) -> list[bytes]:
    """SEGMENT as IPv4 fragments."""
    ends = [*cuts, len(SEGMENT)]
    return [
        ip4(SEGMENT[start:end], fragment=start // 8 | (0x2000 if end < len(SEGMENT) else 0), ident=ident)
        for start, end in zip([0, *cuts], ends, strict=True)
    ]


def pieces6(*cuts: int) -> list[bytes]:
    """SEGMENT as IPv6 fragments."""
    return [
        ip6(struct.pack(">BBHI", 6, 0, start | (end < len(SEGMENT)), 77) + SEGMENT[start:end], 44)
        for start, end in zip([0, *cuts], [*cuts, len(SEGMENT)], strict=True)
    ]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("pieces", [pieces4(32), pieces4(8, 48), pieces6(32), pieces6(16, 24, 40)])
def test_the_fragment_that_completes_a_datagram_is_the_segment(pieces: list[bytes], form: Any) -> None:
    whole = ip4(SEGMENT) if pieces[0][0] >> 4 == 4 else ip6(SEGMENT)
    expected, _ = read(pcap(whole, link=101), form)
    for order in (pieces, pieces[::-1]):
        rows, capture = read(pcap(IP, *order, IP, link=101), form)
        assert rows["frame"].tolist() == [1, 1 + len(pieces), 2 + len(pieces)]
        assert rows["length"].tolist() == [4, 60, 4]
        assert rows["offset"][1] == 40 + len(IP) + 16 * len(order) + sum(map(len, order[:-1]))
        for name in ("src_lo", "dst_hi", "sport", "seq", "flags", "window", "header", "family"):
            assert rows[name][1] == expected[name][0]
        assert not notes(capture)


def test_datagrams_that_interleave_and_one_that_is_never_whole() -> None:
    one, two = pieces4(32, ident=1), pieces4(32, ident=2)
    rows, capture = read(pcap(one[0], two[0], two[1], pieces4(32, ident=3)[0], one[1], link=101))
    assert rows["frame"].tolist() == [3, 5]
    assert notes(capture) == ["1 x IP fragment of a datagram that was never whole, first at frame 4"]


def test_fragments_inside_a_tunnel() -> None:
    first, last = pieces4(32)
    rows, _ = read(pcap(ip4(first, 4), ip4(last, 4), link=101))
    assert rows["frame"].tolist() == [2] and rows["length"].tolist() == [60]


def test_a_fragmented_tunnel_packet() -> None:
    inner = ip4(tcp(bytes(44)))
    cut = 24
    parts = [ip4(inner[:cut], 4, fragment=0x2000), ip4(inner[cut:], 4, fragment=cut // 8)]
    rows, _ = read(pcap(*parts, link=101))
    assert rows["frame"].tolist() == [2] and rows["length"].tolist() == [44]


def test_the_first_fragment_still_tells_when_the_snapshot_cut_it() -> None:
    first, last = pieces4(32)
    rows, capture = read(pcap(first[:44], last[:22], link=101, wire=60))
    assert rows["frame"].tolist() == [1]
    assert notes(capture) == ["1 x IP fragment not captured whole, first at frame 2"]


def test_fragments_are_kept_in_bounded_number() -> None:
    frames = [pieces4(32, ident=ident)[0] for ident in range(1000)]
    _, capture = read(pcap(*frames, link=101))
    assert notes(capture) == ["1000 x IP fragment of a datagram that was never whole, first at frame 1"]
    assert max(_waiting_sizes(frames)) <= 256


def _waiting_sizes(frames: list[bytes]) -> list[int]:
    from tracer.capture.fragments import Reassembler

    reassembler = Reassembler()
    sizes = []
    for number, frame in enumerate(frames):
        assert reassembler.add(frame, number + 1, 0) is None
        sizes.append(len(reassembler._waiting))
    return sizes


def test_a_datagram_larger_than_ip_allows_is_given_up() -> None:
    huge = ip4(bytes(100), fragment=0x1FFF)
    _, capture = read(pcap(huge, link=101))
    assert notes(capture) == ["1 x IP fragment of a datagram that was never whole, first at frame 1"]


def test_addresses_are_v4_mapped() -> None:
    rows, _ = read(pcap(IP, link=101))
    row = {name: column[0] for name, column in values(rows).items()}
    assert row["src_hi"].to_bytes(8, "big") + row["src_lo"].to_bytes(8, "big") == bytes(10) + b"\xff\xff" + A4
    assert row["dst_lo"] & 0xFFFFFFFF == int.from_bytes(B4, "big")
