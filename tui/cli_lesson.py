"""Lessons as the command line begins them: on a recording, a capture, or a scenario whose steps wait for answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from scenarios import registry
from scenarios.script import Scenario
from tracer.session import EventSource
from tui.cli_errors import USAGE, Trouble
from tui.tools import Tools


def needs_screen(form: str, lesson: bool) -> None:
    """Raises Trouble for a lesson without a screen."""
    if lesson and form != "screen":
        raise Trouble("a lesson needs a terminal: leave out --text, --json, --check, and pipes", USAGE)


def with_questions(made: Tools, told: Callable[[], Scenario | None], lesson: bool) -> Tools:
    """The screen's tools with the scenario's questions; a lesson begins anew each time, so it remembers nothing."""

    def questions() -> tuple[tuple[str, str], ...]:
        scenario = told()
        return scenario.questions if scenario is not None else ()

    made = replace(made, questions=questions)
    return replace(made, memory=None) if lesson else made


def scenario_of(source: EventSource) -> Scenario | None:
    """The built-in scenario that a recording is of, as far as it has been read; None of any other file."""
    meta = getattr(getattr(source, "reader", None), "meta", {})
    name = str(meta.get("scenario", ""))
    return registry.find(name) if name in registry.modules() else None
