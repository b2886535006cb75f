"""What is remembered of a file that was looked at: cursor, focus, marks, pane, filter, times.

One small JSON file for each file looked at, in the user's state folder (XDG_STATE_HOME on Linux), and another with
its name, so that the start page can list what was looked at lately. A file is known by
its path, its size and when it was written: another capture of the same name is another file. What cannot be read or
written is forgotten without a word, since nothing depends on it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from platformdirs import user_state_path

from tui.ladder.draw import CLOCKS


@dataclass(frozen=True)
class Remembered:
    """The state of a view."""

    count: int
    """Events there were."""
    focus: int
    cursor: int
    """Order of the event; -1 for none."""
    marks: tuple[int, ...]
    pane: str
    filter: str
    clock: str


RECENT: Final = 50
"""Files that are remembered as looked at lately."""


def note(file: str) -> None:
    """Remember that this file was looked at or written, for the start page."""
    with contextlib.suppress(OSError, UnicodeEncodeError):
        path = Path(file).resolve(strict=True)
        if not path.is_file():
            return
        folder = user_state_path("synfin", appauthor=False) / "recent"
        folder.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()[:24]
        beside = folder / f"{digest}.{os.getpid()}"
        beside.write_text(json.dumps({"file": str(path)}), encoding="utf-8")
        beside.replace(folder / f"{digest}.json")
        for old in _newest(folder)[RECENT:]:
            old.unlink(missing_ok=True)


def recent() -> list[Path]:
    """Files that were looked at or written lately and are still there, the latest first."""
    found = []
    for note_of in _newest(user_state_path("synfin", appauthor=False) / "recent"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            path = Path(json.loads(note_of.read_text(encoding="utf-8"))["file"])
            if path.is_file():
                found.append(path)
    return found


def _newest(folder: Path) -> list[Path]:
    dated = []
    with contextlib.suppress(OSError):
        for path in folder.glob("*.json"):
            with contextlib.suppress(OSError):
                dated.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(dated, reverse=True)]


def place_for(file: str) -> Path | None:
    """Where the state of a view on ``file`` belongs; None for what is no file of its own (a pipe)."""
    try:
        path = Path(file).resolve(strict=True)
        told = path.stat()
    except OSError:
        return None
    if not path.is_file():
        return None
    name = f"{path}\0{told.st_size}\0{told.st_mtime_ns}"
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return user_state_path("synfin", appauthor=False) / "views" / f"{digest}.json"


def load(path: Path) -> Remembered | None:
    """What was remembered there; None if nothing was, or if it makes no sense."""
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        was = Remembered(
            int(told["count"]), int(told["focus"]), int(told["cursor"]), tuple(map(int, told["marks"])),
            str(told["pane"]), str(told["filter"]), str(told["clock"]),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return was if was.clock in CLOCKS else None


def store(path: Path, state: Remembered) -> None:
    """Remember it, whole or not at all."""
    beside = path.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(asdict(state)), encoding="utf-8")
        beside.replace(path)
