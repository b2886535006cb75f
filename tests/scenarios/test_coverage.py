"""The measured table of what the scenarios provoke (`make coverage`) has no empty row that could be filled."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scenarios import coverage, registry
from tests.scenarios.test_asked import recorded
from tracer.kernel.probes import PROBES
from tracer.lints import LINTS
from tracer.states import State

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "coverage.md"


def rows(title: str) -> dict[str, list[str]]:
    """First cell and the others of each row of one of the page's tables."""
    section = PAGE.read_text(encoding="utf-8").split(f"## {title}\n")[1].split("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return {first: others for first, *others in cells[2:]}


@pytest.mark.parametrize("side", coverage.SIDES)
def test_every_state_is_reached_on_both_sides(side: str) -> None:
    table = rows("States")
    assert set(table) == {state.name for state in State if state != State.UNKNOWN}
    assert [state for state, cells in table.items() if not cells[coverage.SIDES.index(side)]] == []


def test_the_tables_are_about_all_lints_and_probes_there_are() -> None:
    assert list(rows("Lints")) == [lint.name for lint in LINTS]
    assert list(rows("Probes")) == [probe.program.removeprefix("on_") for probe in PROBES]


@pytest.mark.parametrize("title", ["Lints", "Probes"])
def test_every_lint_and_every_probe_is_provoked_by_a_scenario_that_there_is(title: str) -> None:
    for row, (cell, *_) in rows(title).items():
        assert cell, row
        named = re.sub(r"^\d+ scenarios, (.*) among them$", r"\1", cell).split(", ")
        assert cell == "helps other probes" or set(named) <= set(registry.names()), row


def test_what_a_timeline_shows_is_counted_once() -> None:
    provoked = coverage.Provoked()
    provoked.take("refused", recorded("refused").timeline)
    provoked.take("close-with-unread", recorded("close-with-unread").timeline)
    assert provoked.states["client", State.SYN_SENT] == ["refused", "close-with-unread"]
    assert provoked.states["server", State.LISTEN] == ["refused", "close-with-unread"]
    assert provoked.lints["reset-unread"] == ["close-with-unread"]
    assert provoked.kinds["reset:sent"] == ["refused", "close-with-unread"]
    page = coverage.page(provoked)
    assert "| SYN_SENT | refused, close-with-unread |  |" in page
    assert set(registry.names()) >= {"refused", "close-with-unread"}
