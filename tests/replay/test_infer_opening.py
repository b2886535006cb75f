"""How connections open: handshakes, lost and refused ones, fast open. Transcripts: see infer_playbook."""

from __future__ import annotations

from tests.replay.infer_playbook import check, check_established


def test_simultaneous_open() -> None:
    """RFC 9293 figure 7."""
    check("""
        C SYN 100
            C CLOSE>SYN_SENT connect certain
        S SYN 500
            S CLOSE>SYN_SENT connect certain
            S SYN_SENT>SYN_RECV rcv_syn provisional
            C SYN_SENT>SYN_RECV rcv_syn provisional
        C SYN,ACK 100 501
            S SYN_RECV>ESTABLISHED rcv_ack_of_syn provisional
        S SYN,ACK 500 101
            C SYN_RECV>ESTABLISHED rcv_ack_of_syn provisional
        C ACK 101 501
    """)


def test_refused() -> None:
    """The server never had a connection."""
    check("""
        C SYN 100
            C CLOSE>SYN_SENT connect certain
        S RST,ACK 0 101
            S UNKNOWN>CLOSE unseen certain
            C SYN_SENT>CLOSE rcv_rst provisional
    """)


def test_an_rst_with_a_wrong_ack_refuses_nothing() -> None:
    """RFC 9293 section 3.10.7.3: SYN_SENT takes an RST only for its own SYN."""
    check("""
        C SYN 100
            C CLOSE>SYN_SENT connect certain
        S RST,ACK 0 999
            S UNKNOWN>CLOSE unseen certain
        C SYN 100
    """)


def test_an_rst_without_ack_refuses_nothing() -> None:
    """RFC 9293 section 3.10.7.3."""
    check("""
        C SYN 100
            C CLOSE>SYN_SENT connect certain
        S RST 0
            S UNKNOWN>CLOSE unseen certain
        C SYN 100
    """)


def test_syn_sent_again() -> None:
    """Nothing was deduced from the first SYN."""
    check("""
        C SYN 100
            C CLOSE>SYN_SENT connect certain
        wait 1
        C SYN 100
        S SYN,ACK 500 101
            S LISTEN>SYN_RECV rcv_syn certain
            C SYN_SENT>ESTABLISHED rcv_syn_ack provisional
    """)


def test_syn_ack_lost() -> None:
    """The client asks again: it cannot have got the SYN-ACK."""
    check("""
        C SYN 100
            C CLOSE>SYN_SENT connect certain
        S SYN,ACK 500 101
            S LISTEN>SYN_RECV rcv_syn certain
            C SYN_SENT>ESTABLISHED rcv_syn_ack provisional
        wait 1
        C SYN 100
            C ESTABLISHED>SYN_SENT unseen corrected
        S SYN,ACK 500 101
            C SYN_SENT>ESTABLISHED rcv_syn_ack provisional
        C ACK 101 501
            S SYN_RECV>ESTABLISHED rcv_ack_of_syn provisional
    """)


def test_ack_of_the_handshake_lost() -> None:
    """The server answers again: it is in SYN_RECV still."""
    check_established("""
        wait 1
        S SYN,ACK 500 101
            S ESTABLISHED>SYN_RECV unseen corrected
        C ACK 101 501
            S SYN_RECV>ESTABLISHED rcv_ack_of_syn provisional
        S ACK,PSH 501 101 +5
    """)


def test_no_one_waits_for_the_syn_ack() -> None:
    """The client gave up in silence: its RST tells that it was not ESTABLISHED."""
    check("""
        C SYN 100
            C CLOSE>SYN_SENT connect certain
        S SYN,ACK 500 101
            S LISTEN>SYN_RECV rcv_syn certain
            C SYN_SENT>ESTABLISHED rcv_syn_ack provisional
        C RST 501
            C ESTABLISHED>SYN_SENT unseen corrected
            C SYN_SENT>CLOSE close certain
            S SYN_RECV>CLOSE rcv_rst provisional
    """)


