"""Time in each state, with what was wrongly deduced taken back."""

from __future__ import annotations

from tests.replay.infer_playbook import SECOND, STEP, Player, check
from tracer.kinds import Certainty
from tracer.replay.infer_lives import Life
from tracer.states import State


def told(life: Life, until: int) -> dict[str, float]:
    return {state.name: spent / SECOND for state, spent in life.spent(until).items()}


def play(*lines: str) -> tuple[Player, int]:
    player = Player()
    began = player.now + STEP
    for line in lines:
        player.line(line)
    return player, began


def test_both_ends_spend_their_time_where_the_segments_say() -> None:
    player, began = play(
        "C SYN 100", "S SYN,ACK 500 101", "C ACK 101 501", "wait 2", "C FIN,ACK 101 501", "S ACK 501 102", "wait 3",
        "S FIN,ACK 501 102", "C ACK 102 502", "wait 70",
    )  # fmt: skip
    pair = player.inference.pair(1)
    assert pair is not None
    assert told(pair.lives[0], player.now) == {
        "SYN_SENT": 0.01, "ESTABLISHED": 2.02, "FIN_WAIT1": 0.01, "FIN_WAIT2": 3.01, "TIME_WAIT": 60.0, "CLOSE": 10.01,
    }  # fmt: skip
    assert told(pair.lives[1], player.now)["CLOSE_WAIT"] == 3.02
    assert sum(told(pair.lives[0], player.now).values()) * SECOND == player.now - began


def test_time_in_a_state_that_was_never_entered_counts_for_the_one_never_left() -> None:
    player, _ = play(
        "C SYN 100", "S SYN,ACK 500 101", "C ACK 101 501", "C FIN,ACK 101 501", "wait 1", "C FIN,ACK 101 501",
        "S ACK 501 102",
    )  # fmt: skip
    pair = player.inference.pair(1)
    assert pair is not None
    assert [State(state).name for state in pair.lives[1].states] == ["LISTEN", "SYN_RECV", "ESTABLISHED", "CLOSE_WAIT"]
    assert told(pair.lives[1], player.now) == {"SYN_RECV": 0.01, "ESTABLISHED": 1.02, "CLOSE_WAIT": 0.01}


def test_closed_connections_are_forgotten_and_stragglers_are_not_new_ones() -> None:
    player = Player()
    check("C SYN 100\n    C CLOSE>SYN_SENT connect certain", player)
    for line in ("S RST,ACK 0 101", "wait 119", "S RST,ACK 0 101"):
        player.line(line)
    assert len(player.inference) == 1
    player.line("wait 2")
    assert len(player.inference) == 0


def test_a_connection_that_opens_again_is_not_forgotten() -> None:
    player, _ = play(
        "C SYN 100", "S RST,ACK 0 101", "wait 100", "C SYN 100", "S SYN,ACK 500 101", "C ACK 101 501", "wait 30",
    )  # fmt: skip
    pair = player.inference.pair(1)
    assert pair is not None
    assert [end.state for end in pair.ends] == [State.ESTABLISHED, State.ESTABLISHED]


def test_a_refused_flood_is_forgotten() -> None:
    player = Player()
    for stream in range(500):
        player.stream = stream
        player.line(f"C SYN {stream * 1000}")
        player.line(f"S RST,ACK 0 {stream * 1000 + 1}")
        player.line("wait 1")
    assert len(player.inference) == 2, "of those on the same addresses and ports"


def test_certainty_takes_into_account_what_may_have_gone_before() -> None:
    talk = ("C ACK,PSH 101 501 +10", "S ACK 501 111", "S FIN,ACK 501 111", "C ACK,PSH 101 502 +10")
    whole, _ = play("C SYN 100", "S SYN,ACK 500 101", "C ACK 101 501", *talk)
    cut, _ = play(*talk)
    pairs = [player.inference.pair(1) for player in (whole, cut)]
    ends = [pair.ends[0] for pair in pairs if pair is not None]
    assert [end.state for end in ends] == [State.CLOSE_WAIT, State.CLOSE_WAIT]
    assert [end.certainty for end in ends] == [Certainty.CERTAIN, Certainty.PROVISIONAL]
