"""Connections of which a part was not seen. Transcripts: see infer_playbook."""

from __future__ import annotations

from tests.replay.infer_playbook import check, check_established


def test_seen_from_the_middle() -> None:
    """Partly seen: ESTABLISHED is the first guess."""
    check("""
        C ACK,PSH 101 501 +10
            C UNKNOWN>ESTABLISHED unseen provisional
            S UNKNOWN>ESTABLISHED unseen provisional
        S ACK 501 111
        S FIN,ACK 501 111
            S ESTABLISHED>FIN_WAIT1 close certain
            C ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        C ACK 111 502
            S FIN_WAIT1>FIN_WAIT2 rcv_ack_of_fin provisional
        C FIN,ACK 111 502
            C CLOSE_WAIT>LAST_ACK close certain
            S FIN_WAIT2>TIME_WAIT rcv_fin provisional
        S ACK 502 112
            C LAST_ACK>CLOSE rcv_ack_of_fin provisional
    """)


def test_seen_from_a_fin_on() -> None:
    """The peer may have closed before: FIN_WAIT1 stays provisional."""
    check("""
        C FIN,ACK 101 501
            C UNKNOWN>ESTABLISHED unseen provisional
            C ESTABLISHED>FIN_WAIT1 close provisional
            S UNKNOWN>ESTABLISHED unseen provisional
            S ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        S ACK 501 102
            C FIN_WAIT1>FIN_WAIT2 rcv_ack_of_fin provisional
        S FIN,ACK 501 102
            S CLOSE_WAIT>LAST_ACK close certain
            C FIN_WAIT2>TIME_WAIT rcv_fin provisional
        C ACK 102 502
            S LAST_ACK>CLOSE rcv_ack_of_fin provisional
    """)


def test_only_one_side_captured() -> None:
    """The other end follows from what is acknowledged."""
    check("""
        C SYN 100
            C CLOSE>SYN_SENT connect certain
        C ACK 101 501
            C SYN_SENT>ESTABLISHED rcv_syn_ack certain
            S UNKNOWN>ESTABLISHED unseen provisional
        C ACK,PSH 101 501 +10
        C ACK 111 900
        C FIN,ACK 111 900
            C ESTABLISHED>FIN_WAIT1 close provisional
            S ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        C ACK 112 901
    """)


def test_only_the_other_side_captured() -> None:
    """Who is answered has asked."""
    check("""
        S SYN,ACK 500 101
            S LISTEN>SYN_RECV rcv_syn certain
            C UNKNOWN>SYN_SENT unseen certain
            C SYN_SENT>ESTABLISHED rcv_syn_ack provisional
        S ACK,PSH 501 111 +10
            S SYN_RECV>ESTABLISHED rcv_ack_of_syn certain
        S ACK 511 112
        S FIN,ACK 511 112
            S ESTABLISHED>FIN_WAIT1 close provisional
            C ESTABLISHED>CLOSE_WAIT rcv_fin provisional
    """)


def test_challenge_ack() -> None:
    """RFC 5961 section 4: a SYN in the middle of a connection."""
    check_established("""
        stream 2
        C SYN 9000
            C ESTABLISHED>CLOSE unseen certain
            C CLOSE>SYN_SENT connect certain
        S ACK 501 101
            S UNKNOWN>ESTABLISHED unseen provisional
        C RST 101
            S ESTABLISHED>CLOSE rcv_rst provisional
    """)


def test_keep_alive() -> None:
    """An old sequence number brings an ACK and no change."""
    check_established("""
        wait 100
        C ACK 100 501
        S ACK 501 101
    """)


def test_an_ack_of_what_was_never_sent() -> None:
    """Is not taken at its word."""
    check_established("""
        C ACK 101 99999999
        S FIN,ACK 501 101
            S ESTABLISHED>FIN_WAIT1 close certain
            C ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        C ACK 101 502
            S FIN_WAIT1>FIN_WAIT2 rcv_ack_of_fin provisional
    """)


def test_the_fin_of_the_peer_may_be_unseen() -> None:
    """A bare ACK stands behind something that the capture lacks. If that was a FIN, this is LAST_ACK."""
    check_established("""
        C ACK 102 501
        S FIN,ACK 501 102
            S ESTABLISHED>FIN_WAIT1 close provisional
            C ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        C ACK 102 502
            S FIN_WAIT1>FIN_WAIT2 rcv_ack_of_fin provisional
    """)


