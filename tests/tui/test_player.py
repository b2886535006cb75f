"""The player: a playhead over events, told the time."""

from __future__ import annotations

import pytest

from tui.player import SPEEDS, STEPS_PER_SECOND, Mode, Player


def by_event(shown: int, steps: int) -> int:
    return shown + steps


def by_time(shown: int, ns: float) -> tuple[int, float]:
    """Events a tenth of a second apart."""
    steps = int(ns // 1e8)
    return max(shown, 1) + steps, ns - steps * 1e8


@pytest.fixture
def player() -> Player:
    made = Player()
    made.grow(20)
    return made


def test_it_follows_the_tail(player: Player) -> None:
    assert (player.mode, player.shown) == (Mode.FOLLOW, 20)
    player.grow(30)
    assert player.shown == 30


def test_holding_freezes_the_view_and_not_the_count(player: Player) -> None:
    player.toggle(0.0)
    player.grow(50)
    assert (player.mode, player.shown, player.count) == (Mode.HOLD, 20, 50)


def test_what_was_held_at_the_tail_goes_back_to_the_tail(player: Player) -> None:
    player.toggle(0.0)
    player.grow(50)
    player.toggle(1.0)
    assert (player.mode, player.shown) == (Mode.FOLLOW, 50)


def test_what_was_stepped_back_plays_on_from_there_and_follows_once_it_has_caught_up(player: Player) -> None:
    player.seek(17)
    assert (player.mode, player.shown) == (Mode.HOLD, 17)
    player.toggle(100.0)
    assert player.mode is Mode.PLAY
    assert player.tick(100.0, by_event, by_time) and player.shown == 18, "the first event comes at once"
    player.tick(100.0 + 1 / STEPS_PER_SECOND, by_event, by_time)
    assert player.shown == 19
    player.tick(200.0, by_event, by_time)
    assert (player.mode, player.shown) == (Mode.FOLLOW, 20)


def test_a_finished_recording_holds_at_its_end_and_plays_again_from_its_start(player: Player) -> None:
    player.open_ended = False
    player.to_tail()
    assert player.mode is Mode.HOLD
    player.toggle(0.0)
    player.tick(0.0, by_event, by_time)
    assert (player.mode, player.shown) == (Mode.PLAY, 1)
    player.tick(1000.0, by_event, by_time)
    assert (player.mode, player.shown) == (Mode.HOLD, 20)


def test_steps_stay_within_what_is_known(player: Player) -> None:
    player.seek(25)
    assert player.shown == 20
    player.seek(-80)
    assert player.shown == 0


@pytest.mark.parametrize(("notches", "speed"), [(0, 1.0), (1, 2.0), (-1, 0.5), (100, SPEEDS[-1]), (-100, SPEEDS[0])])
def test_speed_goes_by_notches_and_stays_on_the_scale(player: Player, notches: int, speed: float) -> None:
    player.faster(notches)
    assert player.speed == speed


def test_speed_changes_how_many_events_pass_in_a_second(player: Player) -> None:
    player.seek(1)
    player.faster(1)
    player.toggle(0.0)
    player.tick(0.0, by_event, by_time)
    player.tick(1.0, by_event, by_time)
    assert player.shown == 1 + 1 + 2 * STEPS_PER_SECOND


def test_fewer_events_after_a_change_of_connection_draw_the_playhead_back(player: Player) -> None:
    player.seek(15)
    player.grow(4)
    assert player.shown == 4


def test_by_time_events_pass_as_fast_as_they_happened_times_the_speed(player: Player) -> None:
    player.by_time = True
    player.seek(1)
    player.toggle(0.0)
    player.tick(0.25, by_event, by_time)
    assert player.shown == 3
    player.tick(0.31, by_event, by_time)
    assert player.shown == 4, "what is left of a tick is not lost"
    player.faster(1)
    assert player.speed == 2.0
    player.tick(0.51, by_event, by_time)
    assert player.shown == 8
    player.by_time = False
    assert player.speed == 1.0, "each way of playing has a speed of its own"
