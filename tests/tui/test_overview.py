"""The overview: bars, the state river, listeners' queues, and the keys and the mouse over them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from textual import events

from tests.tui.conftest import MakeApp
from tests.tui.stories import HERE, START, C, Story, V, half_close, refused
from tracer.flow import Flow, by_group, foremost
from tracer.replay.analysis import RETRANSMISSION
from tracer.segments import ACK, PSH
from tracer.states import State
from tui.connections import Connections
from tui.doors import Door
from tui.span import Span
from tui.widgets.overview import LABEL, Overview
from tui.widgets.overview_rows import BARS, SIGNS, Axis, bar, queues, river, row_line, short, stream

MS = 1_000_000


def lives(*stories: int) -> Connections:
    story = Story()
    for number in stories:
        (refused if number == 3 else half_close)(story, number, 0.0)
    connections = Connections(story.onto())
    connections.refresh()
    return connections


def axis(stop: int, until: int | None = None, width: int = 40, start: int = 0) -> Axis:
    return Axis(START + start, START + stop, width, START + (stop if until is None else until))


# A connection's bar


def test_a_bar_shows_states_over_time_with_their_codes() -> None:
    row = bar(lives(1)[1], axis(400_000))
    assert row.cells == "SS>>ES" + "█" * 24 + "F1▙▙▙▙F2▄▄"


def test_a_state_that_passes_is_seen_beside_one_that_lasts_however_short_it_was() -> None:
    story = Story()
    story.state(0.0, 1, C, State.CLOSE, State.SYN_SENT)
    story.state(0.04, 1, C, State.SYN_SENT, State.ESTABLISHED)
    connections = Connections(story.onto())
    connections.refresh()
    assert bar(connections[1], axis(400 * MS)).cells == ">ES" + "█" * 37


def test_a_bar_gives_nothing_away_that_lies_ahead() -> None:
    row = bar(lives(1)[1], axis(400_000, until=200_000))
    assert row.cells[21:].strip() == "" and "F1" not in row.cells
    row = bar(lives(3)[3], axis(400_000, until=10_000))
    assert "RST" not in row.cells


def test_a_reset_ends_the_bar_with_a_cross() -> None:
    row = bar(lives(3)[3], axis(100_000))
    at = row.cells.index("✗RST")
    assert row.cells[at + 4 :].strip() == "" and row.styles[at] == "bold reverse"
    assert row_line(row, True).plain.startswith("▶#3")


def test_a_loss_is_a_sign_of_its_own() -> None:
    story = Story()
    half_close(story, 1)
    story.packet(100.0, 1, C, PSH | ACK, 1001, 5001, 512)
    timeline = story.onto()
    for number, table in timeline._tables.items():
        if "analysis" in (table.dtype.names or ()):
            table.chunks[0]["analysis"][table.count - 1] = RETRANSMISSION
            assert number
    connections = Connections(timeline)
    connections.refresh()
    row = bar(connections[1], axis(200 * MS))
    assert row.cells[20] == SIGNS["loss"] and row.styles[20] == "bold reverse"


def test_a_zoomed_bar_begins_in_the_state_that_was_entered_before() -> None:
    row = bar(lives(1)[1], axis(300 * MS, start=100 * MS))
    assert row.cells == "F2" + "▄" * 38


# The river


def test_the_river_counts_ends_by_state_and_bucket() -> None:
    flow = Flow()
    times, old, new = np.array([10, 20, 25, 60]), np.array([0, 2, 0, 1]), np.array([2, 1, 2, 4])
    flow.change(times, old, new)
    found = flow.states(np.array([0, 30, 50, 100]))
    assert found[State.SYN_SENT].tolist() == [2, 1, 1]
    assert found[State.ESTABLISHED].tolist() == [1, 1, 1]
    assert found[State.FIN_WAIT1].tolist() == [0, 0, 1]
    assert by_group(found)["opening"].tolist() == [2, 1, 1]
    assert foremost(found)[1] is State.SYN_SENT, "what passes is more important than what lasts"
    # What came before the first edge is there at the first edge; what is left by then is not.
    assert flow.states(np.array([50, 100]))[State.ESTABLISHED].tolist() == [1]
    assert flow.states(np.array([70, 100]))[State.ESTABLISHED].tolist() == [0]


def test_in_a_bucket_the_more_important_wins() -> None:
    flow = Flow()
    flow.change(np.array([0, 35]), np.array([0, 1]), np.array([State.ESTABLISHED, State.FIN_WAIT1]))
    assert stream(flow, Axis(0, 40, 4, 40), 1).cells == "███▙"
    for name, wins in (("loss", "×"), ("overflow", "!"), ("reset", "✗")):
        flow.trouble(name, np.array([15]))
        assert stream(flow, Axis(0, 40, 4, 40), 1).cells == f"█{wins}█▙"
    rows = river(flow, Axis(0, 40, 4, 40))
    assert [row.label.split()[0] for row in rows] == ["opens", "open", "close", "peer", "wait", "trouble"]
    assert rows[1].cells == "████" and rows[2].cells == "   █" and rows[5].cells == " ✗  "


def test_the_river_ends_at_the_playhead() -> None:
    flow = Flow()
    flow.change(np.array([0]), np.array([0]), np.array([State.ESTABLISHED]))
    flow.trouble("reset", np.array([35]))
    assert stream(flow, Axis(0, 40, 4, 19), 1).cells == "██  "


def test_numbers_are_short() -> None:
    assert [short(n) for n in (0, 999, 1_000, 9_949, 32_400, 123_266, 1_500_000)] == [
        "0", "999", "1.0k", "9.9k", "32k", "123k", "1.5M",
    ]  # fmt: skip


# A listener's queues


def test_queues_are_drawn_against_their_limit_and_beyond_it() -> None:
    door = Door(8080)
    for time, accept in ((0, 0), (10, 1), (20, 4), (30, 5), (35, 0)):
        door.times.extend([time])
        door.accept.extend([accept])
        door.syn.extend([0])
        door.limits.extend([4])
    syn, accept_row = queues(door, Axis(0, 50, 5, 50))
    assert accept_row.cells == "·▂█!·" and accept_row.label == " accq 5/4"
    assert syn.cells == "·····"


def test_a_listeners_queues_are_read_from_what_tells_of_them() -> None:
    story = Story()
    fields = {"saddr": HERE, "sport": 8080, "daddr": HERE, "dport": 40001, "max_ack_backlog": 4}
    story.builder.add("request:born", START, fields | {"qlen": 1, "ack_backlog": 0}, conn=1, side=V)
    story.builder.add("accept:queued", START + 10, fields | {"ack_backlog": 1, "state": State.LISTEN}, conn=0, sock=9)
    story.builder.add("socket:queues", START + 20, fields | {"state": State.ESTABLISHED}, conn=1, side=V)
    connections = Connections(story.onto())
    connections.refresh()
    door = connections.doors[8080]
    assert (door.syn.values.tolist(), door.accept.values.tolist()) == ([1, 0], [0, 1])
    assert door.limits.values.tolist() == [4, 4]


# Zoom and pan


def test_zooming_keeps_the_moment_where_it_is_and_stays_inside() -> None:
    span = Span()
    span.zoom(1, 0, 1_000_000, 250_000)
    assert span.of(0, 1_000_000) == (125_000, 625_000)
    span.pan(-4, 0, 1_000_000)
    assert span.of(0, 1_000_000) == (0, 500_000)
    span.pan(9, 0, 1_000_000)
    assert span.of(0, 1_000_000) == (500_000, 1_000_000)
    span.zoom(-1, 0, 1_000_000, 0)
    assert span.whole
    span.select(900, 100)
    assert span.of(0, 1_000_000) == (100, 1_100), "no closer than a microsecond"


async def test_keys_zoom_pan_fit_and_open(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.pause()
        overview = app.screen.query_one(Overview)
        heading = overview.render().plain.split("\n")[0]
        await pilot.press("w", "w")
        assert not overview.span.whole and " to " in overview.render().plain.split("\n")[0]
        before = overview.span.of(0, 1)
        await pilot.press("d")
        assert overview.span.of(0, 1)[0] > before[0]
        await pilot.press("a", "f")
        assert overview.span.whole and overview.render().plain.split("\n")[0] == heading
        await pilot.press("o")
        assert app.screen.has_class("-overview")
        await pilot.press("j", "enter")
        assert not app.screen.has_class("-overview")
        assert app.trace.view.focus == 2, "one key goes to a connection, one opens it"


async def test_dragging_selects_a_part_of_time_and_a_click_a_connection(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.pause()
        overview = app.screen.query_one(Overview)
        await pilot.mouse_down(Overview, offset=(LABEL + 10, 3))
        await pilot.mouse_up(Overview, offset=(LABEL + 30, 3))
        assert not overview.span.whole
        first, last = overview.span.of(0, 1)
        connections = app.trace.view.connections
        span = connections.last_time - connections.start
        assert abs((last - first) / span - 21 / 149) < 0.01
        await pilot.press("f")
        await pilot.click(Overview, offset=(LABEL + 5, 3))
        assert app.trace.view.focus == 2


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_while_dragging_the_part_that_would_be_selected_is_drawn(
    make_app: MakeApp, size: tuple[int, int]
) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        overview = app.screen.query_one(Overview)
        calm = overview.render().plain
        await pilot.mouse_down(Overview, offset=(LABEL + 10, 0))
        assert overview.render().plain == calm, "it may be but a click"
        await pilot.hover(Overview, offset=(LABEL + 50, 0))
        drawn = next(line for line in overview.render().plain.split("\n") if "├" in line)
        assert (drawn.index("├"), drawn.index("┤")) == (LABEL + 10, LABEL + 50)
        await pilot.hover(Overview, offset=(LABEL + 14, 0))
        assert re.search(r"├───┤ \S+ \w+ to \S+ \w+", overview.render().plain), "words that find no room stand beside"
        await pilot.hover(Overview, offset=(LABEL + 10, 0))
        await pilot.mouse_up(Overview, offset=(LABEL + 10, 0))
        assert overview.render().plain == calm
        assert overview.span.whole


async def test_the_wheel_zooms_around_the_mouse_and_back(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.pause()
        overview = app.screen.query_one(Overview)
        x, y = overview.region.offset
        mouse: dict[str, Any] = {
            "widget": overview, "x": LABEL + 100, "y": 3, "delta_x": 0, "delta_y": 0, "button": 0, "shift": False,
            "meta": False, "ctrl": False, "screen_x": x + LABEL + 100, "screen_y": y + 3,
        }  # fmt: skip
        moment = overview._axis.time(100)
        overview.post_message(events.MouseScrollUp(**mouse))
        await pilot.pause()
        assert not overview.span.whole
        assert abs(overview._axis.time(100) - moment) <= 2 * overview._axis.step, "what is under the mouse stays there"
        overview.post_message(events.MouseScrollDown(**mouse))
        await pilot.pause()
        assert overview.span.whole


async def test_a_click_into_the_bar_in_focus_goes_to_that_moment(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.pause()
        view, overview = app.trace.view, app.screen.query_one(Overview)
        await pilot.click(Overview, offset=(LABEL + 5, 2))
        assert app.trace.timeline[view.cursor].conn == 1
        near = app.trace.timeline[view.cursor].time
        assert near <= overview._axis.time(6)
        await pilot.click(Overview, offset=(LABEL + 140, 2))
        assert app.trace.timeline[view.cursor].time > near
        before = view.cursor
        await pilot.click(Overview, offset=(2, 2))
        assert view.cursor == before, "beside the bar there is no moment"


async def test_thousands_of_connections_are_a_river_and_one_is_two_keys_away(make_app: MakeApp) -> None:
    story = Story()
    for number in range(1, 2001):
        half_close(story, number, number * 1.0)
    app = make_app(story.onto())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        while app.trace.view.behind:
            await pilot.pause(0.05)  # it is read in parts
        await pilot.press("o", "o")  # drawn anew: the clock stands still
        lines = app.screen.query_one(Overview).render().plain.split("\n")
        assert lines[0].startswith(" all 2.0k") and len(lines) == 3
        assert set(lines[0][LABEL:].strip()) <= set(BARS.values())
        await pilot.press("o", "pagedown", "enter")
        assert app.trace.view.focus == 13


async def test_an_ended_live_scene_stands_still(make_app: MakeApp) -> None:
    """While something is open the axis goes with the clock, behind that it ends with the last event."""
    for close, still in ((False, False), (True, True)):
        story = Story()
        refused(story, 1, 0.0)
        if not close:
            story.state(0.05, 2, C, State.SYN_SENT, State.ESTABLISHED)
        app = make_app(story.onto(), mode="live", finished=False)
        async with app.run_test(size=(120, 48)) as pilot:
            await pilot.pause()
            overview = app.screen.query_one(Overview)
            heading = overview.render().plain.splitlines()[0]
            assert ("70.0 µs" in heading) is still and ("5.00 s" in heading) is not still, heading
            assert "from the first event, 22:13:20.000 UTC" in heading