def test_a_capture_that_begins_at_the_end_of_the_handshake() -> None:
    """The SYN-ACK again: the server had not got the ACK. A bare ACK of its own proves nothing."""
    check("""
        C ACK 101 501
            C UNKNOWN>ESTABLISHED unseen provisional
            S UNKNOWN>ESTABLISHED unseen provisional
        wait 1
        S SYN,ACK 500 101
            S ESTABLISHED>SYN_RECV unseen corrected
        C ACK 101 501
            S SYN_RECV>ESTABLISHED rcv_ack_of_syn provisional
        S ACK 501 101
        wait 1
        S SYN,ACK 500 101
            S ESTABLISHED>SYN_RECV unseen corrected
    """)


def test_a_fin_that_was_sent_before() -> None:
    """Its number was in use before: it may have been FIN_WAIT1 and CLOSING before."""
    check_established("""
        S FIN,ACK 501 101
            S ESTABLISHED>FIN_WAIT1 close certain
            C ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        C ACK 102 502
            S FIN_WAIT1>FIN_WAIT2 rcv_ack_of_fin provisional
        C FIN,ACK 101 502
            C CLOSE_WAIT>LAST_ACK close provisional
            S FIN_WAIT2>TIME_WAIT rcv_fin provisional
    """)


def test_no_handshake_no_reaction_time() -> None:
    """Sent again so soon, it may have been under way: nothing is withdrawn."""
    check("""
        C ACK,PSH 101 501 +10
            C UNKNOWN>ESTABLISHED unseen provisional
            S UNKNOWN>ESTABLISHED unseen provisional
        S ACK 501 111
        C ACK 111 501
        C FIN,ACK 111 501
            C ESTABLISHED>FIN_WAIT1 close provisional
            S ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        S ACK 501 112
            C FIN_WAIT1>FIN_WAIT2 rcv_ack_of_fin provisional
        C FIN,ACK 111 501
    """)


def test_received_all_the_same() -> None:
    """What the capture lacks the client has: it acknowledges the FIN. It may have sent its own before."""
    check("""
        C ACK,PSH 101 501 +10
            C UNKNOWN>ESTABLISHED unseen provisional
            S UNKNOWN>ESTABLISHED unseen provisional
        S ACK 501 111
        S FIN,ACK 601 111
            S ESTABLISHED>FIN_WAIT1 close certain
        C ACK,PSH 101 602 +10
            C ESTABLISHED>CLOSE_WAIT rcv_fin provisional
            S FIN_WAIT1>FIN_WAIT2 rcv_ack_of_fin provisional
    """)


def test_a_fin_before_the_first_segment() -> None:
    """The bare ACK may stand behind a FIN: provisional."""
    check("""
        C ACK 102 501
            C UNKNOWN>ESTABLISHED unseen provisional
            S UNKNOWN>ESTABLISHED unseen provisional
        S ACK 501 102
        S ACK,PSH 501 102 +10
        S FIN,ACK 511 102
            S ESTABLISHED>FIN_WAIT1 close provisional
            C ESTABLISHED>CLOSE_WAIT rcv_fin provisional
    """)


def test_a_fin_that_may_have_gone_before() -> None:
    """Nothing tells that this is the first copy: provisional."""
    check("""
        C ACK,PSH 101 501 +10
            C UNKNOWN>ESTABLISHED unseen provisional
            S UNKNOWN>ESTABLISHED unseen provisional
        S ACK,PSH 501 111 +10
        C FIN,ACK 111 511
            C ESTABLISHED>FIN_WAIT1 close provisional
            S ESTABLISHED>CLOSE_WAIT rcv_fin provisional
    """)


def test_a_fin_among_the_acknowledged() -> None:
    """Twenty bytes that nobody saw may have ended in a FIN: provisional."""
    check_established("""
        C ACK 101 521
        C FIN,ACK 101 521
            C ESTABLISHED>FIN_WAIT1 close provisional
            S ESTABLISHED>CLOSE_WAIT rcv_fin provisional
    """)


def test_a_gap_that_was_acknowledged() -> None:
    """The capture lacks a segment that arrived."""
    check_established("""
        C ACK,PSH 111 501 +10
        S ACK 501 121
        C FIN,ACK 121 501
            C ESTABLISHED>FIN_WAIT1 close certain
            S ESTABLISHED>CLOSE_WAIT rcv_fin provisional
    """)
