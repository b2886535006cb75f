"""The layers: tui -> scenarios -> tracer, and inside tracer edges -> vocabulary, never back.

The vocabulary is what every source and every view agrees on, so it must not know any of them: no socket, no probe,
no screen, no clock. It is defined by default: a module of tracer is vocabulary unless EDGES names it, so a new module
begins pure. Between the two stand DRIVERS, which run sources without knowing which.

Of tui only the composition root (``tui.cli*``) may know sources, since somebody must join them to the screens; and
nothing but ``tui.__main__`` may import the composition root, or the screens would reach the sources through it.

The tables below become import-linter contracts at each run, for the modules that exist at that moment.
"""

from __future__ import annotations

import configparser
import fnmatch
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent

LAYERS: Final = ("tui", "scenarios", "tracer")
"""Top-level packages, highest first."""

EDGES: Final = ("kernel", "wire", "tables", "capture", "recording", "runtimes", "export")
"""Modules of tracer that touch the world: sources, and the recording's and exports' files."""

DRIVERS: Final = (
    "machine_code", "machine_compiler", "session", "replay", "replay.engine", "replay.compiled", "replay.findings",
    "replay.pipeline", "replay.infer_compiled", "replay.infer_engine", "replay.catalogue", "replay.reread",
)  # fmt: skip
"""Modules of tracer that have a thread, a clock or a child process, and know no edge by name: the session drives the
sources that it is handed, the replay engine has its loop compiled by a child process while it goes on."""

COMPOSITION_ROOT: Final = ("tui.cli", "tui.cli_*", "tui.cli.*", "tui.__main__")
"""Modules (patterns) of tui that join sources to screens."""

NOT_PURE: Final = (
    "asyncio", "bcc", "ctypes", "pyroute2", "scapy", "select", "selectors", "socket", "subprocess", "textual",
    "threading", "time",
)  # fmt: skip
"""What the vocabulary may not import: the network, the kernel, the screen, the clock, other threads of control."""

NOT_ON_SCREEN: Final = ("bcc", "pyroute2", "scapy", "socket")
"""What screens and widgets may not import."""


def modules(root: Path) -> list[str]:
    """Dotted names of all modules and packages of the three layers under `root`.

    A folder without ``__init__.py`` is left out, since import-linter does not see it; another test asks for the file.
    """
    found = []
    for layer in LAYERS:
        for path in (root / layer).rglob("*.py"):
            if any(not (root / folder / "__init__.py").exists() for folder in path.relative_to(root).parents[:-1]):
                continue
            parts = path.relative_to(root).with_suffix("").parts
            found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return sorted(found)


def contracts(names: list[str]) -> dict[str, dict[str, list[str] | str]]:
    """Import-linter's sections, for the modules `names`: section name -> option -> value."""
    layers: list[str] = [layer for layer in LAYERS if layer in names]
    edges = [name for name in names if name.startswith("tracer.") and name.split(".")[1] in EDGES]
    drivers = [name for name in names if name.removeprefix("tracer.") in DRIVERS]
    vocabulary = [name for name in names if name.split(".")[0] == "tracer" and name not in (*edges, *drivers)]
    joiners = [name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in COMPOSITION_ROOT)]
    screens = [name for name in names if name.split(".")[0] == "tui" and name not in joiners]
    joined = [name for name in joiners if name != "tui.__main__"]
    rules: dict[str, tuple[list[str], list[str], str]] = {
        "vocabulary knows no edge and no driver": (vocabulary, [*edges, *drivers], "False"),
        "drivers know no edge": (drivers, edges, "False"),
        "vocabulary is pure": (vocabulary, list(NOT_PURE), "False"),
        "screens know no source": (screens, [*edges, *NOT_ON_SCREEN], "True"),
        "screens do not reach through the composition root": (screens, joined, "True"),
    }
    sections: dict[str, dict[str, list[str] | str]] = {
        "importlinter": {"root_packages": layers, "include_external_packages": "True"},
        "importlinter:contract:layers": {"name": "layers", "type": "layers", "layers": layers},
    }
    for name, (sources, forbidden, allow_indirect) in rules.items():
        if sources and forbidden:
            sections[f"importlinter:contract:{name.replace(' ', '-')}"] = {
                "name": name,
                "type": "forbidden",
                "source_modules": sources,
                "forbidden_modules": forbidden,
                "allow_indirect_imports": allow_indirect,
                "as_packages": "False",
            }
    return sections


def lint(root: Path, scratch: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter over the tree at `root`; the generated contracts are written to the folder `scratch`."""
    config = configparser.ConfigParser()
    for section, options in contracts(modules(root)).items():
        config[section] = {k: v if isinstance(v, str) else "\n" + "\n".join(v) for k, v in options.items()}
    path = scratch / "importlinter.ini"
    with path.open("w") as file:
        config.write(file)
    command = "import sys; sys.path.insert(0, ''); from importlinter import cli; cli.lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", command, "--config", str(path), "--no-cache"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_layers_hold(tmp_path: Path) -> None:
    done = lint(ROOT, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr + "\n(edges and the composition root: tests/test_layers.py)"


def test_no_module_hides_from_the_contracts() -> None:
    hidden = [
        str(path.relative_to(ROOT))
        for layer in LAYERS
        for path in (ROOT / layer).rglob("*.py")
        if not (path.parent / "__init__.py").exists()
    ]
    assert not hidden, f"{hidden}: the folder needs an __init__.py, or import-linter does not see it"


BREACHES: Final = {
    "tracer/states.py": "import scenarios.stage",
    "scenarios/stage.py": "import tui.app",
    "tracer/events.py": "import socket",
    "tracer/world.py": "from time import monotonic_ns",
    "tracer/timeline.py": "from tracer.session import Session",
    "tracer/session.py": "from tracer.kernel import probes",
    "tracer/replay/engine.py": "from tracer.capture import pcap",
    "tracer/causes.py": "from tracer import lookup",  # lookup imports scapy: an indirect breach
    "tui/widgets/ladder.py": "from tracer.kernel import probes",
    "tui/app.py": "from tui import cli",
}
CLEAN: Final = {
    "tracer/kernel/probes.py": "import bcc, socket, tracer.events",
    "tracer/capture/pcap.py": "from tracer.states import x",
    "tui/cli.py": "import tui.app, tracer.kernel.probes, scenarios.stage",
    "tui/cli_replay.py": "from tracer.capture import pcap",
    "tui/__main__.py": "from tui.cli import main",
    "scenarios/stage.py": "import socket, time, tracer.events",
    "tracer/world.py": "import numpy, tracer.events",
    "tracer/session.py": "import threading, time, tracer.world",
}


def _tree(root: Path, files: dict[str, str]) -> Path:
    every = dict.fromkeys(("tracer/events.py", "tracer/states.py", "tui/app.py", "scenarios/stage.py"), "")
    for name, text in {**every, **CLEAN, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
        for folder in path.relative_to(root).parents[:-1]:
            (root / folder / "__init__.py").touch()
    return root


def test_the_contracts_pass_a_clean_tree(tmp_path: Path) -> None:
    done = lint(_tree(tmp_path, {}), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", BREACHES)
def test_the_contracts_catch_a_breach(tmp_path: Path, name: str) -> None:
    files = {name: BREACHES[name]}
    if name == "tracer/causes.py":
        files["tracer/lookup.py"] = "import scapy"
    done = lint(_tree(tmp_path, files), tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout
    assert name.removesuffix(".py").replace("/", ".") in done.stdout
