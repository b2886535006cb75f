"""The start page: what one could look at, each with one line of what it shows.

`synfin` alone opens it. The page knows neither scenarios nor files: it is handed entries, each with the command that
opens it, and returns the command that was chosen, so that the command line does what it would have done had the user
typed it; the command is shown, and so is learned by the way. Beside the list (below it on a narrow terminal) stands
the story of what is highlighted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import Screen
from textual.style import Style
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from tui.plain import plain
from tui.widgets.pane import cut
from tui.widgets.story import Story, StoryPane

ALL: Final = "All"
SECTIONS: Final = (ALL, "Scenarios", "Lessons", "Recent", "Captures", "Live", "Load")
NAME: Final = 26
"""Cells of a name at most, so that what it shows is in sight at 80 columns."""
COMMAND: Final = "synfin"


class Entry(NamedTuple):
    """One thing to open."""

    section: str
    """Scenarios, Lessons, Recent, Captures, Live or Load."""
    group: str
    """The heading it stands under."""
    name: str
    line: str
    """One line of what it shows."""
    argv: tuple[str, ...]
    """The command that opens it, without the program's name."""
    story: str = ""
    """What it is about, in paragraphs."""
    lesson: tuple[str, ...] = ()
    """The command that opens it as a lesson; empty where it cannot be one."""
    step: tuple[str, ...] = ()
    """The command that opens it step by step."""
    again: bool = False
    """It stands under another heading too, and is left out of the list of everything."""


Command = tuple[str, ...]


@dataclass
class Place:
    """Where the page was left, to come back to."""

    section: str = ALL
    words: str = ""
    """On the search line."""
    entry: tuple[str, str] | None = None
    """Group and name of what was opened."""
    said: str = ""
    """What went wrong with it."""


def matching(entries: Iterable[Entry], words: str, section: str = ALL) -> list[Entry]:
    """The entries of a section in which every word of the search occurs, in any case."""
    wanted = words.lower().split()
    return [
        entry for entry in entries
        if (entry.section == section or (section == ALL and not entry.again))
        and all(word in f"{entry.section} {entry.group} {entry.name} {entry.line}".lower() for word in wanted)
    ]  # fmt: skip


