"""A filter over a large capture: what rows rule out has no match, and the screen goes on to what may have one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.tui.test_screen import NARROW, settled
from tracer.capture.events import CaptureSource
from tracer.capture.reader import open_capture
from tracer.filter import FilterError
from tui.app import SynfinApp
from tui.cli_large import LargeFeed
from tui.cli_replay import ReplayFeed
from tui.finder import Finder, meaning
from tui.widgets.header import Header
from tui.widgets.pane import Pane

CAPTURES = Path(__file__).resolve().parents[2] / "captures"
STACKED = ("half-close", "accept-queue", "active-close", "blackhole", "linger-zero", "refused", "write-after-close")


@pytest.fixture(scope="module")
def stacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some captures that come along in one file: sections of pcapng may follow each other."""
    file = tmp_path_factory.mktemp("stacked") / "stacked.pcapng"
    file.write_bytes(b"".join((CAPTURES / f"{name}.pcapng").read_bytes() for name in STACKED))
    return file


@pytest.fixture
def large(stacked: Path) -> Iterator[LargeFeed]:
    feed = LargeFeed(CaptureSource(open_capture(str(stacked))))
    while not feed.finished:
        feed.advance()
    yield feed
    feed.close()


FILTERS = {
    "flag:rst": True,
    "analysis:retransmission": True,
    "severity:warn": False,
    "state:time-wait": True,
    "state:closed": True,
    "port:8080": False,
    "conn:2-3": True,
    "ip:127.0.0.1": True,
    "ip:10.99.0.0/16": True,
    "flag:rst || analysis:retransmission": True,
    "state:fin-wait-2 flag:fin": True,
    "!flag:rst": False,
    "flag:rst || len>100": False,
    "shutdown": False,
    "conn:1 window>0": True,
}
"""And whether rows rule anything out."""


@pytest.fixture(scope="module")
def whole(stacked: Path) -> ReplayFeed:
    feed = ReplayFeed(CaptureSource(open_capture(str(stacked))))
    feed.read_all()
    return feed


@pytest.mark.parametrize("text", FILTERS)
def test_no_connection_with_a_match_is_ruled_out(text: str, large: LargeFeed, whole: ReplayFeed) -> None:
    finder = Finder(whole.timeline, text)
    finder.scan_to(len(whole.timeline))
    likely = set(large.likely(meaning(text)).tolist())
    assert finder.conns <= likely <= set(range(1, len(large.catalogue) + 1))
    assert (len(likely) < len(large.catalogue)) is FILTERS[text]


def test_what_is_no_filter_is_told(large: LargeFeed) -> None:
    with pytest.raises(FilterError):
        large.likely("port:")


async def come(pilot: Pilot[None], app: SynfinApp, large: LargeFeed) -> None:
    """Let the reader bring what is wanted, and the screen see it, until both rest."""
    for _ in range(40):
        while large.advance():
            pass
        await settled(pilot)
        if large.finished and not app.trace._wanted:
            return


async def test_a_search_goes_on_to_connections_that_nobody_has_looked_at(large: LargeFeed, whole: ReplayFeed) -> None:
    finder = Finder(whole.timeline, "flag:rst")
    finder.scan_to(len(whole.timeline))
    resets = sorted(finder.conns)
    assert len(resets) >= 2 and resets[0] > 1, "the one that is shown first has none"
    app = SynfinApp(large, title="stacked", mode="replay", clock=lambda: 100.0)
    async with app.run_test(size=NARROW) as pilot:
        await come(pilot, app, large)
        assert app.trace.view.focus == 1
        app.trace.look_for("flag:rst")
        assert set(resets) <= set(app.trace.view.numbers) <= {1, *resets}, "listed before anybody has looked at them"
        found = []
        for _ in resets:
            await come(pilot, app, large)
            found.append(app.trace.view.focus)
            event = app.trace.timeline[app.trace.view.cursor]
            assert event.conn == found[-1] and event["flags"] & 4
            while app.trace.view.focus == found[-1] and len(found) < len(resets):
                await pilot.press("n")
                await come(pilot, app, large)
        assert found == resets
        assert f"{len(resets)} in {len(resets)}/{len(resets)} #" in str(app.trace.query_one(Header).render())
        while app.trace.view.focus == resets[-1] and app.trace._wanted == 0:
            before = app.trace.view.cursor
            await pilot.press("n")
            await come(pilot, app, large)
            if app.trace.view.cursor == before:
                break
        assert app.trace.view.focus == resets[-1], "there is none behind it"
        app.trace.look_for("")
        await pilot.press("L")
        await settled(pilot)
        looked_at, all_of_them = len(large.visited), len(large.catalogue)
        told = " ".join(app.trace.covers().split())
        assert told.startswith(f"Looked at: {looked_at} of {all_of_them} connections.")
        assert f"{len(resets)} with a reset (/ flag:rst)" in told
        pane = app.trace.query_one("#lints", Pane)
        assert "Looked at:" in pane.text, "the pane says what it covers"
