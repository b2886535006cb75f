"""Screens for tests: a fixed timeline, a clock that stands still, no rate that depends on the machine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.tui.stories import START, three
from tracer.timeline import Timeline
from tui.app import SynfinApp
from tui.feed import Probe, Script, StillFeed

PROBES = (Probe("kernel", True), Probe("wire", True), Probe("epoll", False, "this kernel has no ep_poll_callback()"))

MakeApp = Callable[..., SynfinApp]


@pytest.fixture
def make_app() -> MakeApp:
    """Makes an app over a timeline (that of `three()` unless given), its clocks standing still."""

    def make(
        timeline: Timeline | None = None, *, mode: str = "replay", ascii_only: bool = False, finished: bool = True,
        lost: int = 0, play: Script | None = None, title: str = "half-close", recording: str | None = None,
    ) -> SynfinApp:  # fmt: skip
        events = three() if timeline is None else timeline
        feed = StillFeed(events, lost=lost, probes=PROBES, recording=recording, finished=finished, play=play)
        live = mode == "live"
        return SynfinApp(
            feed, title=title, mode="live" if live else "replay", ascii_only=ascii_only,
            clock=lambda: 100.0, wall=lambda: START + 5_000_000_000,
        )  # fmt: skip

    return make
