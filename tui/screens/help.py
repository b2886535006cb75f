"""The help overlay: the table of keys, the meaning of states and signs, and which probes are off and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tracer.kinds import EVIDENCE_MARK, Evidence
from tracer.states import STATES
from tui.feed import Probe
from tui.keys import GROUPS, KEYS
from tui.plain import plain

WIDTH, INDENT = 73, 13
"""Cells of a row, and before what it says: as much as the overlay has in 80 columns."""
_MOUSE = (
    ("click", "in a row: that lane's event; on a bar: its connection, then its moment; on a link: where it leads"),
    ("drag", "over the bars: to that part of time; over the scrubber: the playhead"),
    ("wheel", "over the bars: closer, further away; else it scrolls"),
)
"""What works with the mouse; nothing needs it."""
_EVIDENCE = {
    Evidence.OBSERVED: "a probe saw it happen",
    Evidence.CAPTURED: "it was on the wire or in the file",
    Evidence.SAMPLED: "read from a table; what was between two readings is not known",
    Evidence.INFERRED: "worked out from packets by the rules of RFC 9293",
    Evidence.REPORTED: "an actor or the tracer says so",
}


def help_text(probes: Sequence[Probe] = ()) -> Content:
    """Everything the overlay says."""
    lines: list[Content] = []
    for group in GROUPS:
        lines.append(Content.styled(group, "bold"))
        lines += [_row(key.shown, key.help) for key in KEYS if key.group == group]
        lines.append(Content(""))
    lines.append(Content.styled("Mouse", "bold"))
    lines += [_row(what, does) for what, does in _MOUSE]
    lines.append(Content(""))
    lines.append(Content.styled("States", "bold"))
    for row in STATES.values():
        if row.group != "unknown":
            lines.append(Content.styled(f"  {row.code:<11}", f"$state-{row.group}") + Content(row.label))
    lines += [Content(""), Content.styled("How a fact is known", "bold")]
    for evidence, meaning in _EVIDENCE.items():
        lines.append(_row(f"{evidence.name.lower()} {EVIDENCE_MARK[evidence]}", meaning))
    if probes:
        lines += [Content(""), Content.styled("Probes", "bold")]
        lines += [_row(plain(p.group), "on" if p.on else f"off: {plain(p.reason)}") for p in probes]
    return Content("\n").join(lines)


def _row(left: str, right: str) -> Content:
    first, *more = Content(right).wrap(WIDTH - INDENT) or [Content("")]
    rest = [Content("\n" + " " * INDENT) + line for line in more]
    return Content.assemble((f"  {left:<{INDENT - 2}}", "bold"), first, *rest)


class HelpScreen(ModalScreen[None]):
    """Over the trace; `?`, esc or q closes it."""

    BINDINGS: ClassVar = [
        Binding("escape,question_mark,q", "dismiss", "Close", show=False),
    ]

    def __init__(self, probes: Sequence[Probe] = ()) -> None:
        super().__init__()
        self._probes = probes

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help") as box:
            box.border_title = "Help"
            box.border_subtitle = "esc closes"
            yield Static(help_text(self._probes), markup=False)
