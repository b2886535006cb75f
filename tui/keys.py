"""The keys, as one table.

Bindings, the footer, the help overlay and the command palette are all made from it, so that no key can exist without
being explained and none can be explained without existing. Letters follow less, vim and the media players people
already know; the mouse works too and nothing needs it.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Bound(NamedTuple):
    """One key and what it does."""

    key: str
    """Textual's name of the key."""
    action: str
    """Of the trace screen, or of the program with `app.` before it."""
    command: str = ""
    """Its name in the palette; empty keeps it out."""


class Key(NamedTuple):
    """One row of the help: one key, or a few that belong together."""

    shown: str
    """As written in footer and help."""
    bound: tuple[Bound, ...]
    short: str
    """Footer at 80 columns; empty keeps it out of the footer."""
    long: str
    """Footer where there is room."""
    help: str
    """What it does, in a sentence."""
    group: str


B = Bound
PLAYBACK, MOVE, MARKS, PANES, PROGRAM = "Playback", "Move", "Marks", "Panes", "Program"

KEYS: Final[tuple[Key, ...]] = (
    Key("space", (B("space", "toggle_play", "Play or pause"),),
        "Play", "Play/Pause", "play or pause the view; recording goes on", PLAYBACK),
    Key(",.", (B("comma", "step(-1)", "Step back"), B("full_stop", "step(1)", "Step")),
        "Step", "Step", "one row back, one row on", PLAYBACK),
    Key("<>", (B("less_than_sign", "speed(-1)", "Slower"), B("greater_than_sign", "speed(1)", "Faster")),
        "Speed", "Speed", "slower, faster", PLAYBACK),
    Key("g", (B("g", "to_start", "To the start"),), "", "Start", "hold at the first event", PLAYBACK),
    Key("G", (B("G", "to_tail", "To the tail"),), "", "Tail", "to the last event, and follow what comes", PLAYBACK),
    Key("enter", (B("enter", "next_step", "Script: next step"),),
        "", "", "scenario: let the real actor take the next step", PLAYBACK),
    Key("p", (B("p", "run_script", "Script: run or hold"),),
        "", "", "scenario: let it run by itself, or hold it before the next step", PLAYBACK),
    Key("[]", (B("left_square_bracket", "connection(-1)", "Previous connection"),
               B("right_square_bracket", "connection(1)", "Next connection")),
        "Conn", "Conn", "previous, next connection", MOVE),
    Key("j k ↑ ↓", (B("j", "cursor(1)"), B("down", "cursor(1)"), B("k", "cursor(-1)"), B("up", "cursor(-1)")),
        "", "", "cursor down, up among what is shown", MOVE),
    Key("PgUp PgDn", (B("pageup", "page(-1)"), B("pagedown", "page(1)")), "", "", "a screenful up, down", MOVE),
    Key("Home End", (B("home", "first", "First row"), B("end", "last", "Last row")),
        "", "", "first, last row shown", MOVE),
    Key("c e", (B("c", "cause", "Go to the cause"), B("e", "effect", "Go to the effect")),
        "Cause", "Cause/Effect", "to the event that led to this one; to what it led to", MOVE),
    Key("m", (B("m", "mark", "Mark"),), "", "Mark", "mark the event, or take the mark away", MARKS),
    Key("'", (B("apostrophe", "next_mark", "Next mark"),), "", "", "to the next mark", MARKS),
    Key("i", (B("i", "inspector", "Inspector"),), "More", "Inspector", "all about the event under the cursor", PANES),
    Key("Q", (B("Q", "queues", "Queues"),), "", "Queues", "queues and buffers at the cursor", PANES),
    Key("z", (B("z", "maximise", "Zoom the ladder"),), "", "Zoom", "the ladder alone, or everything again", PANES),
    Key("?", (B("question_mark", "help", "Help"),), "Help", "Help", "this list, the states, the probes", PROGRAM),
    Key("^p", (B("ctrl+p", "app.command_palette"),), "Palette", "Palette", "any command by its name; themes", PROGRAM),
    Key("q", (B("q", "app.quit", "Quit"),), "Quit", "Quit", "leave; what is recorded stays", PROGRAM),
)  # fmt: skip
"""Every key of the trace screen."""

del B

GROUPS: Final = (PLAYBACK, MOVE, MARKS, PANES, PROGRAM)
