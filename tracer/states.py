"""The states of a TCP connection and every lawful way between them, as one table.

RFC 9293 section 3.3.2 gives eleven states and figure 5 draws the ways between them. Linux adds objects rather than
rules: a connection being opened passively lives in a *request sock* (NEW_SYN_RECV) before it is a socket, and one that
waits lives in a small *TIME_WAIT object* whose substate is TIME_WAIT or, for an orphan, FIN_WAIT2. The table below is
the only place where the ways are written down. The validator, the state diagram, the inference, the quiz and the docs
all read it, and none of it knows which side is local: both peers obey the same rows.

Numbers and machine names are the kernel's (include/net/tcp_states.h), so that a probe's byte is a state without a map.
"""

# ruff: noqa: E501 (a row of the table is a line)
from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple


class State(IntEnum):
    """One endpoint's state; values are the kernel's, 0 stands for "not known"."""

    UNKNOWN = 0
    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECV = 3
    FIN_WAIT1 = 4
    FIN_WAIT2 = 5
    TIME_WAIT = 6
    CLOSE = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11
    NEW_SYN_RECV = 12


def as_state(number: int) -> State:
    """The state with the kernel's ``number``; UNKNOWN for one that is not in the table (a later kernel's)."""
    try:
        return State(number)
    except ValueError:
        return State.UNKNOWN


class StateInfo(NamedTuple):
    """How a state is written and what group it belongs to."""

    state: State
    label: str
    """The RFC's name, for people: CLOSED where the kernel says CLOSE."""
    code: str
    """Two letters for narrow places; always printed where it fits."""
    ss: str
    """What ``ss -t state NAME`` calls it."""
    group: str
    """opening, open, we-close, peer-closes, waiting, closed or unknown: one colour each."""
    meaning: str
    """One sentence in the words of RFC 9293 section 3.3.2."""


STATES: Final[dict[State, StateInfo]] = {
    row.state: row
    for row in (
        StateInfo(State.UNKNOWN, "?", "??", "unknown", "unknown", "Not seen yet: nothing is known of this side."),
        StateInfo(State.CLOSE, "CLOSED", "--", "closed", "closed", "No connection."),
        StateInfo(State.LISTEN, "LISTEN", "LI", "listening", "opening", "Waits for connection requests from any peer."),
        StateInfo(State.SYN_SENT, "SYN_SENT", "SS", "syn-sent", "opening", "Has sent a SYN and waits for the peer's."),
        StateInfo(
            State.NEW_SYN_RECV,
            "NEW_SYN_RECV",
            "NR",
            "syn-recv",
            "opening",
            "A request sock in the SYN queue: SYN received, SYN-ACK sent, no full socket yet.",
        ),
        StateInfo(
            State.SYN_RECV,
            "SYN_RECV",
            "SR",
            "syn-recv",
            "opening",
            "Has received and sent a SYN and waits for the ACK of its own.",
        ),
        StateInfo(State.ESTABLISHED, "ESTABLISHED", "ES", "established", "open", "Open: data flows both ways."),
        StateInfo(
            State.FIN_WAIT1,
            "FIN_WAIT1",
            "F1",
            "fin-wait-1",
            "we-close",
            "Has sent its FIN; waits for the ACK of it or for the peer's FIN.",
        ),
        StateInfo(
            State.FIN_WAIT2,
            "FIN_WAIT2",
            "F2",
            "fin-wait-2",
            "we-close",
            "Its FIN is acknowledged: sends no more, still receives; waits for the peer's FIN.",
        ),
        StateInfo(
            State.CLOSING,
            "CLOSING",
            "CG",
            "closing",
            "we-close",
            "Both have sent FINs that crossed; waits for the ACK of its own.",
        ),
        StateInfo(
            State.TIME_WAIT,
            "TIME_WAIT",
            "TW",
            "time-wait",
            "waiting",
            "Both FINs are acknowledged; waits so that a lost last ACK can be answered and old segments die out.",
        ),
        StateInfo(
            State.CLOSE_WAIT,
            "CLOSE_WAIT",
            "CW",
            "close-wait",
            "peer-closes",
            "The peer has sent its FIN; waits for the local program to close.",
        ),
        StateInfo(
            State.LAST_ACK,
            "LAST_ACK",
            "LA",
            "last-ack",
            "peer-closes",
            "Has sent its FIN after the peer's; waits for the last ACK.",
        ),
    )
}
"""Every state, in the order of a life."""


