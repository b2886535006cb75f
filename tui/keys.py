"""The keys, as one table.

Bindings, the footer and the help overlay are all made from it, so that no key can exist without being explained and
none can be explained without existing. Letters follow less, vim and the media players people already know; the mouse
works too and nothing needs it.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Key(NamedTuple):
    """One row of the help: one key, or a pair that belongs together."""

    shown: str
    """As written in footer and help."""
    bound: tuple[tuple[str, str], ...]
    """(Textual's name of the key, action of the trace screen)."""
    short: str
    """Footer at 80 columns; empty keeps it out of the footer."""
    long: str
    """Footer where there is room."""
    help: str
    """What it does, in a sentence."""
    group: str


PLAYBACK, MOVE, FIND, PANES, PROGRAM = "Playback", "Move", "Find", "Panes", "Program"

KEYS: Final[tuple[Key, ...]] = (
    Key("space", (("space", "toggle_play"),), "Play", "Play/Pause",
        "play or pause the view; recording goes on", PLAYBACK),
    Key(",.", (("comma", "step(-1)"), ("full_stop", "step(1)")), "Step", "Step",
        "one row back, one row on", PLAYBACK),
    Key("<>", (("less_than_sign", "speed(-1)"), ("greater_than_sign", "speed(1)")), "Speed", "Speed",
        "slower, faster", PLAYBACK),
    Key("g", (("g", "to_start"),), "", "Start", "back to the first event", PLAYBACK),
    Key("G", (("G", "to_tail"), ("upper_g", "to_tail")), "", "Tail", "to the last event, and follow what comes", PLAYBACK),
    Key("enter", (("enter", "next_step"),), "", "", "held scenario: let the real actor take the next step", PLAYBACK),
    Key("p", (("p", "run_script"),), "", "", "held scenario: let it run by itself, or hold it again", PLAYBACK),
    Key("[]", (("left_square_bracket", "connection(-1)"), ("right_square_bracket", "connection(1)")), "Conn", "Conn",
        "previous, next connection", MOVE),
    Key("j k ↑ ↓", (("j", "cursor(1)"), ("down", "cursor(1)"), ("k", "cursor(-1)"), ("up", "cursor(-1)")), "", "",
        "cursor down, up among what is shown", MOVE),
    Key("PgUp PgDn", (("pageup", "page(-1)"), ("pagedown", "page(1)")), "", "", "a screenful up, down", MOVE),
    Key("Home End", (("home", "first"), ("end", "last")), "", "", "first, last row shown", MOVE),
    Key("c e", (("c", "cause"), ("e", "effect")), "Cause", "Cause/Effect",
        "to the event that led to this one; to what it led to", MOVE),
    Key("m", (("m", "mark"),), "", "Mark", "mark the event, or take the mark away", FIND),
    Key("'", (("apostrophe", "next_mark"),), "", "", "to the next mark", FIND),
    Key("i", (("i", "inspector"),), "More", "Inspector", "all about the event under the cursor", PANES),
    Key("Q", (("Q", "queues"), ("upper_q", "queues")), "", "Queues", "queues and buffers at the cursor", PANES),
    Key("z", (("z", "maximise"),), "", "Zoom", "the ladder alone, or everything again", PANES),
    Key("t", (("t", "time"),), "", "Time", "time since the start, since the row before, or of day", PANES),
    Key("?", (("question_mark", "help"),), "Help", "Help", "this list", PROGRAM),
    Key("^p", (("ctrl+p", "command_palette"),), "Palette", "Palette", "find any command by name; theme", PROGRAM),
    Key("q", (("q", "quit"),), "Quit", "Quit", "leave; what is recorded stays", PROGRAM),
)  # fmt: skip
"""Every key of the trace screen."""

GROUPS: Final = (PLAYBACK, MOVE, FIND, PANES, PROGRAM)
