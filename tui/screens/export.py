"""What to save or copy: a short list, each by one letter."""

from __future__ import annotations

from typing import ClassVar, Final, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option


class Export(NamedTuple):
    """One thing that can be taken out."""

    key: str
    action: str
    """Of the trace screen."""
    words: str


EXPORTS: Final = (
    Export("r", "save_recording", "the recording: all events so far, as pcapng that Wireshark opens"),
    Export("s", "screenshot", "a picture of this view, as SVG"),
    Export("t", "copy_row", "the row under the cursor, as text, to the clipboard"),
    Export("j", "copy_event", "the event under the cursor, as JSON, to the clipboard"),
    Export("f", "save_event", "the event under the cursor, as JSON, to a file"),
)


class ExportScreen(ModalScreen[str | None]):
    """Dismisses with the action, None where nothing was chosen."""

    BINDINGS: ClassVar = [
        Binding("escape,q,x", "dismiss", show=False),
        *(Binding(row.key, f"choose('{row.action}')", show=False) for row in EXPORTS),
    ]

    def compose(self) -> ComposeResult:
        options = [Option(Content.styled(f" {row.key}  ", "bold") + Content(row.words)) for row in EXPORTS]
        box = OptionList(*options, id="export", markup=False)
        box.border_title = "Save or copy"
        box.border_subtitle = "enter or a letter, esc leaves"
        yield box

    def action_choose(self, action: str) -> None:
        """Out with it."""
        self.dismiss(action)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(EXPORTS[event.option_index].action)
