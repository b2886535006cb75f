"""The table of keys: what it promises exists, and nothing is promised twice."""

from __future__ import annotations

from collections import Counter

import pytest
from textual.app import App

from tui.keys import GROUPS, KEYS
from tui.screens.help import help_text
from tui.screens.trace import TraceScreen
from tui.widgets.footer import footer_line

BOUND = [bound for key in KEYS for bound in key.bound]


@pytest.mark.parametrize("action", sorted({bound.action for bound in BOUND}))
def test_every_action_of_the_table_exists(action: str) -> None:
    name = action.partition("(")[0]
    where = App if name.startswith("app.") else TraceScreen
    assert callable(getattr(where, f"action_{name.removeprefix('app.')}", None))


def test_no_key_is_bound_twice_and_no_command_has_two_meanings() -> None:
    keys = Counter(bound.key for bound in BOUND)
    commands = Counter(bound.command for bound in BOUND if bound.command)
    assert [key for key, n in keys.items() if n > 1] == []
    assert [command for command, n in commands.items() if n > 1] == []


def test_help_explains_every_key_under_its_group() -> None:
    text = help_text().plain
    assert all(f"\n  {what} " in text for what in ("click", "drag", "wheel")), "and what the mouse does"
    for key in KEYS:
        assert " ".join(f"{key.shown} {key.help}".split()) in " ".join(text.split())
    assert max(map(len, text.split("\n"))) <= 74, "what is longer goes on below what it says, not below the key"
    assert {key.group for key in KEYS} == set(GROUPS)


@pytest.mark.parametrize("width", [40, 60, 79, 80, 100, 119, 120, 160, 200])
def test_the_footer_fits_and_keeps_help_and_quit(width: int) -> None:
    line = footer_line(KEYS, width)
    assert line.cell_length <= width
    assert "? Help" in line.plain and "q Quit" in line.plain
