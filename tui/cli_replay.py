"""`synfin replay FILE`: a recording or a capture through the same session and screens as a live run."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import click
import numpy as np

from tracer.capture import ByteSource, CaptureError, open_capture
from tracer.capture.events import CaptureSource
from tracer.recording.reader import is_recording
from tracer.recording.source import RecordingSource
from tracer.replay.findings import PacketFindings
from tracer.replay.infer_events import StateEvents
from tracer.resources import record, resources, table
from tracer.session import Session
from tracer.timeline import Timeline
from tui.cli_errors import INTERRUPTED, USAGE, Trouble
from tui.cli_lesson import needs_screen, scenario_of, with_questions
from tui.cli_print import Printer, terminal_width
from tui.cli_signals import show
from tui.cli_tools import tools
from tui.feed import Probe
from tui.plain import plain

if TYPE_CHECKING:
    from tui.cli_large import LargeFeed

SNIFF: Final = 4096
"""Bytes looked at to tell a recording of ours from any other capture: its section header is the first thing in it."""
LARGE: Final = 24 << 20
"""Bytes of a capture from which on it is not read into memory (tui.cli_large): some hundred thousand packets."""
PATIENCE: Final = 2.0
"""Seconds for which reading waits, with something to show, for the screen to be there."""


class ReplayFeed:
    """A file being read, as the screen sees it (tui.feed.Feed)."""

    recording = None
    filter = ""
    play = None

    def __init__(self, source: RecordingSource | CaptureSource, printer: Printer | None = None) -> None:
        self.source = source
        ours = isinstance(source, RecordingSource)
        derive = [PacketFindings().extend] if ours else [PacketFindings().extend, StateEvents().extend]
        self.session = Session([source], sinks=[printer] if printer else [], derive=derive)
        self.finished = False
        self._reader: threading.Thread | None = None
        self._stopping = False
        self._looks = 0
        """How often somebody has asked how far reading is while there was something to show."""
        self._shown = threading.Event()
        """They asked again: what there was at first is on the screen."""

    @property
    def timeline(self) -> Timeline:
        """All events read so far."""
        return self.session.timeline

    @property
    def written(self) -> int:
        """Events read so far."""
        return self.session.losses().written

    @property
    def lost(self) -> int:
        """Events that were lost when it was recorded, as far as read."""
        table = self.timeline.table("trace:lost")
        return int(table["total"][-1]) if len(table) else 0

    @property
    def probes(self) -> Sequence[Probe]:
        """Which probes were on when it was recorded; for a capture, what it can and cannot tell."""
        if isinstance(self.source, CaptureSource):
            return [Probe("capture", True), Probe("kernel", False, "a capture holds packets; states are inferred")]
        told = self.source.reader.meta.get("probes", [])
        return [
            Probe(str(row.get("group", "?")), bool(row.get("on")), str(row.get("reason", "")))
            for row in told
            if isinstance(row, dict)
        ]

    @property
    def progress(self) -> float | None:
        """Part of the file that has been read; None where that is not known or no longer of interest."""
        if self._reader is not None and len(self.timeline):
            self._looks += 1
            if self._looks > 1:
                self._shown.set()
        return None if self.finished else self.source.progress

    def read_all(self) -> None:
        """Read to the end, in the calling thread."""
        while not self.source.finished and not self._stopping:
            self.session.pump(final=True)
            if self._reader is not None and len(self.timeline):
                self._shown.wait(PATIENCE)  # the first screen comes first: both would only hold each other up
                self._shown.set()
        self.session.stop()
        self.finished = True

    def read_behind(self) -> None:
        """Read to the end in a thread of its own, while somebody looks at what is there already."""
        self._reader = threading.Thread(target=self.read_all, name="synfin-replay", daemon=True)
        self._reader.start()

    def close(self) -> None:
        """Stop reading."""
        self._stopping = True
        self._shown.set()
        if self._reader is not None:
            self._reader.join()

    def notes(self) -> Iterator[str]:
        """What could not be read, one sentence each."""
        if isinstance(self.source, RecordingSource):
            yield from self.source.reader.notes
        else:
            yield from (str(note) for note in self.source.capture.notes)


def replay_file(file: str, form: str, *, plain_glyphs: bool, lesson: bool = False) -> None:
    """Open and show ``file``. Raises Trouble when nothing of it can be read."""
    needs_screen(form, lesson)
    if form == "screen" and file == "-":
        file = _keep_piped_input()
    try:
        source = open_source(file)
    except CaptureError as failure:
        raise Trouble(str(failure), USAGE) from None
    if form == "screen":
        from tui.app import SynfinApp

        feed: ReplayFeed | LargeFeed
        if isinstance(source, CaptureSource) and _size(file) >= LARGE:
            from tui.cli_large import LargeFeed

            feed = LargeFeed(source)
        else:
            feed = ReplayFeed(source)
        feed.read_behind()
        try:
            made = with_questions(tools(file), lambda: scenario_of(source), lesson)
            title = Path(file).name
            show(SynfinApp(feed, title=title, ascii_only=plain_glyphs, mode="replay", tools=made, lesson=lesson))
        finally:
            feed.close()
    else:
        feed = ReplayFeed(source, Printer(form, terminal_width()))
        try:
            feed.read_all()
        except KeyboardInterrupt:
            raise Trouble("interrupted; what was read until then is above", INTERRUPTED) from None
    for note in feed.notes():
        click.echo(f"synfin: {note}", err=True)


def _size(file: str) -> int:
    """Bytes of a file that can be read twice, 0 of anything else."""
    path = Path(file)
    return path.stat().st_size if path.is_file() else 0


def print_resources(file: str, *, as_json: bool) -> None:
    """The lifecycle table of every connection in ``file``. Raises Trouble when nothing of it can be read."""
    try:
        feed = ReplayFeed(open_source(file))
    except CaptureError as failure:
        raise Trouble(str(failure), USAGE) from None
    feed.read_all()
    timeline = feed.timeline
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    conns = [conn for conn in np.unique(timeline.column("conn")).tolist() if conn]
    if not conns:
        click.echo(f"synfin: no connection is in {plain(file)}", err=True)
    for conn in conns:
        if as_json:
            for row in resources(timeline, conn):
                click.echo(json.dumps(record(timeline, conn, row)))
        else:
            click.echo("\n".join(table(timeline, conn, width)))
    for note in feed.notes():
        click.echo(f"synfin: {note}", err=True)


def open_source(file: str) -> RecordingSource | CaptureSource:
    """Whatever ``file`` is, as a source of events: a recording of ours or any capture, packed or not, path or "-".

    Raises CaptureError, one sentence, when nothing of it can be read.
    """
    stream = _Stream(ByteSource(file))
    if is_recording(stream.look()):
        packed = stream.compression is not None or not Path(file).is_file()
        size = None if packed else Path(file).stat().st_size
        return RecordingSource(io.BufferedReader(cast(Any, stream), 1 << 16), size)
    if file == "-" or file.startswith("/dev/fd/"):
        return CaptureSource(open_capture(io.BufferedReader(cast(Any, stream), 1 << 16)))
    stream.close()
    return CaptureSource(open_capture(file))  # by its name: it may be read again, and its size tells how far it got


class _Stream(io.RawIOBase):
    """A ByteSource as Python's own kind of stream, whose beginning may be looked at first."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self.compression = source.compression
        self._seen = b""

    def look(self) -> bytes:
        """The first bytes, up to SNIFF of them; they will be read all the same."""
        block = memoryview(bytearray(SNIFF))
        while len(self._seen) < SNIFF and (count := self._source.readinto(block)):
            self._seen += block[:count]
        return self._seen

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any, /) -> int:
        if not self._seen:
            return self._source.readinto(memoryview(target))
        count = min(len(target), len(self._seen))
        target[:count], self._seen = self._seen[:count], self._seen[count:]
        return count

    def close(self) -> None:
        if not self.closed:
            self._source.close()
        super().close()


def _keep_piped_input() -> str:
    """The capture comes through standard input, but the screen needs that for keys: move one, reopen the other."""
    kept = os.dup(0)
    try:
        keyboard = os.open("/dev/tty", os.O_RDWR)
    except OSError:
        raise Trouble("there is no terminal to read keys from; use --text", USAGE) from None
    os.dup2(keyboard, 0)
    os.close(keyboard)
    sys.stdin = sys.__stdin__ = os.fdopen(0, "r", closefd=False)  # type: ignore[misc]  # textual reads it
    return f"/dev/fd/{kept}"
