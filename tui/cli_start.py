"""The start page's choices, and what choosing one does: the same as having typed it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from scenarios import recordings, registry
from tui.cli_errors import USAGE, Trouble
from tui.cli_signals import show
from tui.screens.start import Entry

SUFFIXES: Final = tuple(name + packed for name in (".pcap", ".pcapng", ".cap") for packed in ("", ".gz", ".xz", ".zst"))
MOST: Final = 200
"""Files of this folder that are listed: a folder of thousands is searched by the shell."""


def start_page() -> None:
    """Show the page and open what was chosen. Raises Trouble where there is no terminal to show it on."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Trouble("the start page needs a terminal; `synfin --help` lists the commands", USAGE)
    from tui.start import StartApp

    chosen = show(StartApp(list(entries())))
    if chosen is None:
        return
    if chosen.kind == "scenario":
        from tui.cli_live import Request, run_scenario

        run_scenario(Request(chosen.target or chosen.name, False, "screen", None, None, False, True, False))
    else:
        from tui.cli_replay import replay_file

        replay_file(chosen.target or chosen.name, "screen", plain_glyphs=False)


def entries() -> Iterator[Entry]:
    """Scenarios, the recordings that came along, captures in this folder."""
    for name in registry.names():
        scenario = registry.load(registry.origin(name))
        yield Entry("scenario", name, scenario.title)
    place = recordings.folder()
    for name in recordings.names():
        assert place is not None
        yield Entry("recording", name, "replays anywhere, without any rights", str(place / f"{name}.pcapng"))
    here = (path for path in sorted(Path.cwd().iterdir()) if path.name.endswith(SUFFIXES) and path.is_file())
    for path, _ in zip(here, range(MOST), strict=False):
        yield Entry("capture", path.name, f"{path.stat().st_size / 1024:,.0f} KiB, in this folder", f"./{path.name}")
