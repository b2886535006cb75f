"""Which states a segment proves at its sender, and which it brings about at its receiver if it arrives.

Every segment is read twice. As the sender's *emission* it is proof: who sends a FIN has closed, who acknowledges the
peer's FIN has received it, who sends a SYN-ACK again has not got the ACK of it, whatever was deduced before. As an
*arrival* it is a premise: the receiver should get it and, where RFC 9293 section 3.10.7 leaves it no choice, changes
state as the table of ``tracer.states`` says. Where it has a choice (a SYN to a listener is answered, refused or
ignored) nothing is deduced until the answer is seen.

Deductions are withdrawn when an emission contradicts them. A segment that was under way when the deduction was made
(the capture point may be far from that end) contradicts nothing: ``answers`` tells how long the end takes to react as
seen from here. Rules know two rows, sender and receiver, never which is the client; both obey the same table.
"""

from __future__ import annotations

from tracer.kinds import Certainty
from tracer.replay.infer_rows import MODULO, UNSEEN, End, before
from tracer.replay.infer_sequence import acceptable, account, forget, has_fin_of
from tracer.replay.infer_tables import Tables, note
from tracer.segments import ACK, FIN, RST, SYN
from tracer.states import State, Trigger, on

(
    UNKNOWN,
    ESTABLISHED,
    SYN_SENT,
    SYN_RECV,
    FIN_WAIT1,
    FIN_WAIT2,
    TIME_WAIT,
    CLOSE,
    CLOSE_WAIT,
    LAST_ACK,
    LISTEN,
    CLOSING,
) = (int(state) for state in list(State)[:12])
CERTAIN, PROVISIONAL, CORRECTED = int(Certainty.CERTAIN), int(Certainty.PROVISIONAL), int(Certainty.CORRECTED)

CONNECT, CLOSES, ABORT = int(Trigger.CONNECT), int(Trigger.CLOSE), int(Trigger.ABORT)
RCV_SYN, RCV_SYN_ACK, RCV_ACK_OF_SYN = int(Trigger.RCV_SYN), int(Trigger.RCV_SYN_ACK), int(Trigger.RCV_ACK_OF_SYN)
RCV_FIN, RCV_ACK_OF_FIN, RCV_RST = int(Trigger.RCV_FIN), int(Trigger.RCV_ACK_OF_FIN), int(Trigger.RCV_RST)
TIMEOUT, TIMEWAIT_TIMEOUT = int(Trigger.TIMEOUT), int(Trigger.TIMEWAIT_TIMEOUT)

TIMEWAIT = 60_000_000_000
"""ns of TIME_WAIT: TCP_TIMEWAIT_LEN of Linux. RFC 9293 section 3.4.2 has 2 MSL, four minutes."""

OPENING = 180_000_000_000
"""ns after its last SYN that an end goes on trying to open: RFC 9293 section 3.8.3 asks for three minutes at least,
Linux gives up after about two (tcp_syn_retries) or one (tcp_synack_retries)."""

REACTION = 1_000_000
"""ns that even the nearest end may take: no retransmission follows its original sooner."""

UNKNOWN_ANSWER = 100_000_000
"""ns taken for ``answers`` where no handshake told: twice that is the shortest retransmission timeout of Linux."""

TRIGGERS = 32
"""Width of ``NEXT``: more than the highest trigger."""


def _next(state: State, trigger: Trigger) -> int:
    """From packets a request sock and a socket in SYN_RECV look the same: both are the RFC's SYN-RECEIVED."""
    row = on(State.SYN_RECV if state == State.NEW_SYN_RECV else state, trigger)
    if row is None:
        return -1
    return SYN_RECV if row.next == State.NEW_SYN_RECV else int(row.next)


NEXT: tuple[int, ...] = tuple(
    _next(State(state), Trigger(trigger)) if state and trigger in set(Trigger) else -1
    for state in State
    for trigger in range(TRIGGERS)
)
"""The table of transitions by state * TRIGGERS + trigger; -1 where it has no row."""

assert list(State) == list(range(len(State))) and max(Trigger) < TRIGGERS


def segment(
    s: End, r: End, log: Tables, time: int, seq: int, ack: int, flags: int, length: int, window: int, wscale: int
) -> None:
    """Judge one segment from the end ``s`` to the end ``r``; changes of either go into the log of the tables ``log``.

    ``wscale`` is the shift of the SYN's option, -1 where it has none. Nothing is raised: there is no segment that a
    capture cannot hold.
    """
    expected, known = s.next, s.sent  # what the receiver waited for before this segment
    if flags & RST:
        _reset(s, r, log, time, seq, ack, flags, expected, known)
        return
    if flags & SYN:
        _begin(s, r, log, time, seq, ack, flags, length, wscale)
    again = account(s, r, seq, ack, flags, length, window)
    if s.state == r.state == ESTABLISHED and s.certainty == r.certainty == CERTAIN and not flags & FIN:
        return
    if not flags & SYN:
        _emission(s, r, log, time, ack, flags, length, again)
    _arrival(s, r, log, time, seq, ack, flags, length, expected, known, again)


