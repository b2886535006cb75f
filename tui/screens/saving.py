"""Keys that take something out of the screen: a recording, a picture, a row or an event; and what is remembered.

Copies go to the terminal's clipboard by OSC 52, which works over ssh too where the terminal allows it; since nobody
can know whether it does, the same can be had in a file.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from textual.app import App

from tracer.words import message
from tui.ladder.widget import Ladder
from tui.panes import NAMES
from tui.screens.playing import Playing
from tui.screens.showing import Showing
from tui.watch import NOWHERE

if TYPE_CHECKING:
    from tui.memory import Remembered

_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._-]+")


def as_svg(app: App[Any], title: str) -> str:
    """What is on screen as a picture that looks the same wherever it is opened."""
    picture = app.export_screenshot(title=title)
    # Browsers keep no-break spaces at the ends of a text, librsvg only where it is told to.
    return picture.replace("<svg ", '<svg xml:space="preserve" ', 1)


def _write(path: Path, text: str) -> None:
    """A new file with this text, or none at all. Raises OSError."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError:
        path.unlink(missing_ok=True)  # the disk is full: what is there now is no picture and no event
        raise


class Saving(Playing, Showing):
    """The picture with the keys of saving and copying."""

    _restored = False

    def action_export(self) -> None:
        """What to save or copy, from a list."""
        from tui.screens.export import ExportScreen  # not before it is asked for: the first paint counts

        self.app.push_screen(ExportScreen(), self._chose_export)

    def _chose_export(self, action: str | None) -> None:
        if action:
            getattr(self, f"action_{action}")()

    def path_for(self, ending: str) -> Path:
        """Where something is saved: a name that no file has yet, from what is watched and the time of day.

        Raises OSError where the folder may not be entered.
        """
        stem = _NOT_IN_NAMES.sub("-", Path(self._title).stem).strip("-")[:40] or "synfin"
        day = datetime.fromtimestamp(self._wall() // 1_000_000_000, UTC)
        base = self.tools.folder / f"{stem}-{day:%Y%m%d-%H%M%S}"
        path, n = base.with_name(base.name + ending), 1
        while path.exists():
            path, n = base.with_name(f"{base.name}-{n}{ending}"), n + 1
        return path

    def action_save_recording(self) -> None:
        """All events so far into a recording."""
        if self.tools.save is None:
            self.say("Nothing can be saved from here.")
            return
        try:
            path = self.path_for(".pcapng")
            count = self.tools.save(self.timeline, str(path))
        except OSError as failure:
            self.say(f"The recording was not saved: {failure.strerror or failure}")
            return
        self.say(f"{count:,} events saved in {path}")

    def action_screenshot(self) -> None:
        """The view as an SVG picture."""
        try:
            path = self.path_for(".svg")
            _write(path, as_svg(self.app, self._title))
        except OSError as failure:
            self.say(f"The picture was not saved: {failure.strerror}")
            return
        self.say(f"picture saved in {path}")

    def action_copy_row(self) -> None:
        """The row under the cursor as text."""
        text = self.query_one(Ladder).text()
        self._copy(text, "row")

    def action_copy_event(self) -> None:
        """The event under the cursor as JSON."""
        self._copy(self._event_text(), "event")

    def _event_text(self) -> str:
        if self.view.cursor == NOWHERE:
            return ""
        event = self.timeline[self.view.cursor]
        return self.tools.as_json(event) if self.tools.as_json is not None else message(event)

    def _copy(self, text: str, what: str) -> None:
        if not text:
            self.say(f"There is no {what} to copy yet.")
            return
        self.app.copy_to_clipboard(text)
        self.say(f"{what} copied, if the terminal takes OSC 52; x saves it in a file: {text[:60]}")

    def action_save_event(self) -> None:
        """The event under the cursor and its row into a file."""
        text = self._event_text()
        if not text:
            self.say("There is no event to save yet.")
            return
        try:
            path = self.path_for(".json")
            _write(path, text + "\n")
        except OSError as failure:
            self.say(f"The event was not saved: {failure.strerror}")
            return
        self.say(f"event saved in {path}")

    # What is remembered of a file

    def remembered(self) -> Remembered:
        """The state of this view."""
        from tui.memory import Remembered

        view = self.view
        text = self.finder.text if self.finder is not None else ""
        count = len(self.timeline)
        return Remembered(count, view.focus, view.cursor, tuple(sorted(view.marks)), self.pane, text, self.clock_letter)

    def restore(self) -> None:
        """Look at the file as it was left, once it has been read as far as it was then."""
        if self._restored or self.tools.memory is None:
            return
        from tui.memory import load

        was = load(self.tools.memory)
        if was is not None and (was.count > len(self.timeline) or not len(self.view.connections)):
            self._restored = self.feed.finished and was.count > len(self.timeline)
            return
        self._restored = True
        if was is None:
            return
        self.view.marks = {order for order in was.marks if 0 <= order < len(self.timeline)}
        self.view.focus_on(was.focus)
        if 0 <= was.cursor < len(self.timeline) and was.cursor < self.view.limit:
            self.view.point(was.cursor)
        if was.pane in NAMES:
            self.show_pane(was.pane)
        self.restore_filter(was.filter)
        self.write_times(was.clock)

    def restore_filter(self, text: str) -> None:
        """Look for what was looked for."""
        raise NotImplementedError

    def look(self) -> None:
        super().look()
        self.restore()

    def on_unmount(self) -> None:
        """Remember it for the next time."""
        if self.tools.memory is not None and len(self.timeline) and self._restored:
            from tui.memory import store

            store(self.tools.memory, self.remembered())
