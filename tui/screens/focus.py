"""What to focus on: the connections, listeners and processes of the timeline, in a list with a search line.

A connection is focused as it is; a listener or a process becomes a filter, so that all that is theirs stands out and
the brackets go through their connections alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final, NamedTuple

import numpy as np
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from tracer.events import NUMBER
from tracer.states import STATES, State
from tracer.timeline import Timeline
from tracer.words import clean
from tui.connections import Life, Listing

MOST: Final = 5_000
"""Connections that are gone through for the list; of more, a number, a port or an address finds the others."""
LISTED: Final = 200
"""Entries drawn at once; typing finds the others."""


class Choice(NamedTuple):
    """One thing to focus on."""

    kind: str
    """connection, listener or process."""
    words: str
    conn: int = 0
    """Number of the connection; 0 for another kind."""
    filter: str = ""
    """The filter that stands for it."""


def choices(timeline: Timeline, connections: Listing, until: int | None = None) -> list[Choice]:
    """All there is to focus on; connections with the states they are in last, or were in at ``until`` (ns)."""
    found = []
    ports: dict[int, int] = {}
    for number in connections.numbers[:MOST]:
        connection = connections[number]
        life = connection.life
        state = _state(life, until) if life and life.states else ""
        found.append(Choice("connection", f"#{number}  {connection.ends()}  {state}".rstrip(), number))
        if connection.server is not None:
            ports[connection.server[1]] = ports.get(connection.server[1], 0) + 1
    listening = timeline.field("socket:state", "sport")[timeline.field("socket:state", "new") == State.LISTEN]
    for port in {*np.unique(listening).tolist(), *ports}:
        count = ports.get(port, 0)
        words = f"port {port}  {count} connection{'s' * (count != 1)}"
        found.append(Choice("listener", words, filter=f"port:{port}"))
    return found + [Choice("process", f"{pid}  {name}", filter=f"pid:{pid}") for pid, name in _processes(timeline)]


def _state(life: Life, until: int | None) -> str:
    state = life.states[-1] if until is None else life.at(until)
    return STATES[state].label if state is not State.UNKNOWN else ""


def _processes(timeline: Timeline) -> list[tuple[int, str]]:
    """Processes that made a call, with a name where a thread of theirs told it."""
    calls = np.concatenate([timeline.indices("kind", NUMBER[kind]) for kind in ("syscall:enter", "actor:step")])
    pids = np.unique(timeline.column("pid")[calls]).tolist() if len(calls) else []
    names: dict[int, str] = {}
    for kind in ("thread:running", "thread:blocked", "process:exit"):
        for order in timeline.indices("kind", NUMBER[kind])[:4096].tolist():
            event = timeline[order]
            names.setdefault(event.pid, clean(event["comm"]))
    for order in timeline.indices("kind", NUMBER["actor:step"]).tolist():
        event = timeline[order]
        names.setdefault(event.pid, clean(event["actor"]))
    return [(pid, names.get(pid, "")) for pid in pids if pid]


def matching(entries: list[Choice], words: str) -> list[Choice]:
    """The entries in which every word occurs, in any case."""
    wanted = words.lower().split()
    return [entry for entry in entries if all(word in f"{entry.kind} {entry.words}".lower() for word in wanted)]


def searched(connections: Listing, words: str) -> list[Choice]:
    """Of more connections than are gone through for the list, those that the words mean."""
    if len(connections) <= MOST or not words.strip():
        return []
    numbers = connections.search(words.split(), LISTED)
    return [Choice("connection", f"#{n}  {connections[n].ends()}", n) for n in numbers if n > MOST]


class FocusScreen(ModalScreen[Choice | None]):
    """A search line and the list; enter dismisses with the choice, esc with None."""

    BINDINGS: ClassVar = [
        Binding("down", "move(1)", show=False, priority=True),
        Binding("up", "move(-1)", show=False, priority=True),
        Binding("pagedown", "move(10)", show=False, priority=True),
        Binding("pageup", "move(-10)", show=False, priority=True),
        Binding("escape", "dismiss", show=False, priority=True),
    ]

    def __init__(self, entries: list[Choice], more: Callable[[str], list[Choice]] = lambda words: []) -> None:
        """``more``: what else the words on the search line mean."""
        super().__init__()
        self._entries, self._more = entries, more
        self._found: list[Choice] = []

    def compose(self) -> ComposeResult:
        with Vertical(classes="box") as box:
            box.border_title = "Focus on"
            box.border_subtitle = "enter chooses, esc leaves"
            yield Input(placeholder="a number, an address, a port, a process", id="focus-line")
            yield OptionList(id="focus-list", markup=False)
            yield Static("", id="focus-more", markup=False)

    def on_mount(self) -> None:
        self._fill("")
        self.query_one(Input).focus()

    def _fill(self, words: str) -> None:
        found = self._more(words) + matching(self._entries, words)
        self._found = found[:LISTED]
        options = [
            Option(Content.styled(f"{entry.kind:<11}", "dim") + Content(entry.words), id=str(at))
            for at, entry in enumerate(self._found)
        ] or [Option("nothing found", disabled=True)]
        listed = self.query_one(OptionList)
        listed.clear_options()
        listed.add_options(options)
        listed.highlighted = 0 if self._found else None
        more = len(found) - len(self._found)
        self.query_one("#focus-more", Static).update(f"and {more:,} more: type to narrow it down" if more else "")

    def on_input_changed(self, event: Input.Changed) -> None:
        self._fill(event.value)

    def on_input_submitted(self) -> None:
        at = self.query_one(OptionList).highlighted
        if at is not None and self._found:
            self.dismiss(self._found[at])

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        if self._found:
            self.dismiss(self._found[event.option_index])

    def action_move(self, by: int) -> None:
        """Move the highlight though the search line has the focus."""
        listed = self.query_one(OptionList)
        for _ in range(abs(by)):
            if by > 0:
                listed.action_cursor_down()
            else:
                listed.action_cursor_up()


__all__ = ["Choice", "FocusScreen", "choices", "matching", "searched"]
