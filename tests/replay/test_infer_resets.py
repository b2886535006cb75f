"""Which resets are obeyed, and what those prove that are not. Transcripts: see infer_playbook."""

from __future__ import annotations

from tests.replay.infer_playbook import check, check_established


def test_reset() -> None:
    """Both lose the connection."""
    check_established("""
        C RST,ACK 101 501
            C ESTABLISHED>CLOSE abort certain
            S ESTABLISHED>CLOSE rcv_rst provisional
    """)


def test_rst_out_of_the_window() -> None:
    """RFC 5961 section 3: answered with a challenge ACK."""
    check_established("""
        C RST 5000
            C ESTABLISHED>CLOSE abort certain
        S ACK 501 101
    """)


def test_rst_inside_the_window() -> None:
    """RFC 5961 section 3.2: not exactly the next byte, so a challenge ACK; who sent it lives on."""
    check_established("""
        C RST 200
            C ESTABLISHED>CLOSE abort certain
        S ACK 501 101
        wait 0.1
        C ACK,PSH 101 501 +10
            C CLOSE>ESTABLISHED unseen corrected
    """)


def test_rst_inside_a_scaled_window() -> None:
    """The same with RFC 7323 windows, then the exact one."""
    check("""
        C SYN 100 scale 7
            C CLOSE>SYN_SENT connect certain
        S SYN,ACK 500 101 scale 7
            S LISTEN>SYN_RECV rcv_syn certain
            C SYN_SENT>ESTABLISHED rcv_syn_ack provisional
        C ACK 101 501 win 2
            S SYN_RECV>ESTABLISHED rcv_ack_of_syn provisional
        S ACK,PSH 501 101 +10
        S RST,ACK 700 101
            S ESTABLISHED>CLOSE abort certain
        C ACK 101 511 win 2
        S RST,ACK 511 101
            C ESTABLISHED>CLOSE rcv_rst provisional
    """)


def test_rst_to_a_request_sock() -> None:
    """tcp_check_req() takes any RST in the window."""
    check("""
        C SYN 100
            C CLOSE>SYN_SENT connect certain
        S SYN,ACK 500 101
            S LISTEN>SYN_RECV rcv_syn certain
            C SYN_SENT>ESTABLISHED rcv_syn_ack provisional
        C RST 150
            C ESTABLISHED>SYN_SENT unseen corrected
            C SYN_SENT>CLOSE close certain
            S SYN_RECV>CLOSE rcv_rst provisional
    """)


def test_rst_to_a_socket_in_syn_recv() -> None:
    """After a simultaneous open it is a socket and wants the exact number."""
    check("""
        C SYN 100
            C CLOSE>SYN_SENT connect certain
        S SYN 500
            S CLOSE>SYN_SENT connect certain
            S SYN_SENT>SYN_RECV rcv_syn provisional
            C SYN_SENT>SYN_RECV rcv_syn provisional
        S RST 501
            S SYN_RECV>CLOSE abort certain
            C SYN_RECV>CLOSE rcv_rst provisional
    """)


def test_rst_with_the_number_of_the_fin() -> None:
    """tcp_reset_check()."""
    check_established("""
        C FIN,ACK 101 501
            C ESTABLISHED>FIN_WAIT1 close certain
            S ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        S ACK 501 102
            C FIN_WAIT1>FIN_WAIT2 rcv_ack_of_fin provisional
        C RST 101
            C FIN_WAIT2>CLOSE abort certain
            S CLOSE_WAIT>CLOSE rcv_rst provisional
    """)


def test_rst_lost() -> None:
    """The server speaks: it cannot have got the RST. The next one ends it."""
    check_established("""
        C RST,ACK 101 501
            C ESTABLISHED>CLOSE abort certain
            S ESTABLISHED>CLOSE rcv_rst provisional
        wait 1
        S ACK,PSH 501 101 +5
            S CLOSE>ESTABLISHED unseen corrected
        C RST 101
            S ESTABLISHED>CLOSE rcv_rst provisional
    """)


def test_a_forged_rst() -> None:
    """Who was reset goes on sending, and its peer goes on acknowledging: the RST was nobody's."""
    check_established("""
        C RST 101
            C ESTABLISHED>CLOSE abort certain
            S ESTABLISHED>CLOSE rcv_rst provisional
        C ACK,PSH 101 501 +5
        wait 0.2
        C ACK,PSH 101 501 +5
            C CLOSE>ESTABLISHED unseen corrected
        S ACK 501 106
            S CLOSE>ESTABLISHED unseen corrected
    """)


def test_abort_before_the_fin_came() -> None:
    """The RST acknowledges no FIN: the server was not in CLOSE_WAIT."""
    check_established("""
        C FIN,ACK 101 501
            C ESTABLISHED>FIN_WAIT1 close certain
            S ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        S RST,ACK 501 101
            S CLOSE_WAIT>ESTABLISHED unseen corrected
            S ESTABLISHED>CLOSE abort certain
            C FIN_WAIT1>CLOSE rcv_rst provisional
    """)


def test_data_to_an_orphan_in_fin_wait2() -> None:
    """tcp_timewait_state_process(): data after the close is answered with RST."""
    check_established("""
        C FIN,ACK 101 501
            C ESTABLISHED>FIN_WAIT1 close certain
            S ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        S ACK 501 102
            C FIN_WAIT1>FIN_WAIT2 rcv_ack_of_fin provisional
        S ACK,PSH 501 102 +10
        C RST 102
            C FIN_WAIT2>CLOSE abort certain
            S CLOSE_WAIT>CLOSE rcv_rst provisional
    """)


def test_rst_after_the_fins_crossed() -> None:
    """The number after the FIN that was under way is the exact one."""
    check_established("""
        C FIN,ACK 101 501
            C ESTABLISHED>FIN_WAIT1 close certain
            S ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        S FIN,ACK 501 101
            S CLOSE_WAIT>ESTABLISHED unseen corrected
            S ESTABLISHED>FIN_WAIT1 close certain
            S FIN_WAIT1>CLOSING rcv_fin provisional
            C FIN_WAIT1>CLOSING rcv_fin provisional
        C RST,ACK 102 502
            C CLOSING>CLOSE abort certain
            S CLOSING>CLOSE rcv_rst provisional
    """)
