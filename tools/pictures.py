"""The walk of a new user, as a page with pictures: `python tools/pictures.py docs` writes `walk.md` and its SVGs there.

Each picture is the screen itself, driven by the keys that the page names, over the recording of half-close that comes
with the program. The clocks stand still and nothing is asked of this machine, so a second run gives the same bytes.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Input

from scenarios import recordings
from tui.app import SynfinApp
from tui.cli_replay import ReplayFeed, open_source
from tui.cli_start import HERE, entries
from tui.screens.saving import as_svg
from tui.start import StartApp

SIZE: Final = (80, 24)
WALL: Final = 1_700_000_000_000_000_000
ENTER: Final = "enter"


class Look(NamedTuple):
    """One picture of the walk."""

    name: str
    heading: str
    text: str
    """What to press and what to see; keys stand in <kbd>."""
    keys: tuple[str, ...]
    """What is pressed for the picture, from the one before on."""


START: Final = Look(
    "start", "Start",
    "Type `synfin`. Type `half`: the list shows what has it. The line at the bottom is the command that"
    " <kbd>enter</kbd> stands for; type that next time, if you like.",
    tuple("half"),
)  # fmt: skip
WALK: Final = (
    Look("run", "Run half-close",
         "<kbd>enter</kbd> plays it: two real processes, real sockets, this machine's kernel. What the client's program"
         " does stands on the left, what the server's does on the right, segments between them, and beside the wire"
         " each side's state in two letters. <kbd>space</kbd> pauses the view (the play goes on), <kbd>g</kbd> goes"
         " back to the start, <kbd>.</kbd> and <kbd>,</kbd> step row by row. Nothing behind the playhead is shown.",
         ("space", "g", *["full_stop"] * 14)),
    Look("fin-wait-1", "The client closes one direction",
         "<kbd>}</kbd> goes to the next change of a state: the client calls shutdown(SHUT_WR), a FIN leaves, and the"
         " client is in FIN_WAIT1. The sentence below the ladder says why.",
         ("right_curly_bracket",)),
    Look("fin-wait-2", "Why is the client in FIN_WAIT2?",
         "Once more <kbd>}</kbd>. The server's kernel has acknowledged the FIN, 42 ms later. So the client's sending"
         " half is closed, and it waits for the server's FIN, which only the server's program can bring about. Until"
         " then the server may send, and the client receives: step on with <kbd>.</kbd> and see it.",
         ("right_curly_bracket",)),
    Look("why", "All about it",
         "<kbd>i</kbd> shows everything that is known of the event: before and after of both sides, the rule of RFC"
         " 9293, what caused it and what it led to. <kbd>c</kbd> goes to the cause, <kbd>e</kbd> to the effect.",
         ("i",)),
    Look("states", "On the map",
         "<kbd>S</kbd> draws the state diagram with both ends on it, and the way they have come. <kbd>esc</kbd> goes"
         " back to the ladder.",
         ("S",)),
    Look("lesson", "Predict, then run",
         "<kbd>l</kbd> begins a lesson: it stops before the next thing worth knowing and asks. Numbers answer"
         " (<kbd>1</kbd>, <kbd>2</kbd>, …); then what really happened is drawn, and <kbd>enter</kbd> goes on. The trace"
         " is the answer key. <kbd>?</kbd> lists all keys, <kbd>q</kbd> leaves.",
         ("escape", "l", "2", ENTER, "3", ENTER)),
)  # fmt: skip
HEAD: Final = """\
# A first walk

Made by `make pictures` from the recording `captures/half-close.pcapng`; do not edit.

You know TCP from a book and have never seen this program. In five minutes you can say why the client of a half-close
is in FIN_WAIT2, because you have seen it.
"""


def page() -> str:
    """The page as Markdown."""
    parts = [HEAD]
    for look in (START, *WALK):
        parts.append(f"## {look.heading}\n\n{look.text}\n\n![{look.heading}](pictures/{look.name}.svg)\n")
    return "\n".join(parts)


async def _still(pilot: Pilot[Any]) -> None:
    for _ in range(4):
        await pilot.pause()


async def _start(folder: Path) -> None:
    app = StartApp([entry for entry in entries() if entry.group != HERE])
    async with app.run_test(size=SIZE) as pilot:
        await _still(pilot)
        app.screen.query_one(Input).cursor_blink = False
        await _take(app, pilot, START, folder)


async def _walk(folder: Path) -> None:
    feed = ReplayFeed(open_source(recordings.shown("half-close")))
    feed.read_all()
    app = SynfinApp(feed, title="half-close", mode="replay", clock=lambda: 100.0, wall=lambda: WALL)
    async with app.run_test(size=SIZE) as pilot:
        await _still(pilot)
        for look in WALK:
            await _take(app, pilot, look, folder)


async def _take(app: App[Any], pilot: Pilot[Any], look: Look, folder: Path) -> None:
    for key in look.keys:
        await pilot.press(key)
        await _still(pilot)
    (folder / f"{look.name}.svg").write_text(as_svg(app, "synfin"), encoding="utf-8")


def main(docs: Path) -> None:
    """Write page and pictures below `docs`."""
    folder = docs / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(_start(folder))
    asyncio.run(_walk(folder))
    (docs / "walk.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
