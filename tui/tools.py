"""What the screen may ask for that takes files or other libraries: handed over by the command line, plain functions.

The screen knows no file format and no packet library. Whoever makes the screen gives it these; without them the keys
that need them say so in a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tracer.timeline import Event, Timeline


class Layer(NamedTuple):
    """One protocol layer of a packet."""

    name: str
    fields: Sequence[tuple[str, str]]
    """Name and value, in the order of the header."""


@dataclass(frozen=True)
class Tools:
    """Functions of the command line; None where there is none."""

    save: Callable[[Timeline, str], int] | None = None
    """Writes a timeline as a recording to a path, gives how many events it holds. Raises OSError, one sentence."""
    dissect: Callable[[Event], Sequence[Layer]] | None = None
    """The layers of a packet. Raises ValueError, one sentence."""
    as_json: Callable[[Event], str] | None = None
    """An event as one line of JSON."""
    memory: Path | None = None
    """Where the state of this view is kept; None: nowhere."""
    questions: Callable[[], Sequence[tuple[str, str]]] | None = None
    """Of the scenario that is shown: questions and answers, for the end of a lesson."""
    output: Callable[[], Sequence[str]] | None = None
    """The last lines that a launched command has written, made harmless."""
    folder: Path = Path()
    """Where what is saved goes."""