def test_the_server_forgot_the_first_syn() -> None:
    """Another initial number: another request sock."""
    check("""
        C SYN 100
            C CLOSE>SYN_SENT connect certain
        S SYN,ACK 500 101
            S LISTEN>SYN_RECV rcv_syn certain
            C SYN_SENT>ESTABLISHED rcv_syn_ack provisional
        wait 1
        C SYN 100
            C ESTABLISHED>SYN_SENT unseen corrected
        S SYN,ACK 900 101
            S SYN_RECV>CLOSE unseen certain
            S LISTEN>SYN_RECV rcv_syn certain
            C SYN_SENT>ESTABLISHED rcv_syn_ack provisional
    """)


def test_wrong_ack_in_syn_recv() -> None:
    """RFC 9293 section 3.10.7.4: answered with RST, nothing changes."""
    check("""
        C SYN 100
            C CLOSE>SYN_SENT connect certain
        S SYN,ACK 500 101
            S LISTEN>SYN_RECV rcv_syn certain
            C SYN_SENT>ESTABLISHED rcv_syn_ack provisional
        C ACK 101 999
        S RST 999
        C ACK 101 501
            S SYN_RECV>ESTABLISHED rcv_ack_of_syn provisional
    """)


def test_fast_open() -> None:
    """RFC 7413: data in the SYN, data before the ACK of the SYN-ACK."""
    check("""
        C SYN 100 +10
            C CLOSE>SYN_SENT connect certain
        S SYN,ACK 500 111
            S LISTEN>SYN_RECV rcv_syn certain
            C SYN_SENT>ESTABLISHED rcv_syn_ack provisional
        S ACK,PSH 501 111 +20
        C ACK 111 521
            S SYN_RECV>ESTABLISHED rcv_ack_of_syn provisional
        S FIN,ACK 521 111
            S ESTABLISHED>FIN_WAIT1 close certain
            C ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        C FIN,ACK 111 522
            C CLOSE_WAIT>LAST_ACK close certain
            S FIN_WAIT1>FIN_WAIT2 rcv_ack_of_fin provisional
            S FIN_WAIT2>TIME_WAIT rcv_fin provisional
    """)


def test_fast_open_closed_in_syn_recv() -> None:
    """RFC 9293 section 3.10.4: CLOSE in SYN-RECEIVED."""
    check("""
        C SYN 100 +10
            C CLOSE>SYN_SENT connect certain
        S SYN,ACK 500 111
            S LISTEN>SYN_RECV rcv_syn certain
            C SYN_SENT>ESTABLISHED rcv_syn_ack provisional
        S FIN,ACK 501 111
            S SYN_RECV>FIN_WAIT1 close certain
            C ESTABLISHED>CLOSE_WAIT rcv_fin provisional
        C ACK 111 502
            S FIN_WAIT1>FIN_WAIT2 rcv_ack_of_fin provisional
    """)


def test_nobody_answers() -> None:
    """RFC 9293 section 3.8.3: after three minutes at the latest."""
    check("""
        C SYN 100
            C CLOSE>SYN_SENT connect certain
        wait 1
        C SYN 100
        wait 181
            C SYN_SENT>CLOSE timeout provisional
    """)


def test_nobody_completes_the_handshake() -> None:
    """The same for SYN_RECV."""
    check("""
        C SYN 100
            C CLOSE>SYN_SENT connect certain
        S SYN,ACK 500 101
            S LISTEN>SYN_RECV rcv_syn certain
            C SYN_SENT>ESTABLISHED rcv_syn_ack provisional
        wait 1
        S SYN,ACK 500 101
        wait 200
            S SYN_RECV>CLOSE timeout provisional
    """)


def test_an_old_number_does_not_complete_the_handshake() -> None:
    """tcp_check_req(): out of the window, answered with an ACK."""
    check("""
        C SYN 100
            C CLOSE>SYN_SENT connect certain
        S SYN,ACK 500 101
            S LISTEN>SYN_RECV rcv_syn certain
            C SYN_SENT>ESTABLISHED rcv_syn_ack provisional
        C ACK 100 501
        S ACK 501 101
    """)


def test_a_stray_syn_ack_long_after() -> None:
    """Data has shown that the handshake is over."""
    check_established("""
        C ACK,PSH 101 501 +10
        S ACK 501 111
        wait 1
        S SYN,ACK 500 101
    """)
