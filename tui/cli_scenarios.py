"""`synfin list`, `synfin show`, `synfin new`: the scenarios as a library to choose from and to add to."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from scenarios import recordings, registry
from scenarios.reference import conditions
from scenarios.script import Scenario
from scenarios.template import write
from tui.cli_errors import OUTPUT, USAGE, Trouble
from tui.plain import plain

WIDEST = 100
"""Columns that text is wrapped to, where the terminal has as many or there is none."""
NARROWEST = 40


def width() -> int:
    """Columns that text is wrapped to here."""
    return max(min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST), NARROWEST)


def list_all(topic: str | None) -> None:
    """In teaching order: under a heading for each topic on a terminal; else one line each, whole, for other programs.

    Raises Trouble for a topic that none has.
    """
    every = registry.every()
    chosen = [one for one in every if topic in (None, one.topic)]
    if not chosen:
        topics = ", ".join(dict.fromkeys(one.topic for one in every))
        raise Trouble(f"no scenario has the topic {topic!r}; there are: {topics}", USAGE)
    wide = max(len(one.name) for one in chosen)
    if sys.stdout.isatty():
        for line in _grouped(chosen, wide):
            click.echo(line)
        return
    for one in chosen:
        click.echo(f"{one.name:<{wide}}  {one.topic:<10}  {one.title}")


def _grouped(chosen: Sequence[Scenario], wide: int) -> Iterator[str]:
    """The scenarios by topic, no line wider than the terminal."""
    for topic in dict.fromkeys(one.topic for one in chosen):
        yield click.style(f"{topic}: {registry.TOPICS.get(topic, 'of its own')}", bold=True)
        for one in chosen:
            if one.topic == topic:
                head = f"  {one.name:<{wide}}  "
                yield from textwrap.wrap(one.title, width(), initial_indent=head, subsequent_indent=" " * len(head))


def show_one(name: str, *, answers: bool) -> None:
    """Print all that a scenario says about itself. Raises Trouble where there is none of that name."""
    try:
        scenario = registry.find(name)
    except registry.NotFound as failure:
        raise Trouble(str(failure), USAGE) from None
    except Exception as failure:  # a user's file may raise anything when it is run
        if not name.partition("#")[0].endswith(".py"):
            raise
        raise Trouble(f"{name} cannot be read: {type(failure).__name__}: {failure}", USAGE) from None
    for line in _lines(scenario, name, answers):
        click.echo(plain(line))


def _lines(scenario: Scenario, name: str, answers: bool) -> Iterator[str]:
    yield f"{scenario.name}: {scenario.title}"
    yield ""
    for paragraph in scenario.story.split("\n\n"):
        yield from textwrap.wrap(paragraph, width())
        yield ""
    yield f"Topic {scenario.topic}. {conditions(scenario)}"
    if scenario.watch:
        yield from ("", "Watch")
        yield from _items(scenario.watch)
    yield from ("", "Steps")
    wide = max((len(step.actor) for step in scenario.steps), default=0)
    for step in scenario.steps:
        head = f"{step.number:>4}  {step.actor:<{wide}}  "
        yield from textwrap.wrap(step.text, width(), initial_indent=head, subsequent_indent=" " * len(head))
        if step.watch:
            yield from _wrapped(f"(watch: {step.watch})", " " * len(head))
    if scenario.aftermath:
        yield f"      then: {scenario.aftermath}"
    if scenario.sights:
        yield from ("", "Must be seen")
        yield from _items(tuple(sight.text for sight in scenario.sights))
    if scenario.questions:
        yield from ("", "Questions")
        for question, answer in scenario.questions:
            yield from _items((question,))
            if answers:
                yield from _wrapped(answer, "      ")
    yield ""
    yield f"Play it: synfin run {name}"
    if scenario.name in recordings.names():
        yield f"Or look at its recording: synfin replay {recordings.shown(scenario.name)}"


def _items(texts: tuple[str, ...]) -> Iterator[str]:
    for text in texts:
        yield from textwrap.wrap(text, width(), initial_indent="  - ", subsequent_indent="    ")


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, width(), initial_indent=indent, subsequent_indent=indent)


def write_new(name: str) -> None:
    """Write the template under that name into the current folder. Raises Trouble, and never overwrites."""
    name = name.removesuffix(".py")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise Trouble(f"{name!r} is no name for a scenario: lower-case letters, digits and single dashes", USAGE)
    path = Path(f"{name}.py")
    try:
        write(name, path)
    except FileExistsError:
        raise Trouble(f"{path} is there already, and stays as it is", USAGE) from None
    except OSError as failure:
        raise Trouble(f"{path} cannot be written: {failure.strerror}", OUTPUT) from None
    click.echo(f"wrote {path}; play it: synfin run ./{path}")
