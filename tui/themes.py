"""Two themes, dark and light, in which every group of states has a colour of its own.

The colours are told apart with normal, protan, deutan and tritan sight, but none of them ever carries a meaning alone:
the bar's shape and the two-letter code say the same.
"""

from __future__ import annotations

from typing import Final

from textual.theme import Theme

NAMES: Final = ("synfin-dark", "synfin-light")

_GROUPS: Final = ("opening", "open", "we-close", "waiting", "peer-closes")
_DARK: Final = ("#92b0ff", "#4ff992", "#ffca09", "#da4e00", "#c05b8b")
_LIGHT: Final = ("#0746e7", "#228749", "#000000", "#4a2602", "#aa409b")


def _variables(colours: tuple[str, ...], cursor: str) -> dict[str, str]:
    return {f"state-{group}": colour for group, colour in zip(_GROUPS, colours, strict=True)} | {"cursor-row": cursor}


def themes() -> tuple[Theme, Theme]:
    """Dark and light, to be registered."""
    return (
        Theme(
            NAMES[0], primary="#92b0ff", foreground="#e0e0e0", background="#121212", surface="#1e1e1e", panel="#2b2b2b",
            accent="#ffca09", error="#ff5f5f", dark=True, variables=_variables(_DARK, "#333333"),
        ),
        Theme(
            NAMES[1], primary="#0746e7", foreground="#1a1a1a", background="#ffffff", surface="#f0f0f0", panel="#dcdcdc",
            accent="#4a2602", error="#b00020", dark=False, variables=_variables(_LIGHT, "#d6e4ff"),
        ),
    )  # fmt: skip
