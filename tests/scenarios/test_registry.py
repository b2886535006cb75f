"""Finding scenarios by name and by file."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import scenarios
from scenarios import registry
from scenarios.play import Play
from scenarios.script import Scenario
from scenarios.stage import Stage

ROOT = Path(__file__).resolve().parent.parent.parent


def test_every_built_in_is_found_under_its_name_and_says_what_it_is_about() -> None:
    assert len(registry.names()) == len(set(registry.names())) > 0
    for name in registry.names():
        scenario = registry.find(name)
        assert scenario.name == name
        assert scenario.steps, name
        assert scenario.title and len(scenario.title) <= 72, name
        assert len(scenario.story) > 200, f"{name}: the story is the module's paragraph of theory"
        assert scenario.topic in registry.TOPICS, name
        assert scenario.sights, f"{name} must see something"
        assert scenario.questions, name
        texts = [sight.text for sight in scenario.sights]
        assert len(texts) == len(set(texts)), name


def test_no_scenario_is_forgotten() -> None:
    """What can be imported and holds a Scenario is found by the look of its file."""
    held: dict[str, str] = {}
    for package in pkgutil.iter_modules(scenarios.__path__, "scenarios."):
        if package.ispkg:
            inner = importlib.import_module(package.name)
            for module in pkgutil.iter_modules(inner.__path__, package.name + "."):
                values = vars(importlib.import_module(module.name)).values()
                held |= {value.name: module.name for value in values if isinstance(value, Scenario)}
    assert held == registry.modules()


def test_they_come_in_teaching_order() -> None:
    chapters = [list(registry.TOPICS).index(scenario.topic) for scenario in registry.every()]
    assert chapters == sorted(chapters)
    places = [(scenario.topic, scenario.place) for scenario in registry.every()]
    assert all(one <= other for one, other in itertools.pairwise(places) if one[0] == other[0])


def test_finding_one_imports_no_other() -> None:
    look = "import sys; from scenarios import registry; registry.find('half-close'); print(*sys.modules, sep='\\n')"
    command = [sys.executable, "-c", look]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)
    loaded = {name for name in done.stdout.splitlines() if name in registry.modules().values()}
    assert loaded == {"scenarios.lifecycle.half_close"}


def test_a_typo_gets_the_nearest_name() -> None:
    with pytest.raises(registry.NotFound, match="no scenario named 'halfclose': did you mean half-close"):
        registry.find("halfclose")
    with pytest.raises(registry.NotFound, match=r"`synfin list` names all"):
        registry.find("zzzz")


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from scenarios.script import Scenario\n"
        "a = Scenario(name='a', title='', topic='', story='', actors=('x',))\n"
        "b = Scenario(name='b', title='', topic='', story='', actors=('x',))\n"
    )
    assert registry.find(str(path)).name == "a"
    assert registry.find(f"{path}#b").name == "b"
    with pytest.raises(registry.NotFound, match=r"it holds: a, b"):
        registry.find(f"{path}#c")
    with pytest.raises(registry.NotFound, match="no such file"):
        registry.find(str(tmp_path / "other.py"))


def test_a_file_may_import_its_neighbour_and_hides_no_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "neighbour_of_mine.py").write_text("WORD = 'next door'\n")
    (tmp_path / "select.py").write_text("raise RuntimeError('hidden')\n")
    (tmp_path / "mine.py").write_text(
        "from neighbour_of_mine import WORD\n"
        "from scenarios.script import Scenario\n"
        "play = Scenario(name='a', title='', topic='', story='', actors=('x',))\n"
        "@play.step('x', 'says')\n"
        "def _(me):\n    me.say(WORD)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with Stage.of("./mine.py") as stage:
        play = Play(stage)
        play.start()
        assert play.wait(10)
        assert [report.text for report in play.reports if report.kind == "said"] == ["next door"]


def test_a_step_for_nobody_is_refused() -> None:
    scenario = Scenario(name="s", title="", topic="", story="", actors=("server",))
    with pytest.raises(ValueError, match="no actor 'sever'"):
        scenario.step("sever", "acts")
    with pytest.raises(ValueError, match="1 to 15 bytes"):
        Scenario(name="s", title="", topic="", story="", actors=("a-name-that-is-too-long",))
