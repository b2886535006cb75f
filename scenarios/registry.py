"""Where scenarios are found: the ones that came with the program, by name, and a user's own, by file.

A scenario is any module-level `Scenario` object. The built-in ones are listed here by module, since finding them must
not cost the import of all; a test keeps the list complete.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Final

from scenarios.script import Scenario

BUILT_IN: Final = {
    "half-close": "scenarios.lifecycle.half_close",
}
"""Name of each scenario, and the module it is in."""


class NotFound(LookupError):
    """No such scenario; str() says so in words, with the nearest names."""


def names() -> list[str]:
    """All built-in scenarios, in their teaching order."""
    return list(BUILT_IN)


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
    if name not in BUILT_IN:
        near = difflib.get_close_matches(name, BUILT_IN, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(BUILT_IN)}"
        raise NotFound(f"no scenario named {name!r}: {hint}")
    return f"module:{BUILT_IN[name]}#{name}"


def load(where: str) -> Scenario:
    """The scenario at an origin. Raises NotFound, and whatever a user's file raises when it is run."""
    place, _, name = where.partition("#")
    scheme, _, target = place.partition(":")
    if scheme == "module":
        module = importlib.import_module(target)
    else:
        spec = importlib.util.spec_from_file_location("synfin_user_scenario", target)
        if spec is None or spec.loader is None:
            raise NotFound(f"{target} is not a Python file")
        # What lies beside the file may be imported by it, as if it had been started itself; it hides nothing of ours.
        folder = str(Path(target).parent)
        if folder not in sys.path:
            sys.path.append(folder)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    found = [value for value in vars(module).values() if isinstance(value, Scenario)]
    for scenario in found:
        if not name or scenario.name == name:
            return scenario
    held = ", ".join(scenario.name for scenario in found) or "none"
    raise NotFound(f"no scenario {name!r} in {target} (it holds: {held})" if name else f"no Scenario in {target}")


def find(name: str) -> Scenario:
    """The scenario of that name or file. Raises NotFound, and whatever a user's file raises when it is run."""
    return load(origin(name))