def parse_state(word: str) -> State:
    """The state a user means: kernel (FIN_WAIT1), RFC (FIN-WAIT-1, CLOSED) or ``ss`` (fin-wait-1) spelling, any case.

    Raises ValueError with one sentence when there is no such state.
    """
    plain = word.strip().upper().replace("-", "_")
    for row in STATES.values():
        if plain in (row.state.name, row.label, row.code):
            return row.state
    for row in STATES.values():  # in ss, request socks and sockets are both syn-recv: the socket was found above
        if plain == row.ss.upper().replace("-", "_"):
            return row.state
    known = ", ".join(row.ss for row in STATES.values() if row.state)
    raise ValueError(f"no TCP state is called {word!r}; there are: {known}")


SS_GROUPS: Final[dict[str, frozenset[State]]] = {
    "all": frozenset(State) - {State.UNKNOWN},
    "connected": frozenset(State) - {State.UNKNOWN, State.LISTEN, State.CLOSE},
    "synchronized": frozenset(State) - {State.UNKNOWN, State.LISTEN, State.CLOSE, State.SYN_SENT},
    "bucket": frozenset({State.NEW_SYN_RECV, State.SYN_RECV, State.TIME_WAIT}),
    "big": frozenset(State) - {State.UNKNOWN, State.NEW_SYN_RECV, State.SYN_RECV, State.TIME_WAIT},
}
"""The groups of ss(8), for filters."""


class Trigger(IntEnum):
    """What moves an endpoint: a call of its own program, a segment from its peer, or a timer."""

    LISTEN = 1
    CONNECT = 2
    CLOSE = 3
    ABORT = 4
    RCV_SYN = 10
    RCV_SYN_ACK = 11
    RCV_ACK_OF_SYN = 12
    RCV_FIN = 13
    RCV_ACK_OF_FIN = 14
    RCV_FIN_AND_ACK = 15
    RCV_RST = 16
    TIMEOUT = 20
    TIMEWAIT_TIMEOUT = 21
    HANDOVER = 30
    ACCEPT_QUEUE_FULL = 31

    @property
    def by_call(self) -> bool:
        """The local program asked for it."""
        return self < Trigger.RCV_SYN

    @property
    def by_segment(self) -> bool:
        """A segment from the peer brought it about."""
        return Trigger.RCV_SYN <= self <= Trigger.RCV_RST


class Transition(NamedTuple):
    """One lawful way from a state to the next."""

    state: State
    trigger: Trigger
    next: State
    sends: str
    """The segment this endpoint sends because of it, "" for none."""
    rfc: str
    """Where RFC 9293 (or the kernel function) says so."""
    why: str
    """One sentence for people."""


S, T = State, Trigger
_LOOK = "RFC 9293 §3.10.7.4"