# Changes


def move(end: End, new: int, trigger: int, certainty: int, log: Tables, time: int) -> None:
    """Change the state of ``end`` and note it."""
    note(log, time, end.row, end.state, new, trigger, certainty)
    if new == CLOSE:
        end.closed_from = end.state
    end.state = new
    if certainty == CERTAIN:
        end.certainty = CERTAIN
        end.proven = new
    else:
        end.certainty = CERTAIN if new == end.proven else PROVISIONAL
        end.deduced = time
    end.timer = time + TIMEWAIT if new == TIME_WAIT else 0


def _step(end: End, trigger: int, certainty: int, log: Tables, time: int) -> None:
    """Go where the table says; stay where it says nothing."""
    new = NEXT[end.state * TRIGGERS + trigger]
    if new >= 0:
        move(end, new, trigger, certainty, log, time)


def _hold(end: End) -> None:
    """The end's own segment shows the state it was deduced to be in."""
    end.certainty = CERTAIN
    end.proven = end.state


def _back(end: End, state: int, log: Tables, time: int) -> None:
    """What was deduced did not happen: the end is in ``state`` still."""
    move(end, state, UNSEEN, CORRECTED, log, time)


def _missed(end: End, peer: End, log: Tables, time: int) -> None:
    """The FIN of ``peer`` has not reached ``end`` after all; of its bytes, those that ``end`` has acknowledged."""
    if end.state == CLOSE_WAIT:
        _back(end, ESTABLISHED, log, time)
    elif end.state == CLOSING:
        _back(end, FIN_WAIT1, log, time)
    elif end.state == TIME_WAIT:
        _back(end, FIN_WAIT2, log, time)
    if end.acked:
        peer.next = end.ack


def _under_way(end: End, time: int) -> bool:
    """Whether what this end sends now may have been sent before the deduction could reach it."""
    return time - end.deduced <= 2 * (end.answers or UNKNOWN_ANSWER) + REACTION


# SYN


def _begin(
    s: End, r: End, log: Tables, time: int, seq: int, ack: int, flags: int, length: int, wscale: int
) -> None:
    """A SYN proves that its sender opens, or that what was deduced of it since is wrong."""
    shows = SYN_RECV if flags & ACK else SYN_SENT
    crossed = s.proven == SYN_SENT and flags & ACK
    same = s.iss == seq if s.syn else bool(s.sent and s.top == (seq + 1) & MODULO)
    if (s.state != UNKNOWN and not same) or (s.state == CLOSE and s.proven == CLOSE):
        if s.state != CLOSE:
            move(s, CLOSE, UNSEEN, CERTAIN, log, time)
        forget(s)
        same = False
    if s.state == UNKNOWN:
        s.sent, same = 0, False
    s.syn, s.iss, s.offers_scale = 1, seq, wscale
    s.syn_data = 1 if length else s.syn_data
    if s.offers_scale >= 0 and r.offers_scale >= 0:
        s.wscale, r.wscale = min(s.offers_scale, 14), min(r.offers_scale, 14)  # RFC 7323 section 2.3
    if flags & ACK:
        _answered(s, time)
    if s.state == shows:
        _hold(s)
    elif not same:
        s.state = LISTEN if flags & ACK else CLOSE  # what has no connection and answers a SYN had listened
        _step(s, RCV_SYN if flags & ACK else CONNECT, CERTAIN, log, time)
        if r.state == SYN_SENT and not flags & ACK:
            _step(s, RCV_SYN, PROVISIONAL, log, time)  # the SYNs cross
    elif s.state == SYN_SENT:
        _step(s, RCV_SYN, CERTAIN, log, time)
    elif s.proven in (UNKNOWN, SYN_SENT, SYN_RECV) and not _under_way(s, time):
        _back(s, shows, log, time)  # sent again: no answer has come, whatever went out
        _hold(s)
    if s.state in (SYN_SENT, SYN_RECV):
        s.timer = time + OPENING
    if not crossed:  # else its SYN was the question
        r.asked = time


def _answered(end: End, time: int) -> None:
    """How long the end took to react to a SYN or SYN-ACK, as seen from here."""
    if end.asked and not end.answers:
        end.answers = time - end.asked
    end.asked = 0


