"""What must hold whatever is shown: nothing by colour alone, nothing outside ASCII where that is asked for, and no
name from outside that steers the terminal or breaks the layout."""

from __future__ import annotations

import itertools

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot

from tests.tui.conftest import MakeApp
from tests.tui.stories import START, Story, half_close, three
from tests.tui.test_screen import settled
from tracer.states import STATES, State
from tracer.timeline import Timeline
from tui.app import SynfinApp
from tui.ascii import ascii_text
from tui.pane_facts import RUNNING
from tui.panes import NAMES
from tui.problems import SIGNS
from tui.themes import NAMES as THEMES
from tui.themes import themes
from tui.tools import Tools
from tui.widgets.overview import BARS
from tui.widgets.resources import SIGNS as MOMENTS
from tui.widgets.states import BEEN, HERE

NASTY = "\x1b[2J\x1b]0;owned\x07[bold red]a\u202eb\u200bc\r\n\t[/] " + "x" * 300


def screen_lines(app: SynfinApp) -> list[str]:
    """What reaches the terminal, line by line, without any style."""
    app.screen._compositor.full_map  # noqa: B018  (lays out)
    return ["".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips()]


def nasty() -> Timeline:
    """Names and words that nobody vouches for, in every field that takes any."""
    story = Story()
    half_close(story, 1)
    name = NASTY.encode()[:16]
    for ms, kind in ((3000, "thread:running"), (3001, "thread:blocked"), (3002, "process:fork")):
        fields = {"comm": name} | ({"was": 1} if kind == "thread:blocked" else {})
        story.builder.add(kind, START + ms * 1_000_000, fields, pid=101, tid=101)
    for ms, kind in ((3003, "actor:step"), (3004, "actor:report")):
        fields = {"step": 1, "actor": NASTY, "text": NASTY}
        story.builder.add(kind, START + ms * 1_000_000, fields, pid=101, tid=101)
    for ms, kind in ((3005, "trace:note"), (3006, "trace:anomaly")):
        story.builder.add(kind, START + ms * 1_000_000, {"text": NASTY})
    return story.onto()


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_hostile_names_stay_text_in_every_pane(make_app: MakeApp, size: tuple[int, int]) -> None:
    app = make_app(nasty(), title=NASTY)
    app.trace.tools = Tools(output=lambda: [NASTY])
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        await pilot.press("right_parenthesis", "end")
        for pane in ("", *NAMES):
            app.trace.show_pane(pane)
            app.trace.look_for('text:"owned"')
            await settled(pilot)
            lines = screen_lines(app)
            assert all(cell_len(line) == size[0] for line in lines), pane
            text = "".join(lines)
            assert not set(text) & set("\x1b\x07\r\n\t\u202e\u200b"), pane
        assert "[bold red]" in "".join(screen_lines(app)), "markup is text like any other"
        await pilot.press("F")
        await settled(pilot)
        assert not set("".join(screen_lines(app))) & set("\x1b\x07\u202e")


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_every_pane_in_ascii_sends_nothing_else_and_keeps_its_width(
    make_app: MakeApp, size: tuple[int, int]
) -> None:
    app = make_app(ascii_only=True)
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        for pane in ("", *NAMES):
            app.trace.show_pane(pane)
            app.trace.look_for("flag:fin")
            await settled(pilot)
            app.refresh()
            await pilot.pause()
            drawn = "".join(screen_lines(app))
            assert len(drawn) == size[0] * size[1]
            assert drawn.isascii(), pane


def test_states_signs_and_severities_differ_in_shape() -> None:
    states = [state for state in State if state not in (State.UNKNOWN, State.NEW_SYN_RECV)]
    for one, other in itertools.combinations(states, 2):
        assert STATES[one].code != STATES[other].code
        if State.CLOSE not in (one, other):
            assert BARS[one] != BARS[other]
    for signs in (SIGNS, MOMENTS, HERE, BEEN, {word: sign[:1] for word, sign in RUNNING.items()}):
        assert len(set(signs.values())) == len(signs)
        assert len({ascii_text(sign) for sign in signs.values()}) == len(signs), "in ASCII too"
    assert len({*HERE.values(), *BEEN.values()}) == 4, "either end, now and then"


async def test_without_colour_all_that_matters_is_still_told(make_app: MakeApp) -> None:
    """Cursor, matches, marks, states, losses, resets and the place in the diagram each have a sign of their own."""
    app = make_app(three(), lost=3)
    async with app.run_test(size=(160, 48)) as pilot:
        await settled(pilot)
        app.trace.look_for("flag:fin")
        await pilot.press("home", "j", "m", "n")
        await settled(pilot)
        text = "\n".join(screen_lines(app))
        for sign in ("▸", "•", "◆", "3 lost", "F1 FIN_WAIT1◆", "CW CLOSE_WAIT◇", "TW░", "‖ REPLAY"):
            assert sign in text, sign
        await pilot.press("escape")
        await settled(pilot)
        refused = next(line for line in screen_lines(app) if line.startswith(" #3"))
        assert refused.rstrip().endswith("✗"), "a reset"


# Colours


def linear(colour: str) -> tuple[float, float, float]:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return red, green, blue


def luminance(colour: str) -> float:
    red, green, blue = linear(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """WCAG 2: (lighter + 0.05) / (darker + 0.05)."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


SIGHTS = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    # Machado, Oliveira, Fernandes 2009, severity 1.0
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def lab(colour: str, sight: str) -> tuple[float, float, float]:
    """CIE L*a*b* (D65) of the colour as somebody with that sight sees it."""
    seen = linear(colour)
    red, green, blue = (min(max(sum(k * c for k, c in zip(row, seen, strict=True)), 0), 1) for row in SIGHTS[sight])
    xyz = (
        (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505,
        0.2126 * red + 0.7152 * green + 0.0722 * blue,
        (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089,
    )
    x, y, z = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("name", THEMES)
def test_state_colours_are_told_apart_by_every_sight_and_from_the_background(name: str) -> None:
    theme = next(theme for theme in themes() if theme.name == name)
    colours = {group: value for group, value in theme.variables.items() if group.startswith("state-")}
    assert theme.background is not None
    for group, colour in colours.items():
        assert contrast(colour, theme.background) >= 4.0, f"{group} is faint"
    for sight in SIGHTS:
        for (one, a), (other, b) in itertools.combinations(colours.items(), 2):
            apart = sum((p - q) ** 2 for p, q in zip(lab(a, sight), lab(b, sight), strict=True)) ** 0.5
            assert apart >= 20, f"{one} and {other} are {apart:.0f} apart for {sight}"


async def test_each_theme_is_in_the_palette_and_can_be_put_on(make_app: MakeApp) -> None:
    app = make_app()

    async def put_on(pilot: Pilot[None]) -> None:
        commands = {command.title: command.callback for command in app.get_system_commands(app.screen)}
        for name in THEMES:
            commands[f"Theme: {name.removeprefix('synfin-')}"]()
            await settled(pilot)
            assert app.theme == name

    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await put_on(pilot)
