"""The guide docs/writing-scenarios.md: what it shows can be done."""

from __future__ import annotations

import builtins
import re
from pathlib import Path

import pytest

from scenarios import calls, impairments
from scenarios.network import Network
from scenarios.peer import Talk
from scenarios.registry import load

from .conftest import Perform

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "writing-scenarios.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
LACKING = "from scenarios.actor import Actor\nfrom scenarios.network import Network\nfrom scenarios.calls import *\n"
NAMED = "Scenario(name='guide', title='', topic='', story=''"
SCENE = f"scenario = {NAMED}, actors=('server', 'client', 'worker'))"


def test_the_first_example_runs_as_it_stands(perform: Perform, tmp_path: Path) -> None:
    path = tmp_path / "hello.py"
    path.write_text(BLOCKS[0])
    play = perform(str(path))
    assert play.wait(20)
    assert (play.state, play.failure) == ("finished", "")
    assert len(load(f"file:{path}#").sights) == 1


@pytest.mark.parametrize("number", range(1, len(BLOCKS)))
def test_every_example_is_accepted(number: int, tmp_path: Path) -> None:
    """Its steps fit into a scenario; those that are only a step's body stand in one."""
    block = BLOCKS[number].replace("Scenario(..., actors", f"{NAMED}, actors")
    block = block.replace("Scenario(...", SCENE.removeprefix("scenario = ").removesuffix(")"))
    if "@scenario" not in block and "Scenario(" not in block and "scenario.runs" not in block:
        block = "def body(me):\n" + "".join(f"    {line}\n" for line in block.splitlines())
    text = f"{LACKING}from scenarios.script import Scenario\n{SCENE}\n{block}"
    path = tmp_path / "example.py"
    path.write_text(text)
    load(f"file:{path}#")


def test_the_names_in_the_guide_exist() -> None:
    code = " ".join(BLOCKS) + " ".join(re.findall(r"`([^`]+)`", GUIDE))
    for name in re.findall(r"(?<![\w.])([a-z_]+)\(", code):
        known = any(hasattr(place, name) for place in (calls, impairments, Talk, builtins))
        assert known or re.search(rf"def {name}\b", code), name
    for name in re.findall(r"\bme\.(drop|delay|hold|release|cut|mend|duplicate|reorder|damage|taken)\b", code):
        assert hasattr(Network, name)
