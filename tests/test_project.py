"""The project's frame: what is shipped, what it depends on, and the promises the README makes about commands.

Most of these break silently otherwise: a probe text missing from the wheel is noticed only by the first user without
a clone, and a path of one developer's machine only by the second.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGES: Final = ("tracer", "scenarios", "tui")
DATA: Final = (".c", ".h", ".tcss", ".pcapng", ".typed")
"""Kinds of file that the program reads at run time and no import would miss."""

LONGEST_MODULE: Final = 450
"""Lines; a module is about one thing in about 400."""


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project


def _sources() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def test_the_wheel_holds_every_module_and_data_file() -> None:
    shipped = {Path(str(file.path)).resolve() for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    wanted = _sources() + [
        path for folder in (*PACKAGES, "captures") for path in (ROOT / folder).rglob("*") if path.suffix in DATA
    ]
    assert len(wanted) > 10
    assert not {str(path.relative_to(ROOT)) for path in wanted} - {
        str(path.relative_to(ROOT)) for path in shipped if path.is_relative_to(ROOT)
    }


def test_captures_are_shipped_inside_scenarios() -> None:
    for file in WheelBuilder(str(ROOT)).recurse_included_files():
        top = Path(file.distribution_path).parts[0]
        assert top in PACKAGES, f"{file.distribution_path} would be installed beside other people's packages"


def test_every_dependency_has_a_range_and_bcc_comes_from_the_system() -> None:
    project = _project()
    extras = [need for needs in project["optional-dependencies"].values() for need in needs]
    for need in [*project["dependencies"], *extras]:
        assert re.match(r"[a-z0-9-]+>=[0-9.]+,<[0-9.]+", need), f"{need}: name the oldest and the first unknown version"
        assert not re.match(r"(bcc|bpfcc)\b", need), "libbcc and its Python module must be of one build: python3-bpfcc"


def test_the_command_is_declared_and_starts() -> None:
    assert _project()["scripts"] == {"synfin": "tui.cli:main"}
    done = subprocess.run(
        [sys.executable, "-c", "from tui.cli import main; main()", "--help"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_every_module_opens_with_a_paragraph_and_is_about_one_thing() -> None:
    for path in _sources():
        text = path.read_text()
        name = path.relative_to(ROOT)
        assert text.startswith(('"""', 'r"""')), f"{name} opens with its theory, not with {text[:30]!r}"
        assert text.count("\n") <= LONGEST_MODULE, f"{name} is longer than {LONGEST_MODULE} lines"


def test_nothing_tells_where_it_was_written() -> None:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("needs test: no git clone")
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    # In two halves, or this file would be found.
    private = re.compile("/work" "/|/root" "/|extra-index" "-url|find" "-links")
    for name in listed.stdout.split("\0"):
        path = ROOT / name
        if name and path.is_file() and path.suffix not in (".pcapng", ".pcap", ".svg"):
            found = private.search(path.read_text(errors="replace"))
            assert not found, f"{name} names {found and found.group()}"


def test_the_readmes_make_commands_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    promised = set(re.findall(r"(?:^|`)make ([a-z]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= promised <= targets


@pytest.mark.parametrize("script", ["tools/setup.sh", "tools/run.sh", "tools/paths.sh", ".ci/run"])
def test_scripts_are_sound_shell(script: str) -> None:
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True, timeout=10)


def _paths(clone: Path, **environment: str) -> dict[str, str]:
    """What tools/paths.sh decides in the copy of the tools at `clone`, under just this environment."""
    answer = 'printf "%s\\n" "$venv" "$HOME" "$state" "$(fingerprint test)"'
    done = subprocess.run(
        ["bash", "-c", f'. "$0/tools/paths.sh" && {answer}', str(clone)],
        env={"PATH": os.environ["PATH"], **environment}, capture_output=True, text=True, timeout=10, check=True,
    )  # fmt: skip
    return dict(zip(("venv", "home", "state", "fingerprint"), done.stdout.splitlines(), strict=True), said=done.stderr)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A bare copy of what set-up reads."""
    (tmp_path / "clone").mkdir()
    shutil.copytree(ROOT / "tools", tmp_path / "clone" / "tools")
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "clone")
    return tmp_path / "clone"


def test_the_environment_lies_in_the_clone_unless_told_otherwise(clone: Path, tmp_path: Path) -> None:
    assert _paths(clone, HOME=str(tmp_path))["venv"] == f"{clone}/.venv"
    assert _paths(clone, HOME=str(tmp_path), SYNFIN_VENV="/elsewhere")["venv"] == "/elsewhere"


def test_what_is_kept_lies_in_the_users_cache(clone: Path, tmp_path: Path) -> None:
    home, cache = tmp_path / "home", tmp_path / "cache"
    home.mkdir()
    assert _paths(clone, HOME=str(home))["state"] == f"{home}/.cache/synfin"
    assert _paths(clone, HOME=str(home), XDG_CACHE_HOME=str(cache))["state"] == f"{cache}/synfin"
    assert _paths(clone, HOME=str(home), XDG_CACHE_HOME="/dev/null")["state"] == f"{home}/.cache/synfin"
    homeless = _paths(clone, HOME=str(tmp_path / "nonexistent"), XDG_CACHE_HOME=str(cache))
    assert (homeless["state"], homeless["said"]) == (f"{cache}/synfin", "")
    assert not (tmp_path / "nonexistent").exists()


def test_without_a_home_there_is_a_stand_in_and_it_says_so_once(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    first = _paths(clone, TMPDIR=str(tmp_path / "tmp"))
    home = Path(first["home"])
    assert home.is_dir()
    assert home.is_relative_to(tmp_path / "tmp")
    assert f"kept between runs is in {first['state']}" in first["said"]
    assert _paths(clone, TMPDIR=str(tmp_path / "tmp"))["said"] == ""


def test_set_up_runs_again_when_the_dependencies_change(clone: Path, tmp_path: Path) -> None:
    before = _paths(clone, HOME=str(tmp_path))["fingerprint"]
    assert _paths(clone, HOME=str(tmp_path))["fingerprint"] == before
    with (clone / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    assert _paths(clone, HOME=str(tmp_path))["fingerprint"] != before


SKIPPED: Final = "import pytest\n@pytest.mark.kernel\ndef test_x(): pytest.skip('no luck')\n"
LACKING: Final = "import pytest\n@pytest.mark.kernel\ndef test_x(): pytest.skip('kernel lacks sk_data_ready')\n"
PASSING: Final = "import pytest\n@pytest.mark.kernel\ndef test_y(): pass\n"
NO_KERNEL: Final = "def test_kernel(): pass\n"


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("files", "code", "words"),
    [
        ({"a": SKIPPED, "b": PASSING}, 1, "test_x: no luck"),
        ({"a": LACKING, "b": PASSING}, 0, "kernel tests: 1 passed, 1 skipped"),
        ({"a": NO_KERNEL}, 1, "no kernel test ran"),
    ],
    ids=["skipped", "kernel too old", "none there"],
)
@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_run_whose_kernel_tests_skip_is_not_green(
    tmp_path: Path, files: dict[str, str], code: int, words: str, workers: str
) -> None:
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path / "tests")
    for name, text in files.items():
        (tmp_path / "tests" / f"test_{name}.py").write_text(text)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", workers, "--dist", "loadgroup", "--kernel-must-run"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, words in done.stdout) == (code, True), done.stdout
