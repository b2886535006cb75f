"""Header, scrubber, overview and gauges as lines of text."""

from __future__ import annotations

import pytest
from textual.content import Content

from tracer.states import State
from tui.ascii import ascii_text
from tui.feed import Probe
from tui.widgets.header import HeaderFacts, header_line
from tui.widgets.lines_pane import fold
from tui.widgets.overview import BARS
from tui.widgets.queues import gauge
from tui.widgets.scrubber import ScrubberFacts, place, position_at, scrubber_line, speed_text

FULL = HeaderFacts(
    title="a-scenario-with-a-rather-long-name", mode="PAUSED", held=True, recording=True, rate=123_456, lost=7,
    connection=12, ends="127.0.0.1:51034 → 127.0.0.1:8080", ends_short=":51034→:8080", filter="port 8080",
    probes=(Probe("kernel", True), Probe("wire", False, "no right")),
)  # fmt: skip


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160, 240])
def test_the_header_fits_and_never_hides_a_loss(width: int) -> None:
    line = header_line(FULL, width)
    assert line.cell_length <= width
    assert "7 lost" in line.plain
    assert "‖ PAUSED" in line.plain and "● REC" in line.plain


def test_the_header_says_everything_where_there_is_room() -> None:
    assert header_line(FULL, 240).plain == (
        " synfin   a-scenario-with-a-rather-long-name   ‖ PAUSED ● REC   123,456 ev/s   7 lost   "
        "#12 127.0.0.1:51034 → 127.0.0.1:8080   filter: port 8080   probes: kernel ✓ wire ✗"
    )


def test_a_title_is_not_cut_where_the_address_that_gave_way_made_room() -> None:
    facts = HeaderFacts(
        title="keepalive.pcapng", mode="REPLAY", held=True, connection=1, ends="127.0.0.1:59472 → 127.0.0.1:8080",
        ends_short=":59472→:8080", probes=tuple(Probe(f"group {n}", True) for n in range(12)),
    )  # fmt: skip
    assert header_line(facts, 80).plain == " keepalive.pcapng   ‖ REPLAY   0 lost   #1 :59472→:8080   probes: all 12"


def test_a_name_from_outside_is_text_and_cannot_steer_the_terminal() -> None:
    line = header_line(HeaderFacts(title="\x1b[2J[bold]x[/bold]\u202e"), 160)
    assert "·[2J[bold]x[/bold]·" in line.plain


@pytest.mark.parametrize(("total", "width"), [(0, 10), (1, 10), (2, 10), (27, 25), (1000, 40), (5, 1)])
def test_a_click_on_the_scrubber_finds_the_place_that_was_drawn_there(total: int, width: int) -> None:
    for position in range(1, total + 1):
        cell = place(position, total, width)
        assert 0 <= cell < width
        if total <= width:
            assert position_at(cell, total, width) == position
    assert place(total, total, width) == (width - 1 if total > 1 else 0)


def test_the_scrubber_shows_playhead_cursor_and_what_lies_ahead() -> None:
    facts = ScrubberFacts(False, 1.0, 3, 5, 11, 300_000, 2_900_000_000, (1,))
    line = scrubber_line(facts, 70).plain
    inside = line[line.index("├") + 1 : line.index("┤")]
    assert inside.startswith("◆") and inside.endswith("╌")
    assert inside.index("●") == place(3, 11, len(inside))
    assert inside.rindex("─") == place(5, 11, len(inside))
    assert line.endswith(" 300 µs of 2.90 s  3/11 ")
    assert len(line) == 70


def test_speeds_below_one_are_fractions() -> None:
    assert [speed_text(speed) for speed in (0.25, 1.0, 16.0)] == ["1/4x", "1x", "16x"]


@pytest.mark.parametrize(
    ("value", "limit", "shown"),
    [
        (0, 5, "▯▯▯▯▯"),
        (1, 5, "▮▯▯▯▯"),
        (1, 4096, "▮▯▯▯▯"),
        (4, 5, "▮▮▮▮▯"),
        (5, 5, "▮▮▮▮▮"),
        (6, 5, "▮▮▮▮▮"),
        (3, 0, ""),
    ],
)
def test_a_gauge_shows_the_first_and_the_last_place(value: int, limit: int, shown: str) -> None:
    assert gauge(value, limit).plain == shown


def test_states_of_different_meaning_stay_different_in_ascii() -> None:
    drawn = {ascii_text(shape) for state, shape in BARS.items() if state not in (State.UNKNOWN, State.CLOSE)}
    # SYN_RECV and NEW_SYN_RECV are one state to the RFC and share a shape.
    assert len(drawn) == len(BARS) - 3
    assert all(text.isascii() and len(text) == 1 for text in drawn)


@pytest.mark.parametrize("text", ["plain", "─│┌╌", "→ ✓ é 日本 ▙", "\u202e"])
def test_ascii_keeps_the_width(text: str) -> None:
    from rich.cells import cell_len

    assert ascii_text(text).isascii()
    assert cell_len(ascii_text(text)) == cell_len(text)


@pytest.mark.parametrize("width", [24, 38, 57])
def test_a_long_line_of_a_pane_is_folded_and_loses_no_word(width: int) -> None:
    for text in (
        "    127.0.0.1:8080 was full (3/2): the SYN of 127.0.0.1:44794 was dropped",
        "no indent at all, and yet long",
    ):
        lines = fold(Content.styled(text, "bold"), width)
        assert all(line.cell_length <= width for line in lines)
        assert " ".join(line.plain.strip() for line in lines) == text.strip()
        indent = text[: len(text) - len(text.lstrip())]
        assert all(line.plain.startswith(indent) for line in lines)


def test_a_line_of_columns_goes_on_further_right_and_a_bar_is_cut() -> None:
    row = Content("  fd 4    socket 3  server of #1 ESTABLISHED")
    assert [line.plain.rstrip() for line in fold(row, 34)] == ["  fd 4    socket 3  server of #1", "    ESTABLISHED"]
    assert [line.plain for line in fold(Content("    " + "░" * 60), 38)] == ["    " + "░" * 33 + "…"]
    assert fold(row, 60) == [row]
