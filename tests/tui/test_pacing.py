"""When the screen is looked at: an idle one does nothing, a key is not overtaken, a flood lays nothing out anew."""

from __future__ import annotations

import asyncio
import gc
import sys

import pytest
from textual import events

from tests.tui.stories import START, C, Story, V, half_close
from tests.tui.waiting import until
from tracer.segments import ACK, PSH
from tracer.timeline import Timeline
from tui.app import SynfinApp
from tui.feed import StillFeed
from tui.interpreter import SWITCH_SECONDS, prompt
from tui.ladder.widget import Ladder
from tui.screens import pacing
from tui.screens.trace import TraceScreen

SIZE = (160, 48)


class Live:
    """A live trace of two connections, and a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.story = Story()
        half_close(self.story, 1)
        half_close(self.story, 2)
        self.timeline: Timeline = self.story.onto()
        self.app = SynfinApp(
            StillFeed(self.timeline, finished=False), clock=lambda: self.now, wall=lambda: START + 5_000_000_000
        )

    def rush(self, count: int) -> None:
        """So many segments in connection 1."""
        at = len(self.timeline)
        for i in range(count):
            self.story.packet(3000 + (at + i) * 0.001, 1, C if i % 2 else V, PSH | ACK, 2000 + i, 6000, 1)
        self.timeline.append(self.story.builder.take())


async def test_an_idle_live_screen_paints_nothing_until_something_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    live, painted = Live(), []
    paint = TraceScreen.paint
    monkeypatch.setattr(TraceScreen, "paint", lambda self, now: (painted.append(now), paint(self, now)))
    asked: list[bool] = []
    still = TraceScreen._still

    def counted(self: TraceScreen) -> bool:
        asked.append(still(self))
        return asked[-1]

    monkeypatch.setattr(TraceScreen, "_still", counted)
    async with live.app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        live.now += 10
        await until(lambda: asked[-3:] == [True] * 3)
        before = len(painted)
        asked.clear()
        await until(lambda: len(asked) >= 3)
        assert all(asked) and len(painted) == before
        live.rush(3)
        await until(lambda: len(painted) > before)
        assert live.app.trace.view.player.count > 0


async def test_a_held_view_is_looked_at_seldom_however_much_comes() -> None:
    live = Live()
    async with live.app.run_test(size=SIZE) as pilot:
        await pilot.press("space")
        trace = live.app.trace
        for _ in range(4):
            live.now += 1
            live.rush(50)
            trace._frame()
        assert live.now - trace._busy > pacing.CALM_SECONDS
        shown = trace.view.player.count
        await pilot.press("space")
        assert trace.view.player.count >= shown and trace._busy == live.now


async def test_keys_in_one_reading_act_one_after_another() -> None:
    live = Live()
    async with live.app.run_test(size=SIZE) as pilot:
        await pilot.press("space", "home")
        first = live.app.trace.view.cursor
        for key in ("j", "m", "j", "j", "m"):  # a mark is for the row that the keys before it went to
            live.app.post_message(events.Key(key, key))
        await pilot.pause()
        await pilot.pause()
        view, ladder = live.app.trace.view, live.app.screen.query_one(Ladder)
        assert len(view.marks) == 2 and first not in view.marks
        assert view.cursor == max(view.marks) and ladder._cursor == 3


async def test_in_a_flood_scrollbars_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    live = Live()
    layouts: list[object] = []
    lay_out = TraceScreen._refresh_layout
    async with live.app.run_test(size=SIZE) as pilot:
        ladder = live.app.screen.query_one(Ladder)
        live.rush(3 * pacing.FLOOD)
        await until(lambda: ladder.show_vertical_scrollbar and live.app.trace._kept)
        await pilot.pause(0.1)
        monkeypatch.setattr(
            TraceScreen, "_refresh_layout", lambda *args, **more: (layouts.append(args), lay_out(*args, **more))
        )
        for key in ("]", "[", "]"):
            await pilot.press(key)
            await pilot.pause(0.05)
        assert live.app.trace.view.focus == 2 and ladder.show_vertical_scrollbar
        assert not layouts
        live.now += 10
        await until(lambda: not ladder.show_vertical_scrollbar)


def test_threads_take_turns_quickly_while_a_screen_is_on() -> None:
    switch, collect = sys.getswitchinterval(), gc.get_threshold()

    async def shown() -> None:
        with prompt():
            assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)
            assert gc.get_threshold() >= collect

    asyncio.run(shown())
    assert sys.getswitchinterval() == pytest.approx(switch) and gc.get_threshold() == collect
    assert not gc.get_freeze_count()
