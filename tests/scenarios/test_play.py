"""Holding, pacing, stopping and failing: a play in the hands of a person."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

from scenarios.play import Play, Report
from scenarios.procfs import thread_state
from scenarios.stage import Stage

from .conftest import Perform

HEAD = """
from scenarios.actor import Actor
from scenarios.calls import *
from scenarios.script import Scenario
play = Scenario(name="mine", title="", topic="", story="", actors=("server", "client"))
"""


def script(tmp_path: Path, text: str) -> str:
    """A user's own scenario file; returns its path."""
    path = tmp_path / "mine.py"
    path.write_text(HEAD + text)
    return str(path)


def settle(play: Play, position: int) -> None:
    """Wait until so many steps are over and the play is held again."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not (play.position == position and play.state == "held"):
        time.sleep(0.002)
    assert (play.position, play.state, play.failure) == (position, "held", "")


def test_each_next_step_plays_one_step_and_holds(perform: Perform) -> None:
    play = perform("half-close", hold_steps=True)
    for position in range(4):
        settle(play, position)
        assert play.upcoming is play.steps[position]
        play.next_step()
    settle(play, 4)
    assert play.stage.ground
    assert thread_state(play.stage.ground.pids["server"]) == "S"


def test_a_held_play_can_be_let_run(perform: Perform) -> None:
    play = perform("half-close", hold_steps=True)
    play.next_step()
    settle(play, 1)
    play.run()
    assert play.wait(20)
    assert (play.state, play.position) == ("finished", len(play.steps))
    assert play.upcoming is None


def test_pace_is_the_time_between_steps(perform: Perform) -> None:
    play = perform("half-close", pace=0.03)
    assert play.wait(20)
    cues = [r.time for r in play.reports if r.kind == "cue"]
    assert all(later - earlier >= 30e6 for earlier, later in itertools.pairwise(cues))


def test_stop_ends_a_play_in_the_middle_of_a_step(perform: Perform, tmp_path: Path) -> None:
    lines = '@play.step("server", "never comes back")\ndef _(me: Actor):\n    import time; time.sleep(60)\n'
    play = perform(script(tmp_path, lines))
    time.sleep(0.05)
    play.stop()
    assert play.state == "stopped"


def test_stop_ends_a_held_play(perform: Perform) -> None:
    play = perform("half-close", hold_steps=True)
    settle(play, 0)
    play.stop()
    assert play.state == "stopped"
    play.stop()


def test_a_refused_connect_fails_in_words_with_its_line(perform: Perform, tmp_path: Path) -> None:
    lines = (
        '@play.step("client", "knocks")\ndef _(me: Actor):\n    me.s = socket()\n    connect(me.s, me.at("server"))\n'
    )
    play = perform(script(tmp_path, lines))
    assert play.wait(10)
    line = HEAD.count("\n") + 4
    assert play.state == "failed"
    assert play.failure == f"step 1, client: [Errno 111] Connection refused (line {line} of the script)"
    calls = [r.call for r in play.reports if r.call]
    assert [(c.name, c.result, c.errno) for c in calls] == [("socket", 3, 0), ("connect", -1, 111)]


@pytest.mark.parametrize(
    ("body", "how", "reason"),
    [
        ("pass", 'asleep_in="recv"', "step 1: the server came back from recv instead of sleeping"),
        ("pass", 'wakes="client", timeout=0.2', ""),
        ("import os; os.kill(os.getpid(), 9)", "", "step 1: the server's process has died"),
        ("import time; time.sleep(9)", "timeout=0.1", "step 1: waited 0.1 s for the server to finish"),
        ("me.nothing", "", "step 1, server: AttributeError: server has no 'nothing' yet: an earlier step must set it"),
    ],
)
def test_what_goes_wrong_is_said(perform: Perform, tmp_path: Path, body: str, how: str, reason: str) -> None:
    lines = f'@play.step("server", "acts", {how})\ndef _(me: Actor):\n    {body}\n'
    play = perform(script(tmp_path, lines))
    assert play.wait(10)
    assert play.failure.startswith(reason)
    assert play.state == ("failed" if reason else "finished")


def test_an_actor_that_is_not_woken_is_missed(perform: Perform, tmp_path: Path) -> None:
    lines = (
        '@play.step("server", "waits", asleep_in="epoll_wait")\ndef _(me: Actor):\n    epoll_wait(epoll_create())\n'
        '@play.step("client", "does nothing", wakes="server", timeout=0.1)\ndef _(me: Actor):\n    pass\n'
    )
    play = perform(script(tmp_path, lines))
    assert play.wait(10)
    line = HEAD.count("\n") + 3
    where = f"it is asleep, epoll_wait in line {line} of the script"
    assert play.failure == f"step 2: waited 0.1 s for the server to be woken; {where}"


def test_actors_can_share_values_and_remarks(perform: Perform, tmp_path: Path) -> None:
    lines = (
        '@play.step("server", "tells")\ndef _(me: Actor):\n    me.share(word="secret")\n'
        '@play.step("client", "hears")\ndef _(me: Actor):\n    me.say(me.shared["word"])\n'
    )
    play = perform(script(tmp_path, lines))
    assert play.wait(10)
    assert [(r.actor, r.text) for r in play.reports if r.kind == "said"] == [("client", "secret")]


def test_a_listener_that_raises_does_not_hang_the_play() -> None:
    def listener(report: Report) -> None:
        raise RuntimeError("the screen is gone")

    with Stage.of("half-close") as stage:
        play = Play(stage, listener=listener)
        play.start()
        assert play.wait(10)
        assert (play.state, play.failure) == ("failed", "RuntimeError: the screen is gone")
