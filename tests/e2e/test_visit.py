"""From the start page into a view and back: the page comes back as it was left, and says what went wrong."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path

from scenarios import recordings
from tests.e2e.conftest import PATIENCE, Synfin, Terminal
from tui.cli_errors import TERMINATED

BEGIN, END = b"\x1b[?1049h", b"\x1b[?1049l"
"""A terminal's words for a screen of one's own, and for the end of it."""


def screen(terminal: Terminal, number: int, *words: str) -> None:
    """Read until that many screens have begun, and the last of them has shown all the words."""
    deadline = time.monotonic() + PATIENCE
    while True:
        shown = terminal.raw.split(BEGIN)
        if len(shown) > number and all(word.encode() in shown[number] for word in words):
            return
        assert time.monotonic() < deadline, f"screen {number} of {len(shown) - 1} never said {words}"
        terminal.read(0.1)


def test_a_view_that_is_left_leads_back_to_the_page(synfin: Synfin, tmp_path: Path) -> None:
    (tmp_path / "broken.pcap").write_bytes(b"no capture at all" * 9)
    folder = recordings.folder()
    assert folder is not None
    shutil.copy(folder / "half-close.pcapng", tmp_path / "whole.pcapng")
    terminal = Terminal(synfin, columns=160, rows=30)
    screen(terminal, 1, "Captures", "ype to search")
    terminal.type(b"broken\r")
    screen(terminal, 2, "synfin replay ./broken.pcap: ./broken.pcap is not a pcap or pcapng capture")
    terminal.type(b"\x7f" * len("broken"))
    screen(terminal, 2, "ype to search")
    terminal.type(b"whole")
    screen(terminal, 2, "$", "synfin replay ./whole.pcapng")
    terminal.type(b"\r")
    screen(terminal, 3, "REPLAY")
    terminal.type(b"q")
    screen(terminal, 4, "synfin replay ./whole.pcapng")
    terminal.type(b"\r")
    screen(terminal, 5, "REPLAY")
    terminal.process.send_signal(signal.SIGTERM)  # as it ends any command: the page and the view
    assert terminal.end(15) == TERMINATED
    assert terminal.raw.count(BEGIN) == terminal.raw.count(END) == 5
    assert not synfin.left_behind()
