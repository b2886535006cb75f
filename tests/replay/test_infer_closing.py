"""How connections close: FINs lost, crossed and out of order. Transcripts: see infer_playbook."""

from __future__ import annotations

from tests.replay.infer_playbook import check, check_established


def test_the_usual_life() -> None:
    """Both ends, data both ways, and TIME_WAIT to its end."""
    check("""
        C SYN 100
            C CLOSE>SYN_SENT connect certain
        S SYN,ACK 500 101
            S LISTEN>SYN_RECV rcv_syn certain
            C SYN_SENT>ESTABLISHED rcv_syn_ack provisional
        C ACK 101 501
            S SYN_RECV>ESTABLISHED rcv_ack_of_syn provisional
        C ACK,PSH 101 501 +10
        S ACK 501 111
        S ACK,PSH 501 111 +20
        C FIN,ACK 111 521
            C ESTABLISHED>FIN_WAIT1 close certain
            S ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        S ACK 521 112
            C FIN_WAIT1>FIN_WAIT2 rcv_ack_of_fin provisional
        S FIN,ACK 521 112
            S CLOSE_WAIT>LAST_ACK close certain
            C FIN_WAIT2>TIME_WAIT rcv_fin provisional
        C ACK 112 522
            S LAST_ACK>CLOSE rcv_ack_of_fin provisional
        wait 60
            C TIME_WAIT>CLOSE timewait_timeout provisional
    """)


def test_half_close() -> None:
    """The server sends no more but still receives."""
    check_established("""
        S FIN,ACK 501 101
            S ESTABLISHED>FIN_WAIT1 close certain
            C ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        C ACK 101 502
            S FIN_WAIT1>FIN_WAIT2 rcv_ack_of_fin provisional
        C ACK,PSH 101 502 +10
        S ACK 502 111
        C FIN,ACK 111 502
            C CLOSE_WAIT>LAST_ACK close certain
            S FIN_WAIT2>TIME_WAIT rcv_fin provisional
        S ACK 502 112
            C LAST_ACK>CLOSE rcv_ack_of_fin provisional
    """)


def test_ack_and_fin_in_one_segment() -> None:
    """RFC 9293 section 3.10.7.4: FIN_WAIT1 goes to FIN_WAIT2 by the ACK and on by the FIN."""
    check_established("""
        C FIN,ACK 101 501 +30
            C ESTABLISHED>FIN_WAIT1 close certain
            S ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        S FIN,ACK 501 132
            S CLOSE_WAIT>LAST_ACK close certain
            C FIN_WAIT1>FIN_WAIT2 rcv_ack_of_fin provisional
            C FIN_WAIT2>TIME_WAIT rcv_fin provisional
        C ACK 132 502
            S LAST_ACK>CLOSE rcv_ack_of_fin provisional
    """)


def test_simultaneous_close() -> None:
    """RFC 9293 figure 13: the capture first takes the server for passive, until its FIN acknowledges none."""
    check_established("""
        C FIN,ACK 101 501
            C ESTABLISHED>FIN_WAIT1 close certain
            S ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        S FIN,ACK 501 101
            S CLOSE_WAIT>ESTABLISHED unseen corrected
            S ESTABLISHED>FIN_WAIT1 close certain
            S FIN_WAIT1>CLOSING rcv_fin provisional
            C FIN_WAIT1>CLOSING rcv_fin provisional
        C ACK 102 502
            S CLOSING>TIME_WAIT rcv_ack_of_fin provisional
        S ACK 502 102
            C CLOSING>TIME_WAIT rcv_ack_of_fin provisional
    """)


def test_fin_lost() -> None:
    """The client sends its FIN again, so the server had not received it; now it may have."""
    check_established("""
        C FIN,ACK 101 501
            C ESTABLISHED>FIN_WAIT1 close certain
            S ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        wait 0.3
        C FIN,ACK 101 501
            S CLOSE_WAIT>ESTABLISHED unseen corrected
            S ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        S ACK 501 102
            C FIN_WAIT1>FIN_WAIT2 rcv_ack_of_fin provisional
    """)


def test_a_fin_that_comes_twice_at_once() -> None:
    """No retransmission is that quick: a copy made on the way."""
    check_established("""
        C FIN,ACK 101 501
            C ESTABLISHED>FIN_WAIT1 close certain
            S ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        C FIN,ACK 101 501
        S ACK 501 102
            C FIN_WAIT1>FIN_WAIT2 rcv_ack_of_fin provisional
        C ACK 102 501
    """)


def test_ack_of_the_fin_lost() -> None:
    """The FIN again: it is not acknowledged after all."""
    check_established("""
        C FIN,ACK 101 501
            C ESTABLISHED>FIN_WAIT1 close certain
            S ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        S ACK 501 102
            C FIN_WAIT1>FIN_WAIT2 rcv_ack_of_fin provisional
        wait 0.3
        C FIN,ACK 101 501
            C FIN_WAIT2>FIN_WAIT1 unseen corrected
        S ACK 501 102
            C FIN_WAIT1>FIN_WAIT2 rcv_ack_of_fin provisional
        S FIN,ACK 501 102
            S CLOSE_WAIT>LAST_ACK close certain
            C FIN_WAIT2>TIME_WAIT rcv_fin provisional
        C ACK 102 502
            S LAST_ACK>CLOSE rcv_ack_of_fin provisional
    """)


