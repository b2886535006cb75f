"""pcap: magic numbers, byte orders, and files that stop early."""

from __future__ import annotations

import struct

import pytest

from tests.capture.craft import FIRST, ether, ip4, notes, pcap, read, read_all, record, tcp, values
from tracer.capture import CaptureError

FRAME = ether(ip4(tcp(b"hello")))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "unit"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_byte_orders_and_resolutions(order: str, magic: int, unit: int) -> None:
    rows, capture = read(pcap(FRAME, FRAME, order=order, magic=magic))
    assert capture.format == "pcap"
    assert rows["time"].tolist() == [10**9 + 5 * unit] * 2
    assert rows["frame"].tolist() == [1, 2]
    assert rows["offset"].tolist() == [40, 40 + len(FRAME) + 16]
    assert rows["length"].tolist() == [5, 5]


def test_every_field_of_a_row() -> None:
    options = bytes.fromhex("020405b4" "01030307" "0402" "080a0000000100000002")
    rows, _ = read(pcap(ether(ip4(tcp(b"", options, flags=0x1C2)))))
    row = {name: column[0] for name, column in values(rows).items()}
    assert (row["src_hi"], row["src_lo"], row["dst_hi"], row["dst_lo"]) == (0, FIRST, 0, FIRST + 1)
    assert (row["sport"], row["dport"], row["seq"], row["ack"]) == (1111, 80, 1000, 2000)
    assert (row["flags"], row["window"], row["urgent"], row["header"]) == (0x1C2, 512, 7, 40)
    assert (row["mss"], row["wscale"], row["sack_permitted"]) == (1460, 7, 1)
    assert (row["has_ts"], row["tsval"], row["tsecr"]) == (1, 1, 2)
    assert (row["family"], row["ttl"], row["ip_id"], row["partial"], row["length"]) == (4, 64, 0x4242, 0, 0)


def test_sack_blocks_in_header_order() -> None:
    blocks = [(100, 200), (300, 400), (0xFFFFFFF0, 16)]
    options = bytes((1, 1, 5, 26)) + b"".join(struct.pack(">II", *pair) for pair in blocks)
    rows, _ = read(pcap(ether(ip4(tcp(options=options)))))
    assert rows["n_sack"].tolist() == [3]
    left, right = rows["sack_left"][0].tolist(), rows["sack_right"][0].tolist()
    assert list(zip(left, right, strict=True)) == [*blocks, (0, 0)]


@pytest.mark.parametrize("options", ["02000000", "0240aaaa", "08020101", "0500ffff", "ff010101"])
def test_malformed_options_end_the_list_and_harm_nothing(options: str) -> None:
    rows, _ = read(pcap(ether(ip4(tcp(b"x", bytes.fromhex(options) + bytes.fromhex("020405b4"))))))
    assert rows["length"].tolist() == [1]
    assert rows["has_ts"].tolist() == [0] and rows["n_sack"].tolist() == [0]


def test_a_window_scale_is_kept_as_sent() -> None:
    rows, _ = read(pcap(ether(ip4(tcp(options=bytes((1, 3, 3, 255)))))))
    assert rows["wscale"].tolist() == [127], "more than the column holds is still more than RFC 7323 allows"


def test_modified_pcap_has_longer_record_headers() -> None:
    data = pcap(magic=0xA1B2CD34) + record(b"")[:8] + struct.pack("<II", len(FRAME), len(FRAME)) + bytes(8) + FRAME
    assert read(data)[0]["length"].tolist() == [5]


@pytest.mark.parametrize("kept", range(1, 16 + len(FRAME)))
def test_a_cut_last_record_is_noted_and_the_rest_kept(kept: int) -> None:
    whole = pcap(FRAME)
    rows, capture = read(whole + record(FRAME)[:kept])
    assert len(rows) == 1 and capture.packets == 1
    words = f"the file ends inside a packet record ({kept} bytes of it are there), at offset {len(whole)}"
    assert notes(capture) == [words]


def test_an_absurd_record_length_stops_with_its_offset() -> None:
    data = pcap(FRAME)
    rows, capture = read(data + struct.pack("<IIII", 1, 1, 0x7FFFFFFF, 60) + FRAME)
    assert len(rows) == 1
    assert notes(capture) == [f"the packet record claims 2147483647 captured bytes, at offset {len(data)}"]


def test_records_larger_than_the_buffer_are_read() -> None:
    big = ether(ip4(tcp(bytes(60_000))))
    rows, _, capture = read_all(pcap(FRAME, big, FRAME), size=2048)
    assert rows["length"].tolist() == [5, 60_000, 5] and not notes(capture)


@pytest.mark.parametrize("size", [64, 97, 200, 1000])
def test_records_across_reads_keep_their_offsets(size: int) -> None:
    data = pcap(*[FRAME] * 50)
    rows, _, _ = read_all(data, size=size)
    assert values(rows) == values(read(data)[0])


@pytest.mark.parametrize("cut", range(4, 24))
def test_a_cut_file_header_is_an_error(cut: int) -> None:
    with pytest.raises(CaptureError, match=rf"ends inside its file header \({cut} of 24 bytes\)"):
        read(pcap()[:cut])


def test_a_capture_without_packets_is_no_error() -> None:
    rows, capture = read(pcap())
    assert len(rows) == 0 and capture.packets == 0 and not notes(capture)


def test_link_type_flags_are_masked() -> None:
    assert read(pcap(FRAME, link=0x1400_0001))[0]["length"].tolist() == [5]
