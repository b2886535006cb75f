"""The pages made from the scenarios say what the scenarios say now, and every recording is one of theirs and holds.

A recording must show what its scenario shows, and be a second oracle as the play is: the states that its packets alone
tell are those that the kernel had.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from scenarios import recordings, reference, registry
from scenarios.sights import Seen, evaluate, failed
from tests.scenarios.second_oracle import EXCEPTIONS, differences
from tracer.timeline import Timeline
from tui.cli_replay import ReplayFeed, open_source

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = {
    "docs/scenarios.md": reference.scenarios,
    "docs/sights.md": reference.sights,
    "captures/README.md": reference.captures,
}
MOST_BYTES = 300_000
"""Of a recording that comes along."""
MOST_BYTES_IN_ALL = 4_000_000


@pytest.mark.parametrize("page", PAGES)
def test_the_page_is_what_the_scenarios_say(page: str) -> None:
    assert (ROOT / page).read_text(encoding="utf-8") == PAGES[page](), "make docs writes it anew"


def test_every_recording_is_of_a_scenario_and_every_plain_life_is_recorded() -> None:
    assert set(recordings.names()) <= set(registry.names())
    assert {scenario.name for scenario in reference.recorded()} <= set(recordings.names())


def path(name: str) -> Path:
    """Where a recording lies."""
    place = recordings.folder()
    assert place is not None
    return place / f"{name}.pcapng"


def replayed(name: str) -> Timeline:
    """A recording's timeline, as `synfin replay` has it."""
    feed = ReplayFeed(open_source(str(path(name))))
    feed.read_all()
    return feed.timeline


@pytest.mark.parametrize("name", recordings.names())
def test_a_recording_is_small_and_shows_all_that_its_scenario_shows(name: str) -> None:
    assert path(name).stat().st_size < MOST_BYTES
    timeline = replayed(name)
    outcomes = evaluate(registry.find(name), timeline)
    assert failed(outcomes) == []
    assert {outcome.verdict for outcome in outcomes} == {"seen"}
    assert bool(differences(Seen(timeline), path(name))) == (name in EXCEPTIONS)


def test_all_recordings_together_are_small() -> None:
    assert sum(path(name).stat().st_size for name in recordings.names()) < MOST_BYTES_IN_ALL


@pytest.mark.needs("capinfos")
def test_wireshark_reads_every_recording_to_its_end_in_strict_order() -> None:
    files = [str(path(name)) for name in recordings.names()]
    told = subprocess.run(["capinfos", "-T", "-r", "-o", "-c", *files], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, "")
    assert [line.split("\t")[-1] for line in told.stdout.splitlines()] == ["True"] * len(files)