def test_last_ack_lost() -> None:
    """LAST_ACK sends its FIN again, and TIME_WAIT acknowledges again."""
    check_established("""
        C FIN,ACK 101 501
            C ESTABLISHED>FIN_WAIT1 close certain
            S ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        S FIN,ACK 501 102
            S CLOSE_WAIT>LAST_ACK close certain
            C FIN_WAIT1>FIN_WAIT2 rcv_ack_of_fin provisional
            C FIN_WAIT2>TIME_WAIT rcv_fin provisional
        C ACK 102 502
            S LAST_ACK>CLOSE rcv_ack_of_fin provisional
        wait 0.3
        S FIN,ACK 501 102
            S CLOSE>LAST_ACK unseen corrected
        C ACK 102 502
            S LAST_ACK>CLOSE rcv_ack_of_fin provisional
    """)


def test_data_before_the_fin_lost() -> None:
    """The FIN cannot be taken before the data."""
    check_established("""
        C ACK,PSH 101 501 +10
        C FIN,ACK 111 501
            C ESTABLISHED>FIN_WAIT1 close certain
            S ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        wait 0.3
        C ACK,PSH 101 501 +10
            S CLOSE_WAIT>ESTABLISHED unseen corrected
        S ACK 501 112
            S ESTABLISHED>CLOSE_WAIT rcv_fin certain
            C FIN_WAIT1>FIN_WAIT2 rcv_ack_of_fin provisional
    """)


def test_fin_before_data() -> None:
    """A FIN beyond a gap counts when the gap is filled."""
    check_established("""
        C FIN,ACK 111 501
            C ESTABLISHED>FIN_WAIT1 close certain
        C ACK,PSH 101 501 +10
            S ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        S ACK 501 112
            C FIN_WAIT1>FIN_WAIT2 rcv_ack_of_fin provisional
    """)


def test_everything_the_wrong_way_round() -> None:
    """The FIN first, then what is before it, backwards."""
    check_established("""
        C FIN,ACK 121 501
            C ESTABLISHED>FIN_WAIT1 close certain
        C ACK,PSH 111 501 +10
        C ACK,PSH 101 501 +10
            S ESTABLISHED>CLOSE_WAIT rcv_fin provisional
    """)


def test_a_fin_beyond_the_window() -> None:
    """RFC 9293 section 3.10.7.4, first check: it is not even looked at."""
    check_established("""
        S ACK 501 101 win 10
        C FIN,ACK 200 501
            C ESTABLISHED>FIN_WAIT1 close certain
        S ACK 501 101 win 10
        C ACK,PSH 101 501 +99
        S ACK 501 201
            S ESTABLISHED>CLOSE_WAIT rcv_fin certain
            C FIN_WAIT1>FIN_WAIT2 rcv_ack_of_fin provisional
    """)


def test_the_peer_closes_without_having_got_the_fin() -> None:
    """Long after: not a crossing, the FIN was lost."""
    check_established("""
        C FIN,ACK 101 501
            C ESTABLISHED>FIN_WAIT1 close certain
            S ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        wait 0.5
        S FIN,ACK 501 101
            S CLOSE_WAIT>ESTABLISHED unseen corrected
            S ESTABLISHED>FIN_WAIT1 close certain
            C FIN_WAIT1>CLOSING rcv_fin provisional
        C ACK 102 502
            S FIN_WAIT1>FIN_WAIT2 rcv_ack_of_fin provisional
    """)


def test_sequence_numbers_wrap() -> None:
    """Modulo 2**32."""
    check("""
        C SYN 4294967290
            C CLOSE>SYN_SENT connect certain
        S SYN,ACK 4294967295 4294967291
            S LISTEN>SYN_RECV rcv_syn certain
            C SYN_SENT>ESTABLISHED rcv_syn_ack provisional
        C ACK 4294967291 0
            S SYN_RECV>ESTABLISHED rcv_ack_of_syn provisional
        C ACK,PSH 4294967291 0 +10
        C FIN,ACK 5 0
            C ESTABLISHED>FIN_WAIT1 close certain
            S ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        S ACK 0 6
            C FIN_WAIT1>FIN_WAIT2 rcv_ack_of_fin provisional
        S FIN,ACK 0 6
            S CLOSE_WAIT>LAST_ACK close certain
            C FIN_WAIT2>TIME_WAIT rcv_fin provisional
        C ACK 6 1
            S LAST_ACK>CLOSE rcv_ack_of_fin provisional
    """)


def test_closing_sends_its_fin_again() -> None:
    """It has the FIN of its peer, so it goes back to CLOSING, not to FIN_WAIT1."""
    check_established("""
        C FIN,ACK 101 501
            C ESTABLISHED>FIN_WAIT1 close certain
            S ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        S FIN,ACK 501 101
            S CLOSE_WAIT>ESTABLISHED unseen corrected
            S ESTABLISHED>FIN_WAIT1 close certain
            S FIN_WAIT1>CLOSING rcv_fin provisional
            C FIN_WAIT1>CLOSING rcv_fin provisional
        C ACK 102 502
            S CLOSING>TIME_WAIT rcv_ack_of_fin provisional
        S ACK 502 102
            C CLOSING>TIME_WAIT rcv_ack_of_fin provisional
        wait 0.3
        C FIN,ACK 101 502
            C TIME_WAIT>CLOSING unseen corrected
        S ACK 502 102
            C CLOSING>TIME_WAIT rcv_ack_of_fin provisional
    """)


def test_fin_again_while_the_ack_is_under_way() -> None:
    """Sent before this ACK could come: no contradiction."""
    check_established("""
        C FIN,ACK 101 501
            C ESTABLISHED>FIN_WAIT1 close certain
            S ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        S FIN,ACK 501 102
            S CLOSE_WAIT>LAST_ACK close certain
            C FIN_WAIT1>FIN_WAIT2 rcv_ack_of_fin provisional
            C FIN_WAIT2>TIME_WAIT rcv_fin provisional
        C ACK 102 502
            S LAST_ACK>CLOSE rcv_ack_of_fin provisional
        wait 0.3
        C ACK 102 502
        S FIN,ACK 501 102
    """)
