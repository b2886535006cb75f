"""Recordings that came along (captures/), read as the screens read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from scenarios import recordings
from tracer.batch import Batch
from tracer.recording.source import RecordingSource
from tracer.session import Session
from tracer.timeline import Timeline


def read(name: str, derive: Sequence[Callable[[Batch], Batch]] = ()) -> Timeline:
    """All of a scenario's recording, by its name; a timeline of one's own. `derive` is the session's."""
    folder = recordings.folder()
    assert folder is not None
    with (folder / f"{name}.pcapng").open("rb") as file:
        source = RecordingSource(file)
        session = Session([source], derive=derive)
        while not source.finished:
            session.pump(final=True)
        session.stop()
    return session.timeline


@cache
def recorded(name: str = "half-close") -> Timeline:
    """The same, read once for all tests: not to be added to."""
    return read(name)
