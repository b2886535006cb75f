"""Ten thousand connections, and keys that come faster than frames: counted, focused, nothing skipped."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tui.conftest import MakeApp
from tests.tui.stories import C, Story, V, half_close
from tracer.batch import Batch
from tracer.events import NUMBER
from tracer.states import State
from tracer.timeline import Timeline
from tui.connections import Connections
from tui.ladder.widget import Ladder
from tui.widgets.overview import Overview

MANY = 10_000
CLOSED = 2_500
SIZES = [(80, 24), (160, 48)]


def repeated(story: Story, count: int) -> Batch:
    """What happens to connection 1 in the story, to so many one after the other, each with a port of its own."""
    unit = story.builder.take()
    each = len(unit.heads)
    heads, conns = np.tile(unit.heads, count), np.repeat(np.arange(1, count + 1, dtype=np.uint32), each)
    heads["time"] += (10_000 * conns).astype(np.uint64)
    heads["conn"], heads["sock"] = conns, heads["sock"] + 10 * conns
    tables = {}
    for number, rows in unit.tables.items():
        table = np.tile(rows, count)
        heads["row"][heads["kind"] == number] = np.arange(len(table))
        ports = np.repeat(20_001 + np.arange(count), len(rows))
        for name in ("sport", "dport"):
            table[name] = np.where(table[name] == 8080, 8080, ports)
        tables[number] = table
    return Batch(heads, tables, unit.strings)


def many() -> Timeline:
    """Ten thousand are opened; then a quarter of them is closed by the client and waits."""
    opened, closed = Story(), Story()
    opened.state(0, 1, C, State.CLOSE, State.SYN_SENT)
    opened.state(0.002, 1, V, State.LISTEN, State.SYN_RECV)
    opened.state(0.004, 1, C, State.SYN_SENT, State.ESTABLISHED)
    opened.state(0.005, 1, V, State.SYN_RECV, State.ESTABLISHED)
    for ms, side, old, new in (
        (500, C, State.ESTABLISHED, State.FIN_WAIT1), (500.001, V, State.ESTABLISHED, State.CLOSE_WAIT),
        (500.002, C, State.FIN_WAIT1, State.FIN_WAIT2),
    ):  # fmt: skip
        closed.state(ms, 1, side, old, new)
    timeline = Timeline()
    timeline.append(repeated(opened, MANY))
    timeline.append(repeated(closed, CLOSED))
    return timeline


@pytest.fixture(scope="module")
def crowd() -> Timeline:
    return many()


def test_every_connection_is_counted_in_the_state_it_is_in(crowd: Timeline) -> None:
    connections = Connections(crowd)
    rounds = 0
    while connections.refresh():
        rounds += 1
    assert rounds > 1, "it is read in parts, so that keys get their turn"
    assert len(connections) == MANY and connections.numbers == list(range(1, MANY + 1))
    assert connections[7777].ends() == "127.0.0.1:27777 → 127.0.0.1:8080"
    ends = [connections[number].lives[side].states[-1] for number in (CLOSED, CLOSED + 1) for side in (C, V)]
    assert ends == [State.FIN_WAIT2, State.CLOSE_WAIT, State.ESTABLISHED, State.ESTABLISHED]
    assert len(connections.flow) == len(crowd.indices("kind", NUMBER["socket:state"]))


@pytest.mark.parametrize("size", SIZES)
async def test_the_overview_counts_them_and_one_is_in_focus_after_two_keys(
    make_app: MakeApp, crowd: Timeline, size: tuple[int, int]
) -> None:
    app = make_app(crowd)
    async with app.run_test(size=size) as pilot:
        overview = app.screen.query_one(Overview)
        while app.trace.view.behind:
            await pilot.pause(0.05)  # it is read in parts
        await pilot.press(
            "f"
        )  # drawn anew: by itself that happens some times a second, and here the clock stands still
        await pilot.pause()
        text = overview.render().plain
        if size[0] == 160:
            assert "10,000 connections" in text
            assert " open  20k" in text and " peer 2.5k" in text and " wait    0" in text, "ends, both of each"
        else:
            assert " all 10k" in text
        await pilot.press("]", "]")
        assert app.trace.view.focus == 3
        await pilot.press("F", *"27777")
        await pilot.press("enter")
        await pilot.pause()
        assert app.trace.view.focus == 7777
        assert "▶#7777" in overview.render().plain


async def test_keys_that_come_before_the_last_was_shown_all_count(make_app: MakeApp) -> None:
    story = Story()
    half_close(story, 1)
    app = make_app(story.onto())
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.press("home")
        ladder = app.screen.query_one(Ladder)
        before = ladder._cursor
        for _ in range(4):
            app.trace.action_cursor(1)  # four keys in one reading of the terminal, before any of them is shown
        await pilot.pause()
        together = ladder._cursor
        await pilot.press("home", "j", "j", "j", "j")
        assert together == ladder._cursor > before
