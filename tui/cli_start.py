"""The start page's choices, and what choosing one does: the same as having typed it.

What is quick to know is listed at once: scenarios, recordings, captures. What takes asking the machine (files looked
at lately, ports and processes) comes a moment later, from another thread, and what a file holds is looked up when it
is highlighted.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

from scenarios import recordings, registry
from scenarios.reference import conditions
from scenarios.script import Scenario
from scenarios.servers.models import MODELS
from tracer.capture import CaptureError
from tracer.recording.source import RecordingSource
from tracer.words import size
from tui.cli_errors import USAGE, Trouble
from tui.cli_signals import show
from tui.cli_start_live import live
from tui.memory import load, place_for, recent
from tui.plain import plain
from tui.screens.start import Command, Entry, Place

SUFFIXES: Final = tuple(name + packed for name in (".pcap", ".pcapng", ".cap") for packed in ("", ".gz", ".xz", ".zst"))
MOST: Final = 1000
"""Files of this folder that are listed: a folder of more is searched by the shell."""
HERE: Final = "in this folder"
_EMPHASIS: Final = re.compile(r"\*(\w[^*]*)\*")


def start_page(place: Place, *, ascii_only: bool = False) -> Command:
    """Show the page as it was left; the command that was chosen, empty for none. Raises Trouble without a terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Trouble("the start page needs a terminal; `synfin --help` lists the commands", USAGE)
    from tui.start import StartApp

    app = StartApp(list(entries()), more=lambda: [*lately(), *live()], about=about, ascii_only=ascii_only, place=place)
    return show(app) or ()


def entries() -> Iterator[Entry]:
    """What is known at once."""
    for scenario in registry.every():
        yield _scenario(scenario)
    there = {name: recordings.shown(name) for name in recordings.names()}
    for name, path in there.items():
        yield _recorded("Lessons", "on a recording: no rights needed", name, path)
    for scenario in registry.every():
        group = "with real actors: each answer lets the next step be taken"
        yield _scenario(scenario)._replace(
            section="Lessons", group=group, argv=("run", scenario.name, "--lesson"), again=True
        )
    for name, path in there.items():
        yield _recorded("Captures", "came with the program", name, path)
    files = (file for file in sorted(Path.cwd().iterdir()) if file.name.endswith(SUFFIXES) and file.is_file())
    for file in islice(files, MOST):
        yield _file("Captures", HERE, file, f"./{file.name}")
    for name, model in MODELS.items():
        story = f"A thousand real clients on loopback against {model.what}. For a silent client it keeps {model.keeps}."
        yield Entry("Load", "server models under load", name, model.what, ("load", "--model", name), story)


def _scenario(scenario: Scenario) -> Entry:
    group = f"{scenario.topic}: {registry.TOPICS.get(scenario.topic, 'of its own')}"
    told = _EMPHASIS.sub(r"\1", scenario.story)
    story = "\n\n".join((told, conditions(scenario), *(f"• {what}" for what in scenario.watch)))
    run = ("run", scenario.name)
    return Entry("Scenarios", group, scenario.name, scenario.title, run, story, (*run, "--lesson"), (*run, "--step"))


def _recorded(section: str, group: str, name: str, path: str) -> Entry:
    replay = ("replay", path)
    lesson = (*replay, "--lesson")
    story, line = "", "a recording of the scenario"
    if name in registry.modules():
        scenario = registry.find(name)
        story, line = _EMPHASIS.sub(r"\1", scenario.story), scenario.title
    return Entry(section, group, name, line, lesson if section == "Lessons" else replay, story, lesson)


def _file(section: str, group: str, path: Path, typed: str) -> Entry:
    told = path.stat()
    day = datetime.fromtimestamp(told.st_mtime).astimezone()
    line = f"{size(told.st_size)}, {day:%Y-%m-%d %H:%M}"
    return Entry(section, group, path.name, line, ("replay", typed), "", ("replay", typed, "--lesson"))


def lately() -> Iterator[Entry]:
    """Files that were looked at or recorded lately, and how they were left."""
    for path in recent():
        place = place_for(str(path))
        left = load(place) if place is not None else None
        entry = _file("Recent", "looked at or recorded lately", path, str(path))
        if left is not None:
            marks = f", {len(left.marks)} mark{'s' * (len(left.marks) > 1)}" if left.marks else ""
            found = f", filter {left.filter}" if left.filter else ""
            where = f"Left at event {left.cursor + 1:,} of {left.count:,}{marks}{found}; it opens there again."
            entry = entry._replace(story=f"{path}\n\n{where}")
        yield entry


def about(entry: Entry) -> str:
    """What a file says of itself; "" of anything else."""
    if entry.argv[0] != "replay":
        return ""
    from tui.cli_replay import open_source

    try:
        source = open_source(entry.argv[1])
    except CaptureError as failure:
        return plain(str(failure))
    try:
        if not isinstance(source, RecordingSource):
            return "A capture: packets as they passed. States are inferred from them by the rules of RFC 9293."
        next(iter(source.reader.batches()), None)  # what it says of itself comes with the first of its events
        meta = source.reader.meta
        kernel = f", on Linux {meta['kernel']}" if "kernel" in meta else ""
        told = meta.get("scenario") or meta.get("traced") or "a run"
        return plain(f"A recording of {told}{kernel}, by synfin {meta.get('version', '?')}.")
    finally:
        source.stop()