# What the segment proves at its sender


def _emission(s: End, r: End, log: Tables, time: int, ack: int, flags: int, length: int, again: bool) -> None:
    _answered(s, time)
    if s.state == CLOSE:
        if _under_way(s, time):
            return
        # It speaks: what should have closed it did not, or the RST in its name was not its own (RFC 5961 section 1).
        _back(s, s.closed_from, log, time)
    fin_back = has_fin_of(s, r)
    if flags & FIN and again and s.state in (FIN_WAIT2, TIME_WAIT) and not _under_way(s, time):
        # Sent again: the ACK of it has not come (RFC 9293 section 3.8.1).
        _back(s, CLOSING if fin_back else FIN_WAIT1, log, time)
    if s.state == UNKNOWN:
        move(s, s.before or ESTABLISHED, UNSEEN, PROVISIONAL, log, time)
    if s.state == SYN_SENT and flags & ACK:
        _step(s, RCV_SYN_ACK, CERTAIN, log, time)
    if s.state == SYN_RECV and _past_handshake(s, r, flags, length):
        _step(s, RCV_ACK_OF_SYN, CERTAIN, log, time)
    if s.certainty == PROVISIONAL and s.state == ESTABLISHED and _opened(s, r, flags, length):
        _hold(s)
    if s.certainty == PROVISIONAL and s.state in (CLOSE_WAIT, CLOSING, TIME_WAIT):
        if fin_back:
            if not s.earlier:
                _hold(s)
        elif flags & FIN and s.state == CLOSE_WAIT:
            # It closed before the peer's FIN came. Either the FINs cross, or the peer's is lost.
            crossing = _under_way(s, time)
            _missed(s, r, log, time)
            _step(s, CLOSES, CERTAIN, log, time)
            if crossing:
                _step(s, RCV_FIN, PROVISIONAL, log, time)
                r.next = r.fin
            return
    elif fin_back:
        _step(s, RCV_FIN, PROVISIONAL if s.earlier else CERTAIN, log, time)
    if flags & FIN and s.state in (SYN_RECV, ESTABLISHED, CLOSE_WAIT):
        # If the peer's FIN went by unseen, this is not FIN_WAIT1 but LAST_ACK; if its own has gone by before, it closed
        # before that.
        known = not s.earlier and (s.state == CLOSE_WAIT or not r.passed)
        _step(s, CLOSES, CERTAIN if known else PROVISIONAL, log, time)


def _opened(s: End, r: End, flags: int, length: int) -> bool:
    """Whether the segment shows that its sender's handshake is over."""
    if s.proven == SYN_RECV:
        return _past_handshake(s, r, flags, length)
    return bool(flags & ACK)


def _past_handshake(s: End, r: End, flags: int, length: int) -> bool:
    """Whether this comes from beyond SYN_RECV: a bare ACK does not (it may be a challenge, RFC 5961 section 4),
    and with fast open data may go out before the ACK of the SYN is in (RFC 7413 section 4.2.2)."""
    if r.syn_data:
        return False
    beyond = s.acked and r.syn and before((r.iss + 1) & MODULO, s.ack)
    return bool(length or flags & FIN or beyond)


# What it brings about at its receiver


def _arrival(
    s: End, r: End, log: Tables, time: int, seq: int, ack: int, flags: int, length: int, expected: int,
    known: int, again: bool,
) -> None:  # fmt: skip
    if r.state == UNKNOWN:
        if flags & SYN and flags & ACK:
            # Who is answered has asked.
            r.syn, r.iss = 1, (ack - 1) & MODULO
            move(r, SYN_SENT, UNSEEN, CERTAIN, log, time)
        elif flags & ACK and not flags & SYN:
            move(r, ESTABLISHED, UNSEEN, PROVISIONAL, log, time)
        else:
            return
    if flags & SYN:
        _syn_arrives(r, log, time, ack, flags)
        return
    end = (seq + length + (flags & FIN)) & MODULO
    if again and r.certainty == PROVISIONAL and _fin_was_missed(r, s, time):
        _missed(r, s, log, time)
        expected = s.next
        if not before(s.next, seq) and before(s.next, end):
            s.next = end
    if not flags & ACK:
        return
    if r.state == TIME_WAIT:
        r.timer = time + TIMEWAIT  # RFC 9293 section 3.10.7.4; inet_twsk_reschedule(), in or out of the window
    if not acceptable(s, r, seq, end, expected, known):
        return
    if r.state == SYN_RECV and r.syn and before(r.iss, ack) and not before(r.top, ack):
        _step(r, RCV_ACK_OF_SYN, PROVISIONAL, log, time)
    if r.fin_sent and not before(ack, r.fin):
        _step(r, RCV_ACK_OF_FIN, PROVISIONAL, log, time)
    if s.fin_sent and not before(s.next, s.fin):
        _step(r, RCV_FIN, PROVISIONAL, log, time)
    if r.certainty == PROVISIONAL and (r.state != CLOSE or (r.fin_sent and not before(ack, r.fin))):
        r.deduced = time  # this, too, may bring it there


