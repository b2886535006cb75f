"""TIME_WAIT: what prolongs it, what ends it. Transcripts: see infer_playbook."""

from __future__ import annotations

from tests.replay.infer_playbook import check_established


def test_fin_again_in_time_wait() -> None:
    """The 60 s begin anew."""
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
        wait 30
        S FIN,ACK 501 102
            S CLOSE>LAST_ACK unseen corrected
        C ACK 102 502
            S LAST_ACK>CLOSE rcv_ack_of_fin provisional
        wait 40
        wait 21
            C TIME_WAIT>CLOSE timewait_timeout provisional
    """)


def test_old_segment_in_time_wait() -> None:
    """tcp_timewait_state_process(): the 60 s begin anew for anything with an ACK."""
    check_established("""
        C FIN,ACK 101 501
            C ESTABLISHED>FIN_WAIT1 close certain
            S ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        S FIN,ACK 501 102 +20
            S CLOSE_WAIT>LAST_ACK close certain
            C FIN_WAIT1>FIN_WAIT2 rcv_ack_of_fin provisional
            C FIN_WAIT2>TIME_WAIT rcv_fin provisional
        C ACK 102 522
            S LAST_ACK>CLOSE rcv_ack_of_fin provisional
        wait 30
        S ACK,PSH 501 102 +10
            S CLOSE>LAST_ACK unseen corrected
        wait 40
        wait 21
            C TIME_WAIT>CLOSE timewait_timeout provisional
    """)


def test_time_wait_on_both_sides() -> None:
    """After a simultaneous close both wait."""
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
        wait 60
            S TIME_WAIT>CLOSE timewait_timeout provisional
            C TIME_WAIT>CLOSE timewait_timeout provisional
    """)


def test_time_wait_reused_by_its_own_connect() -> None:
    """RFC 6191; tcp_twsk_unique()."""
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
        stream 2
        C SYN 90000
            C TIME_WAIT>CLOSE connect certain
            C CLOSE>SYN_SENT connect certain
        S SYN,ACK 70000 90001
            S LISTEN>SYN_RECV rcv_syn certain
            C SYN_SENT>ESTABLISHED rcv_syn_ack provisional
    """)


def test_syn_on_time_wait() -> None:
    """RFC 9293 section 3.6.1: a new SYN ends the waiting."""
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
        stream 2
        S SYN 90000
            C TIME_WAIT>CLOSE rcv_syn provisional
            S CLOSE>SYN_SENT connect certain
        C SYN,ACK 70000 90001
            C LISTEN>SYN_RECV rcv_syn certain
            S SYN_SENT>ESTABLISHED rcv_syn_ack provisional
        S ACK 90001 70001
            C SYN_RECV>ESTABLISHED rcv_ack_of_syn provisional
    """)


def test_old_syn_on_time_wait() -> None:
    """A SYN with an old number is answered with an ACK, and the RST for that ends the waiting."""
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
        stream 2
        S SYN 300
            S CLOSE>SYN_SENT connect certain
        C ACK 102 502
            C UNKNOWN>TIME_WAIT unseen provisional
        S RST 502
            C TIME_WAIT>CLOSE rcv_rst provisional
    """)


def test_rst_in_time_wait() -> None:
    """RFC 1337: the reset ends it early."""
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
        S RST 502
            C TIME_WAIT>CLOSE rcv_rst provisional
    """)
