"""What is remembered of a file that was looked at: cursor, focus, marks, pane, filter, times.

One small JSON file for each file looked at, in the user's state folder (XDG_STATE_HOME on Linux). A file is known by
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
from typing import Any

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
