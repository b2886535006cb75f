"""Wireshark's TCP analysis, finding by finding; what stands after | is what tshark 4.0.17 prints for these segments."""

from __future__ import annotations

import pytest

from tests.replay.transcript import HANDSHAKE, check, found

WRAP = ((1000, 5000), (0xFFFFFFF0, 0xFFFFFFE0), (0x7FFFFFF0, 5))
"""Initial sequence numbers: ordinary, about to wrap, about to change sign."""


@pytest.mark.parametrize("bases", WRAP)
def test_a_plain_exchange_has_no_findings(bases: tuple[int, int]) -> None:
    rows = check(
        HANDSHAKE
        + """
        > PA 1:1 100
        < A 1:101
        < PA 1:101 50
        > FA 101:51
        < FA 51:102
        > A 102:52
        """,
        bases,
    )
    assert rows["rtt"].tolist() == [-1, 1_000_000, 1_000_000, -1, 1_000_000, -1, 1_000_000, 1_000_000, 1_000_000]
    assert rows["acked_frame"].tolist() == [0, 1, 2, 0, 4, 0, 6, 7, 8]
    assert rows["bytes_in_flight"].tolist() == [-1, -1, -1, 100, -1, 50, -1, -1, -1]
    assert rows["initial_rtt"].tolist()[2:] == [2_000_000] * 7
    assert rows["completeness"].tolist() == [1, 3, 7, 15, 15, 15, 31, 31, 31]
    assert rows["direction"].tolist() == [0, 1, 0, 0, 1, 1, 0, 1, 0]


@pytest.mark.parametrize("bases", WRAP)
def test_retransmission_after_a_timeout(bases: tuple[int, int]) -> None:
    rows = check(
        HANDSHAKE
        + """
        > PA 1:1 100
        +200
        > PA 1:1 100        | retransmission
        < A 1:101
        """,
        bases,
    )
    assert (rows["rto"][4], rows["rto_frame"][4]) == (201_000_000, 4)
    assert rows["acked_frame"][5] == 4, "the oldest segment that ends there"


def test_fast_retransmission_needs_two_duplicate_acks_within_20_ms() -> None:
    lost = """
        > A 1:1 100
        > A 201:1 100       | lost_segment
        < A 1:101
        > A 301:1 100
        < A 1:101           | duplicate_ack
        < A 1:101           | duplicate_ack
        """
    rows = check(HANDSHAKE + lost + "> A 101:1 100 | retransmission fast_retransmission")
    assert rows["duplicate_ack_number"].tolist()[7:9] == [1, 2]
    assert rows["duplicate_ack_frame"].tolist()[7:9] == [6, 6]
    check(HANDSHAKE + lost + "+20\n> A 101:1 100 | retransmission")


def test_out_of_order_within_the_initial_rtt() -> None:
    late = """
        > A 1:1 100
        > A 201:1 100       | lost_segment
        {wait}
        > A 101:1 100       | {what}
        """
    check(HANDSHAKE + late.format(wait="+0.5", what="out_of_order"))
    check(HANDSHAKE + late.format(wait="+1.5", what="retransmission"))
    check(late.format(wait="+1.5", what="out_of_order"))  # 3 ms where the initial RTT is not known


def test_spurious_retransmission() -> None:
    check(
        HANDSHAKE
        + """
        > A 1:1 100
        < A 1:101
        > A 1:1 100         | retransmission spurious_retransmission
        """
    )


def test_keep_alive_and_its_answer() -> None:
    check(
        HANDSHAKE
        + """
        > A 1:1 100
        < A 1:101
        > A 100:1           | keep_alive
        < A 1:101           | keep_alive_ack
        > A 100:1 1         | keep_alive
        < A 1:101           | keep_alive_ack
        """
    )


def test_zero_window_probe_and_window_update() -> None:
    check(
        HANDSHAKE
        + """
        > A 1:1 1000        | window_full
        < A 1:1001 w0       | zero_window
        > A 1001:1 1        | zero_window_probe
        < A 1:1001 w0       | zero_window zero_window_probe_ack
        < A 1:1001 w2000    | window_update
        > A 1001:1 500
        """
    )


