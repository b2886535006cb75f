"""The pages made from the scenarios say what the scenarios say now, and every recording is one of theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from scenarios import recordings, reference, registry
from scenarios.sights import evaluate, failed
from tracer.recording.source import RecordingSource
from tracer.session import Session
from tracer.timeline import Timeline

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = {
    "docs/scenarios.md": reference.scenarios,
    "docs/sights.md": reference.sights,
    "captures/README.md": reference.captures,
}
MOST_BYTES = 300_000
"""Of a recording that comes along."""


@pytest.mark.parametrize("page", PAGES)
def test_the_page_is_what_the_scenarios_say(page: str) -> None:
    assert (ROOT / page).read_text(encoding="utf-8") == PAGES[page](), "make docs writes it anew"


def test_every_recording_is_of_a_scenario_and_every_plain_life_is_recorded() -> None:
    assert set(recordings.names()) <= set(registry.names())
    assert {scenario.name for scenario in reference.recorded()} <= set(recordings.names())


def replayed(name: str) -> Timeline:
    """A recording's timeline."""
    place = recordings.folder()
    assert place is not None
    with (place / f"{name}.pcapng").open("rb") as file:
        session = Session([RecordingSource(file)])
        while session.pump(final=True):
            pass
    return session.timeline


@pytest.mark.parametrize("name", recordings.names())
def test_a_recording_is_small_and_shows_all_that_its_scenario_shows(name: str) -> None:
    place = recordings.folder()
    assert place is not None
    assert (place / f"{name}.pcapng").stat().st_size < MOST_BYTES
    outcomes = evaluate(registry.find(name), replayed(name))
    assert failed(outcomes) == []
    assert {outcome.verdict for outcome in outcomes} == {"seen"}
