"""A launched command's output in the screen: its tail, made harmless, as it grows."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.tui.conftest import MakeApp
from tests.tui.test_screen import NARROW, WIDE, settled
from tui.cli_errors import Trouble
from tui.cli_replay import replay_file
from tui.cli_tools import TAIL, tail
from tui.tools import Tools
from tui.widgets.pane import Pane


def test_the_tail_holds_words_and_no_commands_to_the_terminal(tmp_path: Path) -> None:
    file = tmp_path / "out.txt"
    file.write_bytes(b"one\n\x1b[31mred\x1b[0m [bold]\n\x1b]0;title\x07tab\there\n\xff\x07\xe2\x80\xae")
    assert tail(str(file)) == ["one", "red [bold]", "tab     here", "�··"]
    file.write_bytes(b"x" * 100 + b"\n" + b"y" * (TAIL - 4) + b"\nend")
    assert tail(str(file)) == ["end"], "a line of which the beginning is missing is left out"
    file.write_bytes(b"")
    assert tail(str(file)) == []
    assert "cannot be read" in tail(str(tmp_path / "missing"))[0]


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_the_pane_follows_what_is_written(make_app: MakeApp, tmp_path: Path, size: tuple[int, int]) -> None:
    file = tmp_path / "out.txt"
    file.write_text("listening on 8080\n")
    app = make_app(mode="live", finished=False)
    clock = [100.0]
    app.trace._clock = lambda: clock[0]
    app.trace.tools = Tools(output=partial(tail, str(file)))
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        await pilot.press("O")
        await settled(pilot)
        pane = app.trace.query_one("#output", Pane)
        assert "listening on 8080" in pane.text
        with file.open("a") as more:
            more.write("one more\n")
        clock[0] += 1.0
        app.trace.look()
        await settled(pilot)
        assert "one more" in pane.text


async def test_where_no_command_was_launched_the_pane_says_so(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        await pilot.press("O")
        await settled(pilot)
        assert "No command was launched" in app.trace.query_one("#output", Pane).text


def test_a_lesson_needs_a_screen() -> None:
    with pytest.raises(Trouble, match="a lesson needs a terminal"):
        replay_file("whatever.pcapng", "text", plain_glyphs=False, lesson=True)
