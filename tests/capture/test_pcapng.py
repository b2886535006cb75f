"""pcapng: sections, interfaces, the kinds of block, and what may be wrong with them."""

from __future__ import annotations

import struct

import pytest

from tests.capture.craft import (
    block,
    enhanced,
    ether,
    interface,
    ip4,
    notes,
    obsolete,
    option,
    read,
    read_all,
    section,
    simple,
    tcp,
)  # fmt: skip
from tracer.capture import CaptureError
from tracer.capture.pcapng import Interface, nanoseconds, printable

FRAME = ether(ip4(tcp(b"hello")))
RAW = ip4(tcp(b"raw"))


@pytest.mark.parametrize("order", ["<", ">"])
def test_kinds_of_packet_block(order: str) -> None:
    rows, capture = read(
        section(order)
        + interface(order=order)
        + enhanced(FRAME, order=order)
        + obsolete(FRAME, order=order)
        + simple(FRAME, order=order)
    )
    assert capture.format == "pcapng" and capture.packets == 3
    assert rows["length"].tolist() == [5, 5, 5]
    assert rows["time"].tolist() == [1_000_005_000, 1_000_005_000, 0]
    assert notes(capture) == ["1 x packet without a time (simple packet block), taken as time 0, first at frame 3"]


def test_byte_order_and_interfaces_belong_to_their_section() -> None:
    rows, capture = read(
        section("<") + interface(1) + interface(101) + enhanced(RAW, number=1) + enhanced(FRAME)
        + section(">") + interface(101, order=">") + enhanced(RAW, order=">")
    )  # fmt: skip
    assert rows["length"].tolist() == [3, 5, 3]
    assert rows["frame"].tolist() == [1, 2, 3]
    assert [each.order for each in capture.sections] == ["little", "big"]
    assert [(each.section, each.number, each.link_type) for each in capture.interfaces] == [
        (0, 0, 1),
        (0, 1, 101),
        (1, 0, 101),
    ]


@pytest.mark.parametrize(
    ("resolution", "ticks", "expected"),
    [
        (0, 3, 3 * 10**9),
        (3, 1500, 1_500_000_000),
        (6, 1_500_000, 1_500_000_000),
        (9, 1_500_000_000, 1_500_000_000),
        (12, 1_500_000_000_000, 1_500_000_000),
        (0x80 | 1, 3, 1_500_000_000),
        (0x80 | 20, 3 << 19, 1_500_000_000),
        (0x80 | 40, 3 << 39, 1_500_000_000),
        (0x80 | 63, 3 << 62, 1_500_000_000),
        (40, 1, 0),
        (0xFF, 1, 0),
    ],
)
def test_time_resolutions(resolution: int, ticks: int, expected: int) -> None:
    rows, _ = read(section() + interface(options=option(9, bytes([resolution]))) + enhanced(FRAME, ticks))
    assert rows["time"].tolist() == [expected]


def test_time_offset_is_signed_seconds() -> None:
    ahead, behind = (option(14, struct.pack("<q", seconds)) for seconds in (100, -100))
    rows, _ = read(
        section() + interface(options=ahead) + interface(options=behind) + enhanced(FRAME) + enhanced(FRAME, number=1)
    )
    assert rows["time"].tolist() == [101_000_005_000, -98_999_995_000]


def test_binary_resolution_keeps_nanoseconds_of_today() -> None:
    import numpy as np

    ticks = np.array([1_700_000_000 << 32 | 1 << 31], np.uint64)
    assert nanoseconds(ticks, Interface(0, 0, 1, 0, 0x80 | 32)).tolist() == [1_700_000_000_500_000_000]


def test_a_simple_packet_takes_the_first_interfaces_snapshot_length() -> None:
    rows, _ = read(section() + interface(snaplen=60) + interface(101) + simple(FRAME + bytes(1), wire=len(FRAME)))
    assert rows["caplen"].tolist() == [len(FRAME)]
    rows, _ = read(section() + interface(snaplen=58) + simple((FRAME + bytes(1000))[:58], wire=1054))
    assert rows["caplen"].tolist() == [58] and rows["length"].tolist() == [5]


def test_journals_come_raw_and_in_their_places() -> None:
    text = b"MESSAGE=one\nPRIORITY=6\n\n"
    data = section() + interface() + block(9, text) + enhanced(FRAME) + enhanced(FRAME) + block(9, b"MESSAGE=x\n")
    rows, journals, capture = read_all(data)
    assert [(entry.packets, entry.data) for entry in journals] == [(0, text), (2, b"MESSAGE=x\n")]
    assert data[journals[0].offset : journals[0].offset + 4] == struct.pack("<I", 9)
    assert rows["frame"].tolist() == [1, 2] and capture.packets == 2
    assert not notes(capture)


