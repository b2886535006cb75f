"""The wheel alone: built from the tree, installed into an empty environment in another folder, it does everything.

Dependencies are lent by the environment that runs the tests, through a .pth file: nothing is fetched.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import pytest

from tests.e2e.conftest import ROOT, Synfin, load, typing
from tests.e2e.test_live import CLIENT
from tracer.kernel.probes import TEXTS

LENT: Final = Path(click.__file__).resolve().parent.parent
KEPT: Final = ("tracer", "scenarios", "tui")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the project's own backend, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    build = "import hatchling.build as b, sys; print(b.build_wheel(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", build, str(folder)], cwd=ROOT, check=True, capture_output=True, timeout=120)
    (file,) = folder.glob("synfin-*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with nothing in it but the wheel; its `synfin` command."""
    place = tmp_path_factory.mktemp("elsewhere") / "env"
    venv.create(place, with_pip=False, symlinks=True)
    python = place / "bin" / "python"
    asked = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    site = Path(asked.stdout.strip())
    (site / "lent.pth").write_text(f"{LENT}\n")  # behind the environment's own: what the wheel has comes first
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index",
         "--disable-pip-version-check", "--force-reinstall", str(wheel)],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return place / "bin" / "synfin"


@pytest.fixture
def command(installed: Path, tmp_path: Path) -> Iterator[Synfin]:
    """Types commands of the installed program, in a folder that has nothing to do with the clone."""
    yield from typing(Synfin(tmp_path, python=(str(installed),), variables={"PYTHONPATH": ""}))


def test_it_holds_probe_text_stub_headers_styles_and_the_capture(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"tracer/kernel/text/{text}" for text in TEXTS} <= set(names)
    headers = [path.relative_to(ROOT).as_posix() for path in (ROOT / "tracer/kernel/include").rglob("*.h")]
    assert headers and set(headers) <= set(names)
    assert "tui/synfin.tcss" in names
    assert "scenarios/captures/half-close.pcapng" in names
    assert {name.partition("/")[0] for name in names} <= {
        *KEPT,
        next(n for n in names if "dist-info" in n).split("/")[0],
    }


def test_the_installed_program_is_the_wheels(installed: Path) -> None:
    told = subprocess.run(
        [installed.parent / "python", "-c", "import tracer, scenarios, tui; print(tracer.__file__, tui.__file__)"],
        cwd=installed.parent, env={"PATH": os.defpath}, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert all(Path(path).is_relative_to(installed.parent.parent) for path in told.stdout.split())


def test_list(command: Synfin) -> None:
    ran = command("list")
    assert (ran.code, ran.err) == (0, "")
    assert re.search(r"^half-close +lifecycle", ran.out, re.M)


def test_doctor(command: Synfin) -> None:
    ran = command("doctor", "--json")
    assert ran.code == 0
    told = json.loads(ran.out)
    assert told["probes"] and told["machine"]
    if os.geteuid() == 0 and all(row["ok"] for row in told["machine"]):
        assert all(row["ok"] for row in told["probes"])


def test_replay_of_the_capture_that_came_along(command: Synfin, installed: Path) -> None:
    (file,) = installed.parent.parent.rglob("scenarios/captures/half-close.pcapng")
    ran = command("replay", str(file), "--json")
    assert (ran.code, ran.err) == (0, "")
    moves = [event for event in ran.events if event["event"] in ("socket:state", "timewait:born")]
    client = [event.get("new", event.get("substate")) for event in moves if event["side"] == "client"]
    assert client[: len(CLIENT) - 1] == CLIENT[1:]


@pytest.mark.kernel
def test_run_as_root(command: Synfin) -> None:
    ran = command("run", "half-close", "--text", "-w", "run.pcapng")
    assert ran.code == 0, ran.err
    assert "without kernel" not in ran.err
    assert "TIME_WAIT object takes over" in ran.out
    assert len(load(command.folder / "run.pcapng")) > 150
