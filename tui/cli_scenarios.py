"""`synfin list`, `synfin show`, `synfin new`: the scenarios as a library to choose from and to add to."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click

from scenarios import recordings, registry
from scenarios.reference import conditions
from scenarios.script import Scenario
from scenarios.template import write
from tui.cli_errors import OUTPUT, USAGE, Trouble
from tui.plain import plain

WIDTH = 100
"""Columns that text is wrapped to."""


def list_all(topic: str | None) -> None:
    """One line each, in teaching order. Raises Trouble for a topic that none has."""
    every = registry.every()
    chosen = [one for one in every if topic in (None, one.topic)]
    if not chosen:
        topics = ", ".join(dict.fromkeys(one.topic for one in every))
        raise Trouble(f"no scenario has the topic {topic!r}; there are: {topics}", USAGE)
    width = max(len(one.name) for one in chosen)
    for one in chosen:
        click.echo(f"{one.name:<{width}}  {one.topic:<10}  {one.title}")


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
        yield from textwrap.wrap(paragraph, WIDTH)
        yield ""
    yield f"Topic {scenario.topic}. {conditions(scenario)}"
    if scenario.watch:
        yield from ("", "Watch")
        yield from _items(scenario.watch)
    yield from ("", "Steps")
    wide = max((len(step.actor) for step in scenario.steps), default=0)
    for step in scenario.steps:
        head = f"{step.number:>4}  {step.actor:<{wide}}  "
        yield from textwrap.wrap(step.text, WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
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
        yield from textwrap.wrap(text, WIDTH, initial_indent="  - ", subsequent_indent="    ")


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent)


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