def test_a_file_of_journals_only() -> None:
    _, journals, capture = read_all(section() + block(9, b"A=1\n") * 3)
    assert [entry.packets for entry in journals] == [0, 0, 0] and capture.packets == 0


@pytest.mark.parametrize("kind", [4, 5, 10])
def test_names_statistics_and_secrets_are_passed_over(kind: int) -> None:
    rows, capture = read(section() + interface() + block(kind, b"secret!!") + enhanced(FRAME))
    assert len(rows) == 1 and not notes(capture)


def test_unknown_blocks_are_passed_over_and_told() -> None:
    rows, capture = read(section() + interface() + block(0xBAD, b"vend") + enhanced(FRAME))
    assert len(rows) == 1
    assert notes(capture) == ["blocks of type 0xbad, passed over, at offset 48"]


def test_a_huge_unknown_block_is_passed_over_in_pieces() -> None:
    rows, capture = read(section() + interface() + block(0xBAD, bytes(17 << 20)) + enhanced(FRAME))
    assert len(rows) == 1
    assert notes(capture) == [f"a block of type 2989 of {(17 << 20) + 12} bytes, at offset 48"]


def test_what_the_file_says_about_itself() -> None:
    about = option(1, b"first") + option(1, b"second") + option(2, b"arm") + option(3, b"Linux")
    about += option(4, b"synfin 1")
    card = option(2, b"eth0") + option(3, b"the card") + option(11, b"\0tcp port 80") + option(9, b"\x09")
    _, capture = read(section(options=about) + interface(snaplen=96, options=card))
    head, port = capture.sections[0], capture.interfaces[0]
    assert head.comments == ("first", "second")
    assert (head.hardware, head.os, head.application, head.version) == ("arm", "Linux", "synfin 1", (1, 0))
    assert (port.name, port.description, port.filter) == ("eth0", "the card", "tcp port 80")
    assert (port.snaplen, port.resolution) == (96, 9)


def test_text_of_the_file_cannot_steer_the_terminal() -> None:
    assert printable(b"a\x1b[2Jb\x07\r\n\xe2\x80\xaec\xff\0\0") == "a\\u{1b}[2Jb\\u{7}\\u{d}\n\\u{202e}c\\xff"


def test_a_packet_of_an_unknown_interface_is_noted_not_fatal() -> None:
    rows, capture = read(section() + interface() + enhanced(FRAME, number=3) + enhanced(FRAME))
    assert rows["frame"].tolist() == [2]
    assert notes(capture) == ["1 x packet of an interface that the file does not describe, first at frame 1"]


def test_a_packet_longer_than_its_block_is_noted_not_fatal() -> None:
    rows, capture = read(section() + interface() + enhanced(FRAME, caplen=5000) + enhanced(FRAME))
    assert rows["frame"].tolist() == [2]
    assert notes(capture) == ["1 x packet record claims more bytes than it holds, first at frame 1"]


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        (struct.pack("<II", 6, 8), "a block's length is impossible"),
        (struct.pack("<II", 6, 33) + bytes(30), "a block's length is impossible"),
        (block(6, bytes(20))[:-4] + b"\x24\0\0\0", "a block's two lengths differ"),
        (struct.pack("<II", 6, 0x7FFF_FFF0), "a block of type 6 claims 2147483632 bytes"),
        (enhanced(FRAME)[:-1], f"the file ends inside a block ({len(enhanced(FRAME)) - 1} bytes of it are there)"),
        (section()[:20], "it ends inside a section header, at offset 140"),
        (interface()[:12], "it ends inside an interface description, at offset 140"),
        (section()[:8] + bytes(20), "the section header at offset 140 has no byte-order magic"),
    ],
)
def test_damage_stops_the_reading_where_it_is(tail: bytes, words: str) -> None:
    rows, capture = read(section() + interface() + enhanced(FRAME) + tail)
    assert len(rows) == 1
    assert notes(capture) == [f"{words}, at offset 140"] and capture.notes.of("ended")


def test_a_cut_section_header_is_an_error() -> None:
    for cut in range(16, 28):
        with pytest.raises(CaptureError, match="ends inside a section header"):
            read(section()[:cut])


def test_a_future_version_is_an_error() -> None:
    head = bytearray(section())
    head[12] = 2
    with pytest.raises(CaptureError, match="version 2"):
        read(bytes(head))
