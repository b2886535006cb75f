"""The kernels that `make kernels` has fetched, each booted once, and what came of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests.kernels.machine import ROOT, Kernel, Workshop
from tests.kernels.table import write

WORKSHOP: Final = Workshop(Path(sys.prefix) / "kernels")
PATIENCE: Final = 900.0
"""Seconds for one kernel, booted and asked everything by an emulated processor; usually 150."""
COMMAND: Final = f"cd {ROOT}; PATH=/usr/bin:/usr/sbin:/bin:/sbin exec {sys.executable} -m tests.kernels.guest"


@dataclass
class Visit:
    """What one kernel has told."""

    release: str
    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Its lines, by what they are about."""
    console: str = ""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "visit" in metafunc.fixturenames:
        kernels = WORKSHOP.kernels()
        missing = pytest.param(None, marks=pytest.mark.skip(reason="needs test: no kernels: make kernels fetches them"))
        metafunc.parametrize("visit", kernels or [missing], indirect=True, scope="session", ids=_name)


def _name(kernel: Kernel | None) -> str:
    return kernel.release if kernel else "none"


@pytest.fixture(scope="session")
def image() -> Path:
    """The image that all machines mount."""
    return WORKSHOP.make_image()


@pytest.fixture(scope="session")
def visits() -> Iterator[list[Visit]]:
    """All kernels visited. When all of them told all, the table of the docs is written anew."""
    done: list[Visit] = []
    yield done
    if done and len([visit for visit in done if "command" in visit.told]) == len(WORKSHOP.kernels()):
        write([visit.told for visit in done], ROOT / "docs" / "kernels.md")


@pytest.fixture(scope="session")
def visit(request: pytest.FixtureRequest, image: Path, visits: list[Visit]) -> Visit:
    """One kernel booted, asked everything, and ended."""
    kernel: Kernel = request.param
    answer, console = WORKSHOP.run(kernel, image, COMMAND, PATIENCE)
    lines = [json.loads(line) for line in answer.splitlines() if line.startswith("{")]
    visits.append(Visit(kernel.release, {line["what"]: line for line in lines}, console))
    return visits[-1]
