"""Inference against model endpoints whose states are known: any program, any loss, any place of the capture point."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.replay.infer_model import Fate, Link
from tests.replay.infer_playbook import CLIENT, SECOND, SERVER
from tracer.kinds import Certainty
from tracer.replay.infer import Found, Inference
from tracer.states import State, between

Act = tuple[float, str, str]
"""When, who (C or S), what."""

TIMES = st.builds(lambda tenth, more: tenth / 10 + more, st.integers(2, 40), st.sampled_from([0, 0, 0.005, 0.01, 0.02]))
"""Acts of both sides are near enough to each other for segments to cross, which takes 20 ms, often."""
ACTS = st.lists(
    st.tuples(TIMES, st.sampled_from("CS"), st.sampled_from(["write", "write", "close"])),
    max_size=6,
)
ABORTS = st.lists(
    st.tuples(st.integers(2, 40).map(lambda tenth: tenth / 10 + 0.07), st.sampled_from("CS"), st.just("abort")),
    max_size=1,
)
"""When nothing is under way: what an abort crosses, nobody can tell from packets."""
FATES = st.lists(
    st.builds(Fate, st.sampled_from(["", "", "", "before", "behind"]), st.sampled_from([0.0, 0.0, 0.03])), max_size=25
)
BEHIND = st.lists(st.builds(Fate, st.sampled_from(["", "", "behind"]), st.sampled_from([0.0, 0.0, 0.03])), max_size=25)
"""Losses that the capture point does not see: what left the sender is all in the capture."""
OK, LOST, UNSEEN = [Fate()] * 10, Fate("behind"), Fate("before")
PLACES = st.sampled_from([0.0, 0.001, 0.01, 0.019, 0.02])
"""Seconds between the client and the capture point, of 0.02 in all."""
OPENINGS = st.sampled_from(["passive", "simultaneous", "refused"])


def play(acts: list[Act], fates: list[Fate], place: float, opening: str) -> Link:
    """Let the endpoints live; everything is settled at the end."""
    link = Link(State.LISTEN if opening == "passive" else State.CLOSE, fates, 0.02, place)
    link.at(0.0, link.client.connect)
    if opening == "simultaneous":
        link.at(0.005, link.server.connect)
    for time, who, what in acts:
        end = link.client if who == "C" else link.server
        deeds: dict[str, Callable[[], None]] = {
            "write": lambda end=end: end.write(10),  # type: ignore[misc]
            "close": end.close,
            "abort": end.abort,
        }
        link.at(time, deeds[what])
    link.run(40.0)
    return link


def infer(link: Link, skip: int = 0, seen: str = "CS") -> tuple[Inference, list[Found]]:
    """What is inferred when the capture lacks the first ``skip`` segments and those not sent by who is ``seen``."""
    inference = Inference()
    found: list[Found] = []
    for time, who, segment in link.captured[skip:]:
        if who not in seen:
            continue
        source, target = (CLIENT, SERVER) if who == "C" else (SERVER, CLIENT)
        found += inference.segment(
            0, 1, source, target, int((1000 + time) * SECOND), segment.seq, segment.ack, segment.flags, segment.length,
            1000, -1,
        )  # fmt: skip
    return inference, found


def certain(found: list[Found], row: int) -> list[State]:
    """The states that an end's own segments show."""
    changes = (one.change for one in found if one.change.row == row)
    return [State(change.new) for change in changes if change.certainty == Certainty.CERTAIN]


def within(some: list[State], every: list[State]) -> bool:
    """Whether ``some`` occur in ``every`` in that order."""
    rest = iter(every)
    return all(state in rest for state in some)


@settings(max_examples=300, deadline=None)
@given(ACTS, ABORTS, PLACES, OPENINGS)
@example([(0.2, "C", "close"), (0.21, "S", "close")], [], 0.001, "simultaneous")
def test_without_loss_every_state_is_found_in_order(
    acts: list[Act], aborts: list[Act], place: float, opening: str
) -> None:
    link = play(acts + aborts, [], place, opening)
    inference, _ = infer(link)
    pair = inference.pair(1)
    assert pair is not None
    for row, end in enumerate((link.client, link.server)):
        told = pair.lives[row].states
        if len(end.history) == 1:
            assert told in ([], [State.UNKNOWN, State.CLOSE])  # it did nothing, or refused
        else:
            assert told == end.history


@settings(max_examples=400, deadline=None)
@given(ACTS, ABORTS, FATES, PLACES, OPENINGS, st.integers(0, 8), st.sampled_from(["CS", "CS", "C", "S"]))
@example([], [], [*OK[:2], LOST], 0.0, "passive", 2, "CS")
@example([(0.2, "C", "close"), (0.2, "S", "close")], [], [*OK[:8], LOST], 0.0, "passive", 1, "CS")
@example([(0.2, "C", "close"), (0.2, "S", "close")], [], [*OK[:3], UNSEEN, *OK[:3], UNSEEN, UNSEEN], 0.0,
         "simultaneous", 5, "CS")
@example([(0.2, "S", "close"), (0.3, "C", "close")], [], [], 0.0, "passive", 0, "C")
@example([(0.5, "C", "close"), (0.6, "S", "write"), (0.7, "S", "close")], [], [], 0.0, "passive", 7, "CS")
def test_certain_states_were_lived_and_every_step_is_lawful(
    acts: list[Act], aborts: list[Act], fates: list[Fate], place: float, opening: str, skip: int, seen: str
) -> None:
    link = play(acts + aborts, fates, place, opening)
    _, found = infer(link, skip, seen)
    for row, end in enumerate((link.client, link.server)):
        assert within(certain(found, row), end.history)
    for one in found:
        old, new = State(one.change.old), State(one.change.new)
        assert one.change.certainty == Certainty.CORRECTED or not old or between(old, new), (old, new)


@settings(max_examples=400, deadline=None)
@given(ACTS, BEHIND, PLACES, OPENINGS)
@example([(0.5, "S", "close"), (0.5, "C", "write")], [LOST, LOST, *OK[:6], LOST, *OK[:2], LOST], 0.0, "simultaneous")
def test_when_all_is_settled_both_ends_are_where_they_are(
    acts: list[Act], fates: list[Fate], place: float, opening: str
) -> None:
    link = play(acts, fates, place, opening)
    inference, _ = infer(link)
    pair = inference.pair(1)
    if pair is None:
        return  # every segment was lost before the capture point
    for row, end in enumerate((link.client, link.server)):
        told = State(pair.ends[row].state)
        assert told == end.state or (told == State.UNKNOWN and len(end.history) == 1)
