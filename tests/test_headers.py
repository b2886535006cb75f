"""Header bytes against scapy's own reading of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracer.events import NUMBER, PAYLOAD
from tracer.headers import decode
from tracer.kinds import MAX_HEADER_BYTES
from tracer.segments import V4_MAPPED

scapy = pytest.importorskip("scapy.layers.inet6", reason="scapy is not installed")
from scapy.layers.inet import IP, TCP  # noqa: E402
from scapy.layers.inet6 import IPv6  # noqa: E402


def rows_of(packets: list[bytes]) -> np.ndarray:
    rows = np.zeros(len(packets), PAYLOAD[NUMBER["packet:sent"]])
    for row, packet in zip(rows, packets, strict=True):
        kept = packet[:MAX_HEADER_BYTES]
        row["raw"][: len(kept)] = np.frombuffer(kept, np.uint8)
        row["caplen"], row["wire_len"] = len(kept), len(packet)
    return rows


def test_syn_with_all_options() -> None:
    options = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (7, 9)), ("NOP", None), ("WScale", 7)]
    tcp = TCP(sport=40000, dport=80, seq=0xFFFFFFFF, flags="S", window=64240, options=options)
    rows = rows_of([bytes(IP(src="10.1.2.3", dst="10.3.2.1", id=77, ttl=3) / tcp), bytes(IPv6(src="fe80::1") / tcp)])
    assert decode(rows).all()
    for row in rows:
        assert (row["sport"], row["dport"], row["seq"], row["flags"]) == (40000, 80, 0xFFFFFFFF, 2)
        assert (row["mss"], row["wscale"], row["sack_permitted"]) == (1460, 7, 1)
        assert (row["has_ts"], row["tsval"], row["tsecr"], row["length"]) == (1, 7, 9, 0)
    assert rows["saddr"].tolist() == [[0, V4_MAPPED | 0x0A010203], [0xFE80 << 48, 1]]
    assert (rows[0]["ip_id"], rows[0]["ttl"], rows["family"].tolist()) == (77, 3, [4, 6])


def test_sack_blocks_and_payload_by_wire_length() -> None:
    tcp = TCP(flags="A", options=[("NOP", None), ("NOP", None), ("SAck", (1, 2, 5, 9))])
    rows = rows_of([bytes(IP() / tcp / (b"x" * 500))])
    assert decode(rows).all()
    assert rows[0]["n_sack"] == 2
    assert rows[0]["sack_left"].tolist() == [1, 5, 0, 0]
    assert rows[0]["sack_right"].tolist() == [2, 9, 0, 0]
    assert rows[0]["length"] == 500


def test_what_is_not_tcp_or_too_short_is_left_zero() -> None:
    whole = bytes(IP() / TCP(sport=5))
    rows = rows_of([whole[:39], b"\x45" + bytes(60), b"", whole])
    assert decode(rows).tolist() == [False, False, False, True]
    assert rows["sport"].tolist() == [0, 0, 0, 5]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=120), min_size=1, max_size=5))
def test_any_bytes_do_no_harm(packets: list[bytes]) -> None:
    rows = rows_of(packets)
    good = decode(rows)
    assert (rows["sport"][~good] == 0).all()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=40))
def test_any_options_do_no_harm(options: bytes) -> None:
    options = options.ljust(-(-len(options) // 4) * 4, b"\0")
    tcp = bytearray(bytes(TCP(sport=1234)) + options)
    tcp[12] = (20 + len(options)) // 4 << 4
    rows = rows_of([bytes(IP(len=20 + len(tcp)) / bytes(tcp))])
    rows["raw"][0, 9] = 6
    assert decode(rows).all()
    assert rows[0]["header"] == 20 + len(options)
