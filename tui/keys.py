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
PLAYBACK, MOVE, FIND, PANES, PROGRAM = "Playback", "Move", "Find", "Panes", "Program"

KEYS: Final[tuple[Key, ...]] = (
    Key("space", (B("space", "toggle_play", "Play or pause"),),
        "Play", "Play/Pause", "play or pause the view; recording goes on", PLAYBACK),
    Key(",.", (B("comma", "step(-1)", "Step back"), B("full_stop", "step(1)", "Step")),
        "Step", "Step", "one row back, one row on", PLAYBACK),
    Key("<>", (B("less_than_sign", "speed(-1)", "Slower"), B("greater_than_sign", "speed(1)", "Faster")),
        "", "Speed", "slower, faster", PLAYBACK),
    Key("b", (B("b", "by_time", "Play by time or by event"),),
        "", "", "play and scrub by time, or by event again", PLAYBACK),
    Key("g", (B("g", "to_start", "To the start"),), "", "", "hold at the first event", PLAYBACK),
    Key("G", (B("G", "to_tail", "To the tail"),), "", "", "to the last event, and follow what comes", PLAYBACK),
    Key("p", (B("p", "run_script", "Script: run or hold"),),
        "", "", "scenario: let it run by itself, or hold it before the next step", PLAYBACK),
    Key("[]", (B("left_square_bracket", "connection(-1)", "Previous connection"),
               B("right_square_bracket", "connection(1)", "Next connection")),
        "Conn", "Conn", "previous, next connection (among those with a match)", MOVE),
    Key("j k ↑ ↓", (B("j", "cursor(1)"), B("down", "cursor(1)"), B("k", "cursor(-1)"), B("up", "cursor(-1)")),
        "", "", "cursor down, up among what is shown", MOVE),
    Key("PgUp PgDn", (B("pageup", "page(-1)"), B("pagedown", "page(1)")), "", "", "a screenful up, down", MOVE),
    Key("Home End", (B("home", "first", "First row"), B("end", "last", "Last row")),
        "", "", "first, last row shown", MOVE),
    Key("c e", (B("c", "cause", "Go to the cause"), B("e", "effect", "Go to the effect")),
        "", "Cause/Effect", "to the event that led to this one; to what it led to", MOVE),
    Key("{}", (B("left_curly_bracket", "state_change(-1)", "Last change of state"),
               B("right_curly_bracket", "state_change(1)", "Next change of state")),
        "State", "State", "last, next change of a state of this connection", MOVE),
    Key("()", (B("left_parenthesis", "problem(-1)", "Last problem"),
               B("right_parenthesis", "problem(1)", "Next problem")),
        "", "Problem", "last, next problem: lints, losses, retransmissions", MOVE),
    Key("enter esc", (B("enter", "enter", "Script: next step"), B("escape", "out")),
        "", "", "in and out; in a held scenario enter lets the real actor take the next step", MOVE),
    Key("w s", (B("w", "zoom(1)", "Zoom in"), B("s", "zoom(-1)", "Zoom out")),
        "", "", "overview: closer around the cursor's moment, further away", MOVE),
    Key("a d", (B("a", "pan(-1)", "Pan: earlier"), B("d", "pan(1)", "Pan: later")),
        "", "", "overview: earlier, later", MOVE),
    Key("f", (B("f", "fit", "Fit the overview"),),
        "", "", "overview: all of time, or the connection in focus", MOVE),
    Key("o", (B("o", "overview", "Overview alone"),),
        "", "Overview", "the overview alone; j k go through connections, enter opens one", MOVE),
    Key("/", (B("slash", "find", "Filter and search"),),
        "Filter", "Filter", "filter or search: port:8080, flag:fin, state:fin-wait-2, plain words", FIND),
    Key("n N", (B("n", "match(1)", "Next match"), B("N", "match(-1)", "Previous match")),
        "", "Match", "next, previous match, in any connection", FIND),
    Key("h", (B("h", "hide", "Hide or dim the rest"),), "", "", "hide rows without a match, or dim them", FIND),
    Key("F", (B("F", "focus_on", "Focus on"),),
        "", "Focus", "focus on a connection, a listener or a process from a list", FIND),
    Key("m", (B("m", "mark", "Mark"),), "", "Mark", "mark the event, or take the mark away", FIND),
    Key("'", (B("apostrophe", "next_mark", "Next mark"),), "", "", "to the next mark", FIND),
    Key("i", (B("i", "pane('inspector')", "Inspector"),),
        "", "Inspector", "all about the event under the cursor", PANES),
    Key("S", (B("S", "pane('states')", "States"),),
        "", "States", "the state diagram with both ends on it", PANES),
    Key("Q", (B("Q", "pane('queue-table')", "Queues"),),
        "", "Queues", "queues, buffers, windows, epoll and descriptors at the cursor", PANES),
    Key("R", (B("R", "pane('resources')", "Resources"),),
        "", "Resources", "what the connection takes up: born when, freed when", PANES),
    Key("P", (B("P", "pane('programs')", "Programs"),),
        "", "Programs", "threads: running, runnable, asleep on what", PANES),
    Key("L", (B("L", "pane('lints')", "Lints"),),
        "", "Lints", "what looks like trouble, and what to do about it", PANES),
    Key("O", (B("O", "pane('output')", "Output"),),
        "", "", "what the launched command has written", PANES),
    Key("l", (B("l", "lesson", "Lesson"),),
        "Lesson", "Lesson", "a lesson: it asks what comes next, then shows it; again to end it", PANES),
    Key("1 … 8", tuple(B(str(number), f"answer({number})") for number in range(1, 9)),
        "", "", "lesson: choose an answer", PANES),
    Key("tab", (B("tab", "next_pane", "Next pane"),), "", "", "the next pane", PANES),
    Key("z", (B("z", "maximise", "Zoom the ladder"),), "", "Zoom", "the ladder alone, or everything again", PANES),
    Key("t", (B("t", "times", "Write times another way"),),
        "", "Time", "times: relative, delta, absolute (UTC), epoch", PANES),
    Key("x", (B("x", "export", "Save or copy"),),
        "", "Save", "save the recording, a picture or the event; copy the row or the event", PROGRAM),
    Key("y", (B("y", "copy_row", "Copy the row"),), "", "", "copy the row under the cursor as text", PROGRAM),
    Key("Y", (B("Y", "copy_event", "Copy the event"),), "", "", "copy the event under the cursor as JSON", PROGRAM),
    Key("?", (B("question_mark", "help", "Help"),), "Help", "Help", "this list, the states, the probes", PROGRAM),
    Key("^p", (B("ctrl+p", "app.command_palette"),), "", "Palette", "any command by its name; themes", PROGRAM),
    Key("q", (B("q", "app.quit", "Quit"),),
        "Quit", "Quit", "leave, to the start page if it was opened there; what is recorded stays", PROGRAM),
)  # fmt: skip
"""Every key of the trace screen."""

del B

GROUPS: Final = (PLAYBACK, MOVE, FIND, PANES, PROGRAM)