def _fin_was_missed(r: End, s: End, time: int) -> bool:
    """``s`` sends again what lies before its FIN, or the FIN: whether ``r`` was wrongly taken to have received it."""
    deduced = s.fin_sent and r.state in (CLOSE_WAIT, CLOSING, TIME_WAIT)
    return bool(deduced and not has_fin_of(r, s) and not _under_way(r, time))


def _syn_arrives(r: End, log: Tables, time: int, ack: int, flags: int) -> None:
    if not flags & ACK:
        if r.state == SYN_SENT:
            _step(r, RCV_SYN, PROVISIONAL, log, time)
    elif before(r.iss, ack) and not before(r.top, ack):
        if r.state == SYN_SENT:
            _step(r, RCV_SYN_ACK, PROVISIONAL, log, time)
        elif r.state == SYN_RECV:
            _step(r, RCV_ACK_OF_SYN, PROVISIONAL, log, time)


# RST


def _reset(
    s: End, r: End, log: Tables, time: int, seq: int, ack: int, flags: int, expected: int, known: int
) -> None:
    """An RST: its sender has no connection any more; its receiver loses it where the RST is acceptable."""
    r_loses = r.state != CLOSE and _acceptable_reset(s, r, seq, ack, flags, expected, known)
    s_closes = s.state != CLOSE and not _answers_wrong_ack(s, r, seq, flags)
    if s_closes:
        if flags & ACK and s.certainty == PROVISIONAL and r.fin_sent and before(ack, r.fin):
            _missed(s, r, log, time)  # it closed before the FIN came, or the FIN is lost
        if s.state == ESTABLISHED and s.proven in (SYN_SENT, SYN_RECV) and not flags & ACK:
            # The answer of an end without a connection (RFC 9293 section 3.10.7.1): there was none to complete.
            _back(s, s.proven, log, time)
        move(s, CLOSE, _closing_trigger(s.state), CERTAIN, log, time)
        s.deduced = time
    if r_loses:
        if r.state == UNKNOWN:
            move(r, CLOSE, UNSEEN, PROVISIONAL, log, time)
        else:
            _step(r, RCV_RST, PROVISIONAL, log, time)


def _closing_trigger(state: int) -> int:
    """Which row of the table ends ``state`` when its end sends RST."""
    for trigger in (ABORT, CLOSES, TIMEWAIT_TIMEOUT):
        if NEXT[state * TRIGGERS + trigger] == CLOSE:
            return trigger
    return UNSEEN


def _answers_wrong_ack(s: End, r: End, seq: int, flags: int) -> bool:
    """In SYN_SENT and SYN_RECV an unacceptable ACK is answered with <SEQ=SEG.ACK><CTL=RST>, and nothing changes
    (RFC 9293 section 3.10.7.3 and 3.10.7.4)."""
    if s.state not in (SYN_SENT, SYN_RECV) or flags & ACK:
        return False
    return before(seq, (s.iss + 1) & MODULO) or before(s.top, seq)


def _acceptable_reset(s: End, r: End, seq: int, ack: int, flags: int, expected: int, known: int) -> bool:
    """Whether ``r`` obeys the RST (RFC 9293 section 3.10.7.3 and 3.10.7.4, RFC 5961 section 3)."""
    if r.state == SYN_SENT:
        return bool(flags & ACK and before(r.iss, ack) and not before(r.top, ack))
    if not known and not r.acked:
        return True
    lowest = r.ack if r.acked else expected
    if r.state == SYN_RECV and r.proven == SYN_RECV:
        # Not yet a socket: tcp_check_req() takes any RST in the window.
        return not before(seq, lowest) and before(seq, (lowest + max(r.window << r.wscale, 1)) & MODULO)
    highest = expected if known else lowest
    if before(highest, lowest):
        highest = lowest
    if r.state in (CLOSE_WAIT, LAST_ACK, CLOSING) and seq == (s.fin - 1) & MODULO:
        return True  # some systems reset with the number of their FIN: tcp_reset_check()
    return not before(seq, lowest) and not before(highest, seq)
