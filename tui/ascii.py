"""`--ascii`: the last word on what reaches the terminal.

Everything is drawn with its proper shapes, and here, on the way out, every cell is put into ASCII: the bars of states,
arrows, borders, the words of messages. So no widget needs a second set of shapes, and not one byte above 127 is sent.
Every replacement is one cell wide, and shapes that mean different things stay different.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_SHAPES: Final = str.maketrans(
    {
        "→": ">", "←": "<", "↑": "^", "↓": "v", "▶": ">", "◀": "<", "▸": ">", "‖": "|", "●": "o", "◆": "*", "◇": "%",
        "○": "-", "▷": ")", "►": ">", "▒": "=",
        "✓": "+", "✗": "x", "✘": "x", "·": ".", "…": ".", "–": "-", "—": "-", "−": "-", "“": '"', "”": '"', "‘": "'",
        "’": "'", "█": "#", "▙": "=", "▄": "_", "▀": "^", "▘": "'", "░": ":", "╳": "x", "▮": "#", "▯": ".", "╌": ".",
        "┄": ".", "═": "=", "µ": "u", "μ": "u", "§": "S", "∞": "8", "≥": ">", "≤": "<", "⭘": "o", "°": "o", "•": "*",
        "×": "X", "▁": ".", "▂": ":", "▃": "-", "▅": "+", "▆": "*", "▇": "%",
    }
)  # fmt: skip


def ascii_text(text: str) -> str:
    """`text` in ASCII, as many cells wide as before."""
    if text.isascii():
        return text
    return "".join(char if char.isascii() else _plain(char) for char in text.translate(_SHAPES))


def _plain(char: str) -> str:
    code = ord(char)
    if 0x2500 <= code <= 0x257F:  # box drawing
        name = unicodedata.name(char)
        across, down = "HORIZONTAL" in name, "VERTICAL" in name
        return "-" if across and not down else "|" if down and not across else "+"
    if 0x2580 <= code <= 0x259F:  # block elements
        return "#"
    decomposed = unicodedata.normalize("NFKD", char)[:1]
    width = cell_len(char)
    return decomposed if decomposed.isascii() and width == 1 else "?" * width


class AsciiOnly(LineFilter):
    """Applies `ascii_text` to every segment on its way to the terminal."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same segments in ASCII."""
        return [Segment(ascii_text(text), style, control) for text, style, control in segments]