def test_windows_are_scaled_where_both_syns_agree() -> None:
    rows = found("> S 0 s7\n< SA 0:1 s3\n> A 1:1 w10\n< A 1:1 w10\n")
    assert rows["window"].tolist() == [1000, 1000, 1280, 80]
    rows = found("> S 0 s7\n< SA 0:1\n> A 1:1 w10\n< A 1:1 w10\n")
    assert rows["window"].tolist() == [1000, 1000, 10, 10]


def test_reused_ports_begin_a_stream() -> None:
    rows = check(
        HANDSHAKE
        + """
        > S 0               | retransmission
        > S 7000            | reused_ports
        < SA 9000:7001
        """
    )
    assert rows["stream"].tolist() == [0, 0, 0, 0, 1, 1]


def test_selectively_acknowledged_bytes_are_not_in_flight() -> None:
    rows = found(HANDSHAKE + "> A 1:1 100\n> A 101:1 100\n> A 201:1 100\n< A 1:1 k101-201\n> A 301:1 100\n")
    assert rows["bytes_in_flight"].tolist()[3:] == [100, 200, 300, -1, 300]


def test_acknowledged_unseen_is_said_once_until_the_other_side_speaks() -> None:
    check(
        HANDSHAKE
        + """
        < A 1:101           | ack_lost_segment
        < A 1:201
        < A 1:301
        > A 301:1 50        | lost_segment
        < A 1:351           | ack_lost_segment
        < A 1:401
        """
    )
    check(
        HANDSHAKE
        + """
        > A 1:1 100
        < A 1:101
        > A 201:1 100       | lost_segment
        < A 1:301           | ack_lost_segment
        < A 1:401           | ack_lost_segment
        > A 301:1 100       | retransmission spurious_retransmission
        < A 1:501
        """
    )
    check(
        """
        > A 1:1 100
        < A 1:201 10        | ack_lost_segment
        > A 201:11 100      | lost_segment
        < A 11:301 10       | ack_lost_segment
        < A 21:401 10       | ack_lost_segment
        < A 31:501 10
        """
    )


def test_push_bytes_run_to_the_next_push() -> None:
    rows = found(HANDSHAKE + "> A 1:1 100\n> PA 101:1 100\n> A 201:1 10\n")
    assert rows["push_bytes_sent"].tolist()[3:] == [100, 200, 10]


def test_from_the_middle_bytes_before_the_first_seen_are_in_flight_too() -> None:
    rows = found("> A 1001:1 1448\n< A 1:1000 k1001-2449\n> A 1000:1 1\n")
    assert rows["bytes_in_flight"].tolist() == [1448, -1, 1], "the base is one before the first byte seen"
    rows = found("> A 1001:1 10\n> A 991:1 10\n")
    assert rows["bytes_in_flight"].tolist() == [10, 10], "what lies before the base does not count"


def test_an_acknowledgment_of_bytes_cut_differently_counts_as_one_of_unseen_bytes() -> None:
    check(
        """
        > S 0
        > A 1:1
        > A 1:1             | duplicate_ack
        > A 1:1 10
        < A 1:11
        > A 11:1 1
        < A 1:11 w0         | zero_window
        < A 1:11            | window_update
        > A 11:1 536
        > PA 547:1 536
        < A 1:547           | ack_lost_segment
        < A 1:1083
        """
    )


def test_the_base_is_what_the_peer_acknowledges_before_anything_was_seen() -> None:
    rows = found("> S 0\n> A 1:991\n< A 1001:1 1448\n> A 1:991 k1001-2449\n< A 991:1 10\n")
    assert rows["bytes_in_flight"].tolist()[-1] == 10


def test_a_window_whose_scale_is_not_known_is_never_full() -> None:
    check("< A 1:1 w0          | zero_window\n> A 1:1\n> A 0:1 1           | keep_alive")
    check("< A 1:1 w100\n> A 1:1 100")
    check(HANDSHAKE + "< A 1:1 w100        | window_update\n> A 1:1 100         | window_full")
