"""The frame's own shapes, each with one of plain ASCII.

Only shapes that common fonts have and that are one cell wide in every terminal are used (no hourglass, no media
symbols); `--ascii` and terminals without UTF-8 get the second column.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Shapes(NamedTuple):
    """One drawing set."""

    arrow: str = "→"
    paused: str = "‖"
    playing: str = "▶"
    recording: str = "●"
    yes: str = "✓"
    no: str = "✗"
    rule: str = "─"
    bar: str = "│"
    left_end: str = "├"
    right_end: str = "┤"
    ahead: str = "╌"
    knob: str = "●"
    mark: str = "◆"
    here: str = "▶"
    full: str = "▮"
    empty: str = "▯"
    dot: str = "·"
    more: str = "…"
    infinity: str = "∞"
    ends: str = "→"
    """Between two ends where room is short."""


UNICODE: Final = Shapes()
ASCII: Final = Shapes(
    arrow="->", paused="||", playing=">", recording="o", yes="+", no="x", rule="-", bar="|", left_end="|",
    right_end="|", ahead=".", knob="O", mark="*", here=">", full="#", empty=".", dot=".", more="...", infinity="inf",
    ends=">",
)  # fmt: skip