TRANSITIONS: Final[tuple[Transition, ...]] = (
    # Opening
    Transition(S.CLOSE, T.LISTEN, S.LISTEN, "", "RFC 9293 §3.10.1", "listen() opens passively: a SYN queue and an accept queue come to exist."),
    Transition(S.CLOSE, T.CONNECT, S.SYN_SENT, "SYN", "RFC 9293 §3.10.1", "connect() opens actively: a SYN leaves."),
    Transition(S.CLOSE, T.RCV_SYN, S.NEW_SYN_RECV, "SYN,ACK", "RFC 9293 §3.10.7.2; tcp_conn_request()", "A SYN reached a listener: the kernel keeps a request sock in the SYN queue and answers SYN-ACK."),
    Transition(S.LISTEN, T.RCV_SYN, S.NEW_SYN_RECV, "SYN,ACK", "RFC 9293 §3.10.7.2; tcp_conn_request()", "A SYN reached a listener: the kernel keeps a request sock in the SYN queue and answers SYN-ACK."),
    Transition(S.NEW_SYN_RECV, T.RCV_ACK_OF_SYN, S.SYN_RECV, "", "tcp_check_req(), tcp_create_openreq_child()", "The ACK of our SYN came: the kernel makes the full socket as a copy of its listener."),
    Transition(S.LISTEN, T.RCV_ACK_OF_SYN, S.SYN_RECV, "", "tcp_check_req(), tcp_create_openreq_child()", "The ACK of our SYN came: the kernel makes the full socket as a copy of its listener."),
    Transition(S.NEW_SYN_RECV, T.RCV_ACK_OF_SYN, S.ESTABLISHED, "", _LOOK, "The ACK of our SYN came: the handshake is complete."),
    Transition(S.NEW_SYN_RECV, T.RCV_RST, S.CLOSE, "", _LOOK, "The peer reset the half-open connection: the request sock is dropped."),
    Transition(S.NEW_SYN_RECV, T.TIMEOUT, S.CLOSE, "", "reqsk_timer_handler()", "No ACK of our SYN-ACK came in time: the request sock is dropped."),
    Transition(S.NEW_SYN_RECV, T.CLOSE, S.CLOSE, "", "inet_csk_listen_stop()", "The listener was closed: its request socks are dropped."),
    Transition(S.SYN_RECV, T.RCV_ACK_OF_SYN, S.ESTABLISHED, "", _LOOK, "The ACK of our SYN came: the handshake is complete, without the program."),
    Transition(S.SYN_RECV, T.CLOSE, S.FIN_WAIT1, "FIN", "RFC 9293 §3.10.4", "Closed before it was established: a FIN leaves."),
    Transition(S.SYN_RECV, T.RCV_FIN, S.CLOSE_WAIT, "ACK", _LOOK, "The peer's FIN came with the end of the handshake."),
    Transition(S.SYN_RECV, T.RCV_RST, S.CLOSE, "", _LOOK, "The peer reset the half-open connection."),
    Transition(S.SYN_RECV, T.RCV_RST, S.LISTEN, "", _LOOK, "The peer reset the half-open connection: back to the listener."),
    Transition(S.SYN_RECV, T.TIMEOUT, S.CLOSE, "", "tcp_write_timeout()", "No ACK of our SYN came in time."),
    Transition(S.SYN_SENT, T.RCV_SYN_ACK, S.ESTABLISHED, "ACK", "RFC 9293 §3.10.7.3", "SYN-ACK received: the connection is open on this side."),
    Transition(S.SYN_SENT, T.RCV_SYN, S.SYN_RECV, "SYN,ACK", "RFC 9293 §3.5, figure 7", "A SYN crossed ours: simultaneous open."),
    Transition(S.SYN_SENT, T.RCV_RST, S.CLOSE, "", "RFC 9293 §3.10.7.3", "Refused: the peer answered our SYN with RST."),
    Transition(S.SYN_SENT, T.TIMEOUT, S.CLOSE, "", "RFC 9293 §3.8.3", "No answer to any SYN: the attempt timed out."),
    Transition(S.SYN_SENT, T.CLOSE, S.CLOSE, "", "RFC 9293 §3.10.4", "Closed before an answer came."),
    Transition(S.LISTEN, T.CLOSE, S.CLOSE, "", "RFC 9293 §3.10.4", "The listener was closed."),
    # Ending from our side
    Transition(S.ESTABLISHED, T.CLOSE, S.FIN_WAIT1, "FIN", "RFC 9293 §3.6, §3.10.4", "close() or shutdown(SHUT_WR): our FIN leaves; we send no more and can still receive."),
    Transition(S.FIN_WAIT1, T.RCV_ACK_OF_FIN, S.FIN_WAIT2, "", "RFC 9293 §3.6, §3.10.7.4", "Our FIN is acknowledged: our sending half is closed, we wait for the peer's FIN."),
    Transition(S.FIN_WAIT1, T.RCV_FIN, S.CLOSING, "ACK", "RFC 9293 §3.6, figure 13", "The peer's FIN crossed ours: simultaneous close."),
    Transition(S.FIN_WAIT1, T.RCV_FIN_AND_ACK, S.TIME_WAIT, "ACK", "RFC 9293 §3.10.7.4", "One segment acknowledged our FIN and brought the peer's."),
    Transition(S.FIN_WAIT2, T.RCV_FIN, S.TIME_WAIT, "ACK", "RFC 9293 §3.10.7.4", "The peer's FIN came: we acknowledge it and wait, lest that ACK be lost."),
    Transition(S.CLOSING, T.RCV_ACK_OF_FIN, S.TIME_WAIT, "", "RFC 9293 §3.10.7.4", "Our FIN is acknowledged too: both halves are closed, we wait."),
    Transition(S.TIME_WAIT, T.TIMEWAIT_TIMEOUT, S.CLOSE, "", "RFC 9293 §3.6.1; tw_timer_handler()", "The waiting time is over: the connection is forgotten."),
    Transition(S.TIME_WAIT, T.RCV_SYN, S.CLOSE, "", "RFC 9293 §3.6.1; tcp_timewait_state_process()", "A new SYN on the same four-tuple ends the waiting early."),
    Transition(S.TIME_WAIT, T.CONNECT, S.CLOSE, "", "RFC 6191; tcp_twsk_unique()", "A new connect() took over the four-tuple (tcp_tw_reuse)."),
    Transition(S.TIME_WAIT, T.RCV_RST, S.CLOSE, "", "RFC 1337; tcp_timewait_state_process()", "A reset ended the waiting early."),
    Transition(S.FIN_WAIT2, T.TIMEOUT, S.CLOSE, "", "tcp_fin_timeout", "The peer's FIN did not come in time: the orphan is dropped."),
    # Ending from the peer's side
    Transition(S.ESTABLISHED, T.RCV_FIN, S.CLOSE_WAIT, "ACK", "RFC 9293 §3.6, §3.10.7.4", "The peer's FIN came: it sends no more; reading gives end of file, we can still send."),
    Transition(S.CLOSE_WAIT, T.CLOSE, S.LAST_ACK, "FIN", "RFC 9293 §3.6, §3.10.4", "The program closed too: our FIN leaves."),
    Transition(S.LAST_ACK, T.RCV_ACK_OF_FIN, S.CLOSE, "", "RFC 9293 §3.10.7.4", "Our FIN is acknowledged: nothing is left to wait for on this side."),
    # Abnormal ends
    *(
        Transition(state, T.RCV_RST, S.CLOSE, "", "RFC 9293 §3.10.7.4", "The peer reset the connection.")
        for state in (S.ESTABLISHED, S.FIN_WAIT1, S.FIN_WAIT2, S.CLOSING, S.CLOSE_WAIT, S.LAST_ACK)
    ),
    *(
        Transition(state, T.ABORT, S.CLOSE, "RST", "RFC 9293 §3.10.5", "Aborted from this side: a RST leaves instead of a FIN.")
        for state in (S.SYN_RECV, S.ESTABLISHED, S.FIN_WAIT1, S.FIN_WAIT2, S.CLOSING, S.CLOSE_WAIT, S.LAST_ACK)
    ),
    *(
        Transition(state, T.TIMEOUT, S.CLOSE, "", "RFC 9293 §3.8.3; tcp_write_timeout()", "The peer did not answer in time: given up.")
        for state in (S.ESTABLISHED, S.FIN_WAIT1, S.CLOSING, S.CLOSE_WAIT, S.LAST_ACK)
    ),
    # What Linux does between objects: the full socket closes when a TIME_WAIT object takes over (tcp_time_wait()).
    *(
        Transition(state, T.HANDOVER, S.CLOSE, "", "tcp_time_wait()", "The full socket is freed: a small TIME_WAIT object has taken over.")
        for state in (S.FIN_WAIT1, S.FIN_WAIT2, S.CLOSING)
    ),
    Transition(S.SYN_RECV, T.ACCEPT_QUEUE_FULL, S.CLOSE, "", "tcp_v4_syn_recv_sock()", "The accept queue was full: the child is dropped."),
)  # fmt: skip
"""Every lawful transition. Several rows may share (state, next): evidence tells which trigger it was."""

del S, T

_BY_PAIR: Final[dict[tuple[State, State], tuple[Transition, ...]]] = {
    pair: tuple(row for row in TRANSITIONS if (row.state, row.next) == pair)
    for pair in {(row.state, row.next) for row in TRANSITIONS}
}
_BY_TRIGGER: Final[dict[tuple[State, Trigger], Transition]] = {
    (row.state, row.trigger): row for row in reversed(TRANSITIONS)
}


def between(state: State, next_state: State) -> tuple[Transition, ...]:
    """All rows that lead from ``state`` to ``next_state``; empty means that the step is impossible."""
    return _BY_PAIR.get((state, next_state), ())


def on(state: State, trigger: Trigger) -> Transition | None:
    """The row for ``trigger`` in ``state``, None where the table has none (the endpoint stays where it is)."""
    return _BY_TRIGGER.get((state, trigger))
