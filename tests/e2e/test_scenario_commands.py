"""list, show, new, and what `run` says in the end: the scenarios as a teacher meets them."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from scenarios import registry
from tests.e2e.conftest import Synfin
from tui.cli_errors import FAILED, USAGE
from tui.cli_scenarios import list_all


def test_list_has_one_line_for_each_and_for_a_topic_fewer(synfin: Synfin) -> None:
    lines = synfin("list").out.splitlines()
    assert [line.split()[0] for line in lines] == registry.names()
    few = synfin("list", "--topic", "lifecycle").out.splitlines()
    assert [line.split()[0] for line in few] == [one.name for one in registry.every() if one.topic == "lifecycle"]
    wrong = synfin("list", "--topic", "fishing")
    assert (wrong.code, wrong.out) == (USAGE, "")
    assert "no scenario has the topic 'fishing'; there are: lifecycle" in wrong.err


def test_on_a_terminal_list_has_a_heading_for_each_topic_and_nothing_is_wider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    told: list[str] = []
    monkeypatch.setattr("click.echo", lambda line: told.append(click.unstyle(line)))
    list_all(None)
    assert max(map(len, told)) <= 70
    assert [line.split(":")[0] for line in told if line[0] != " "] == list(
        dict.fromkeys(one.topic for one in registry.every())
    )
    assert [line.split()[0] for line in told if line[:2] == "  " and line[2] != " "] == registry.names()


def test_show_tells_story_steps_sights_and_questions(synfin: Synfin) -> None:
    out = synfin("show", "half-close").out
    scenario = registry.find("half-close")
    flat = " ".join(out.split())
    assert all(" ".join(step.text.split()) in flat for step in scenario.steps)
    assert all(sight.text in flat for sight in scenario.sights)
    assert all(question in flat for question, _ in scenario.questions)
    assert "The client: it sent the first FIN" not in flat
    assert "half-close.pcapng" in flat
    assert max(map(len, out.splitlines())) <= 100
    assert "The client: it sent the first FIN" in synfin("show", "half-close", "--answers").out
    assert synfin("show", "half-clse").code == USAGE


def test_a_new_scenario_runs_as_it_is_and_is_never_overwritten(synfin: Synfin) -> None:
    assert synfin("new", "my-play").code == 0
    ran = synfin("run", "./my-play.py", "--check")
    assert ran.code == 0, ran.err
    assert len(ran.out.splitlines()) == 2
    assert "A greeting" in synfin("show", "./my-play.py").out
    again = synfin("new", "my-play")
    assert (again.code, again.err) == (USAGE, "synfin: my-play.py is there already, and stays as it is\n")
    for name in ("../up", "My-Play", "a--b", ""):
        assert synfin("new", name).code == USAGE


@pytest.mark.kernel
def test_check_says_what_was_seen_and_nothing_else(synfin: Synfin) -> None:
    ran = synfin("run", "half-close", "--check", "--json")
    told = [json.loads(line) for line in ran.out.splitlines()]
    assert [one["text"] for one in told] == [sight.text for sight in registry.find("half-close").sights]
    assert {one["verdict"] for one in told} == {"seen"}
    assert ran.code == 0
    beside = synfin("run", "half-close", "--text")
    assert [line for line in beside.err.splitlines() if line[0] in "+✓"] != []
    assert all(one["text"] not in beside.out for one in told)


WRONG = """
@scenario.must_see("pigs fly")
def pigs(seen):
    return "no pig was seen"
@scenario.must_see("a check may have a mistake")
def mistaken(seen):
    return seen.listener().colour
@scenario.must_see("some things cannot be told")
def open_question(seen):
    seen.cannot_tell("nobody looked")
"""


def test_what_is_not_seen_fails_the_command_and_what_cannot_be_told_does_not(synfin: Synfin, tmp_path: Path) -> None:
    synfin("new", "my-play")
    file = next(tmp_path.rglob("my-play.py"))
    file.write_text(file.read_text() + WRONG)
    ran = synfin("run", "./my-play.py", "--check", "--ascii")
    assert ran.code == FAILED
    assert ran.out.splitlines()[2:] == [
        "x pigs fly: no pig was seen",
        "x a check may have a mistake: the check itself failed: AttributeError: "
        "'ListenerSeen' object has no attribute 'colour'",
        "? some things cannot be told: nobody looked",
    ]
    assert ran.err.splitlines()[-1] == "synfin: not seen: 2 of the 5 things that this scenario shows"


@pytest.mark.parametrize(("family", "host"), [("ipv6", "::1"), ("ipv4", "127.0.0.1")])
def test_over_which_addresses(synfin: Synfin, family: str, host: str) -> None:
    ran = synfin("run", "half-close", "--json", "--family", family)
    assert ran.code == 0, ran.err
    events = [json.loads(line) for line in ran.out.splitlines()]
    assert {event["daddr"] for event in events if event["event"].startswith("packet:")} == {host}
