"""The key footer: the keys that matter most, from the table of keys, as many as fit."""

from __future__ import annotations

from collections.abc import Iterable

from textual.content import Content
from textual.widget import Widget

from tui.keys import KEYS, PROGRAM, Key

WIDE = 120


def footer_line(keys: Iterable[Key], width: int) -> Content:
    """The keys in at most `width` cells: short labels below 120 columns; those of the program itself stay."""
    wide = width >= WIDE
    labelled = [(key, key.long if wide else key.short) for key in keys]
    chosen = [(key, label) for key, label in labelled if label]
    while chosen and _length(chosen) > width:
        giving_way = [i for i, (key, _) in enumerate(chosen) if key.group != PROGRAM]
        chosen.pop(giving_way[-1] if giving_way else 0)
    line = Content(" ")
    for i, (key, label) in enumerate(chosen):
        line += Content("  " if i else "") + Content.styled(key.shown, "bold") + Content(f" {label}")
    return line.truncate(width)


def _length(chosen: list[tuple[Key, str]]) -> int:
    return 1 + sum(len(key.shown) + 1 + len(label) for key, label in chosen) + 2 * (len(chosen) - 1)


class KeyFooter(Widget):
    """One line at the bottom."""

    def render(self) -> Content:
        return footer_line(KEYS, self.size.width)
