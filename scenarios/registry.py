"""Where scenarios are found: the ones that came with the program, by name, and a user's own, by file.

A scenario is a module-level `Scenario` object. A built-in one lies in a folder of this package, one to a module, and is
called as its file is, with dashes: `scenarios/lifecycle/half_close.py` holds `half-close`. So finding one by name is
finding a file, and a new scenario is a new file and nothing else; where it stands in the course of teaching it says
itself, by its topic and its place there.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

from scenarios.script import Scenario

TOPICS: Final = {
    "lifecycle": "the plain course of a life, and its plain endings",
    "opening": "how connections begin, or do not",
    "talking": "what happens between the first byte and the last",
    "ending": "how connections end, or do not",
    "resources": "what a connection costs, and what runs out",
    "limits": "options and limits: what can be set, and what it changes",
    "servers": "programs that serve many",
}
"""The chapters in teaching order; a topic that is not here comes after them."""
_MADE: Final = re.compile(rb"^scenario(: \w+)? = Scenario\(", re.MULTILINE)
_FOLDER: Final = Path(__file__).resolve().parent


class NotFound(LookupError):
    """No such scenario; str() says so in words, with the nearest names."""


@functools.cache
def modules() -> dict[str, str]:
    """Name of each built-in scenario, and the module it is in. Nothing is imported for it."""
    return {
        path.stem.replace("_", "-"): f"scenarios.{path.parent.name}.{path.stem}"
        for path in sorted(_FOLDER.glob("*/*.py"))
        if _MADE.search(path.read_bytes())
    }


@functools.cache
def every() -> tuple[Scenario, ...]:
    """All built-in scenarios, in their teaching order: by topic, by place there, by name."""
    chapters = list(TOPICS)

    def course(scenario: Scenario) -> tuple[int, str, int, str]:
        known = scenario.topic in TOPICS
        chapter = chapters.index(scenario.topic) if known else len(chapters)
        return chapter, scenario.topic, scenario.place, scenario.name

    return tuple(sorted((find(name) for name in modules()), key=course))


def names() -> list[str]:
    """Their names, in teaching order."""
    return [scenario.name for scenario in every()]


def origin(name: str) -> str:
    """What `load` needs, in any process: `module:...#name` or `file:...#name`. Raises NotFound.

    `name` is a built-in's name, or a path (it has a slash or ends in .py), optionally with `#scenario` behind it.
    """
    path, _, inside = name.partition("#")
    if "/" in path or path.endswith(".py"):
        file = Path(path).expanduser().resolve()
        if not file.is_file():
            raise NotFound(f"no such file: {path}")
        return f"file:{file}#{inside}"
    known = modules()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else "`synfin list` names all there are"
        raise NotFound(f"no scenario named {name!r}: {hint}")
    return f"module:{known[name]}#{name}"


def module_of(file: Path) -> ModuleType:
    """A user's file as a module, run anew. Raises NotFound, and whatever it raises when it is run."""
    spec = importlib.util.spec_from_file_location("synfin_user_scenario", file)
    if spec is None or spec.loader is None:
        raise NotFound(f"{file} is not a Python file")
    # What lies beside the file may be imported by it, as if it had been started itself; it hides nothing of ours.
    folder = str(file.parent)
    if folder not in sys.path:
        sys.path.append(folder)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def load(where: str) -> Scenario:
    """The scenario at an origin. Raises NotFound, and whatever a user's file raises when it is run."""
    place, _, name = where.partition("#")
    scheme, _, target = place.partition(":")
    module = importlib.import_module(target) if scheme == "module" else module_of(Path(target))
    found = [value for value in vars(module).values() if isinstance(value, Scenario)]
    for scenario in found:
        if not name or scenario.name == name:
            return scenario
    held = ", ".join(scenario.name for scenario in found) or "none"
    raise NotFound(f"no scenario {name!r} in {target} (it holds: {held})" if name else f"no Scenario in {target}")


def find(name: str) -> Scenario:
    """The scenario of that name or file. Raises NotFound, and whatever a user's file raises when it is run."""
    return load(origin(name))