class StartScreen(Screen[Command | None]):
    """Sections, a search field, the list, the story; enter dismisses with the command, esc with None.

    `more`: gives entries that take time, asked in another thread. `about`: what else is known of the highlighted one.
    """

    BINDINGS: ClassVar = [
        Binding("down", "move(1)", show=False, priority=True),
        Binding("up", "move(-1)", show=False, priority=True),
        Binding("pagedown", "move(10)", show=False, priority=True),
        Binding("pageup", "move(-10)", show=False, priority=True),
        Binding("tab", "section(1)", show=False, priority=True),
        Binding("shift+tab", "section(-1)", show=False, priority=True),
        Binding("ctrl+l", "lesson", show=False, priority=True),
        Binding("ctrl+s", "step", show=False, priority=True),
        Binding("escape", "leave", show=False, priority=True),
    ]

    def __init__(
        self, entries: Sequence[Entry], *, more: Callable[[], Iterable[Entry]] | None = None,
        about: Callable[[Entry], str] | None = None, place: Place | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._place = place or Place()
        self._entries, self._more, self._about = list(entries), more, about
        self._found: list[Entry] = []
        self._told: dict[Entry, str] = {}
        self.section = self._place.section

    def compose(self) -> ComposeResult:
        yield Static(id="start-title", markup=False)
        yield Static(id="start-tabs", markup=False)
        yield Input(self._place.words, placeholder="type to search", id="start-search", compact=True)
        yield Static(plain(self._place.said), id="start-said", markup=False)
        with Vertical(id="start-body"):
            yield OptionList(id="start-list", markup=False, compact=True)
            yield StoryPane(id="start-story")
        yield Static("", id="start-command", markup=False)
        yield Static("", id="start-keys", markup=False)

    def on_mount(self) -> None:
        title = Content.styled(" synfin", "bold") + Content("   the life of TCP connections")
        self.query_one("#start-title", Static).update(title)
        self.query_one("#start-said").display = bool(self._place.said)
        self._fill()
        self.query_one(Input).focus()
        if self._more is not None:
            self.run_worker(self._look, thread=True, group="more")

    def _look(self) -> None:
        """In another thread."""
        assert self._more is not None
        found = list(self._more())
        self.app.call_from_thread(self._add, found)

    def _add(self, found: list[Entry]) -> None:
        order = {name: at for at, name in enumerate(SECTIONS)}
        self._entries = sorted([*self._entries, *found], key=lambda entry: order.get(entry.section, len(order)))
        wanted = self._place.entry
        there = self.highlighted
        self._fill(None if there is None or (wanted and (there.group, there.name) != wanted) else there)

    @property
    def highlighted(self) -> Entry | None:
        """The entry that enter would open."""
        listed = self.query_one(OptionList)
        if listed.highlighted is None or not self._found:
            return None
        chosen = listed.get_option_at_index(listed.highlighted).id
        return self._found[int(chosen)] if chosen is not None else None

    def _fill(self, keep: Entry | None = None) -> None:
        words = self.query_one(Input).value
        self._found = matching(self._entries, words, self.section)
        width = min(max((len(plain(entry.name)) for entry in self._found), default=0), NAME)
        options, group, at = [], ("", ""), 0
        for i, entry in enumerate(self._found):
            if (entry.section, entry.group) != group:
                group = (entry.section, entry.group)
                head = plain(entry.group) if self.section != ALL else f"{entry.section}  {plain(entry.group)}"
                options.append(Option(Content.styled(head, "bold"), disabled=True))
            if entry == keep or (keep is None and (entry.group, entry.name) == self._place.entry):
                at = len(options)
            name = cut(Content(plain(entry.name)), width).pad_right(0)
            name = name.pad_right(width - name.cell_length)
            line = Content("  ") + name.stylize("bold") + Content(f"  {plain(entry.line)}")
            options.append(Option(line, id=str(i)))
        if not self._found:
            options.append(Option(self._nothing(words), disabled=True))
        listed = self.query_one(OptionList)
        listed.clear_options()
        listed.add_options(options)
        listed.highlighted = (at or 1) if self._found else None
        if not at:
            listed.scroll_home(animate=False)
        self._tabs()
        self._tell()

    def _nothing(self, words: str) -> str:
        elsewhere = len(matching(self._entries, words)) if words and self.section != ALL else 0
        if elsewhere:
            return f"nothing here; {elsewhere} in other sections: tab"
        none = {"Recent": "nothing was looked at or recorded yet", "Live": "looking for ports and processes …"}
        return "nothing found" if words else none.get(self.section, "there are none")

    def _tabs(self) -> None:
        words = self.query_one(Input).value
        labels = {name: f" {name} {len(matching(self._entries, words, name))} " for name in SECTIONS}
        room = sum(len(label) + 1 for label in labels.values()) < self.size.width
        line = Content(" ")
        for name, words in labels.items():
            label = Content(words).stylize(Style.from_meta({"@click": f"screen.choose_section('{name}')"}))
            line += label.stylize("bold reverse") if name == self.section else label
            line += Content(" " if room else "")
        self.query_one("#start-tabs", Static).update(line)

    def _tell(self) -> None:
        """The story of the highlighted one, its command, and the keys that make sense for it."""
        entry = self.highlighted
        parts = (entry.story or entry.line, self._known(entry)) if entry is not None else ()
        story = Story(entry.name if entry is not None else "", "\n\n".join(filter(None, parts)))
        self.query_one(StoryPane).show(story)
        command = " ".join((COMMAND, *entry.argv)) if entry is not None else ""
        self.query_one("#start-command", Static).update(Content.styled(" $ ", "dim") + Content(plain(command)))
        keys = [("tab", "section"), ("↑↓", "choose"), ("enter", "open")]
        if entry is not None and entry.lesson and entry.lesson != entry.argv:
            keys.append(("^l", "lesson"))
        if entry is not None and entry.step:
            keys.append(("^s", "step by step"))
        line = Content(" ")
        for key, what in [*keys, ("esc", "quit")]:
            line += Content.styled(key, "bold") + Content(f" {what}  ")
        self.query_one("#start-keys", Static).update(line)

    def _known(self, entry: Entry) -> str:
        if self._about is None or entry in self._told:
            return self._told.get(entry, "")
        if entry.argv and entry.argv[0] == "replay":
            self.run_worker(partial(self._ask, entry), thread=True, exclusive=True, group="about")
        return ""

    def _ask(self, entry: Entry) -> None:
        """In another thread."""
        assert self._about is not None
        self._told[entry] = self._about(entry)
        self.app.call_from_thread(self._tell)

    def on_input_changed(self, event: Input.Changed) -> None:
        if event.value == self._place.words:  # as it was left
            self._fill(self.highlighted)
        else:
            self._place.entry = None
            self._fill()

    def on_option_list_option_highlighted(self) -> None:
        self._tell()

    def on_input_submitted(self) -> None:
        self._open(self.highlighted)

    def on_option_list_option_selected(self) -> None:
        self._open(self.highlighted)

    def _open(self, entry: Entry | None) -> None:
        self._choose(entry, entry.argv if entry is not None else ())

    def _choose(self, entry: Entry | None, command: Command) -> None:
        if entry is not None and command:
            self._place.section, self._place.words = self.section, self.query_one(Input).value
            self._place.entry = (entry.group, entry.name)
            self.dismiss(command)

    def action_move(self, by: int) -> None:
        """Move the highlight though the search field has the focus."""
        listed = self.query_one(OptionList)
        places = [at for at, option in enumerate(listed.options) if option.id is not None]
        if listed.highlighted not in places:
            return
        self._place.entry = None
        at = places.index(listed.highlighted) + by
        listed.highlighted = places[at % len(places) if abs(by) == 1 else max(0, min(at, len(places) - 1))]

    def action_section(self, by: int) -> None:
        """The next section."""
        self.action_choose_section(SECTIONS[(SECTIONS.index(self.section) + by) % len(SECTIONS)])

    def action_choose_section(self, name: str) -> None:
        """This section."""
        self.section = name
        self._fill()

    def action_lesson(self) -> None:
        """Open it as a lesson."""
        entry = self.highlighted
        self._choose(entry, entry.lesson if entry is not None else ())

    def action_step(self) -> None:
        """Open it step by step."""
        entry = self.highlighted
        self._choose(entry, entry.step if entry is not None else ())

    def action_leave(self) -> None:
        """Nothing was chosen."""
        self.dismiss(None)
