"""A capture by its connections: the catalogue, and packets read again, beside the same capture held whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tracer.capture import open_capture
from tracer.capture.events import CaptureSource, to_batch
from tracer.kinds import Side
from tracer.replay.catalogue import Catalogue
from tracer.replay.reread import Reread
from tracer.segments import RST
from tracer.timeline import Event, Timeline
from tui import cli_large
from tui.cli_large import LargeFeed
from tui.cli_replay import ReplayFeed

CAPTURES = sorted((Path(__file__).resolve().parents[2] / "captures").glob("*.pcapng"))


TWO_STREAMS = "the second SYN begins a new tcp.stream, as in tshark; on the timeline both are one connection"
DIFFERENT = {"split-handshake": TWO_STREAMS}
"""Captures in which a connection on the same addresses and ports goes before, and what differs for that."""


def captures(*reasons: str) -> list[Any]:
    """All of them; where one of these reasons makes a difference, it is to be seen."""
    found: list[Any] = []
    for path in CAPTURES:
        reason = DIFFERENT.get(path.stem, "")
        marks = [pytest.mark.xfail(reason=reason, strict=True, raises=AssertionError)] if reason in reasons else []
        found.append(pytest.param(path, id=path.stem, marks=marks))
    return found


def whole(file: Path) -> Timeline:
    feed = ReplayFeed(CaptureSource(open_capture(str(file))))
    feed.read_all()
    return feed.timeline


@pytest.fixture
def large() -> Iterator[Any]:
    feeds = []

    def open_(file: Path) -> LargeFeed:
        feed = LargeFeed(CaptureSource(open_capture(str(file))))
        feeds.append(feed)
        while not feed.finished:
            feed.advance()
        return feed

    yield open_
    for feed in feeds:
        feed.close()


def bring(feed: LargeFeed, number: int) -> list[Event]:
    feed.want(number)
    while not feed.finished:
        feed.advance()
    return [feed.timeline[order] for order in feed.timeline.indices("conn", number).tolist()]


def facts(events: list[Event]) -> list[tuple[object, ...]]:
    names = ("frame", "seq", "ack", "flags", "length", "analysis", "saddr", "sport", "old", "new", "certainty")
    return [(e.name, e.time, e.side, e.sock, e.evidence, *(str(e.get(name)) for name in names)) for e in events]


@pytest.mark.parametrize("file", captures(TWO_STREAMS))
def test_a_connection_read_again_is_what_it_was_when_all_was_held(file: Path, large: Any) -> None:
    timeline, feed = whole(file), large(file)
    numbers = [number for number in np.unique(timeline.column("conn")).tolist() if number]
    assert len(feed.catalogue) == len(numbers)
    for number in reversed(numbers):
        before = [timeline[order] for order in timeline.indices("conn", number).tolist()]
        again = bring(feed, number)
        assert facts(again) == facts(before)


@pytest.mark.parametrize("file", captures(TWO_STREAMS))
def test_the_catalogue_says_what_the_packets_say(file: Path, large: Any) -> None:
    timeline, feed = whole(file), large(file)
    catalogue = feed.catalogue
    for number in range(1, len(catalogue) + 1):
        events = [timeline[order] for order in timeline.indices("conn", number).tolist()]
        packets = [event for event in events if event.name == "packet:captured"]
        row = catalogue.rows[number - 1]
        assert row["packets"] == len(packets)
        assert (row["first_time"], row["last_time"]) == (packets[0].time, packets[-1].time)
        assert row["payload"] == sum(packet["length"] for packet in packets)
        assert catalogue.troubles(number - 1, "reset") == [p.time for p in packets if p["flags"] & RST]
        states: dict[Side, list[int]] = {}
        for event in events:
            if event.name == "socket:state":
                states.setdefault(event.side, []).append(event["new"])
        lives = catalogue.lives(number - 1)
        assert {side: life.states[-1] for side, life in lives.items()} == {
            side: new[-1] for side, new in states.items()
        }
        client = next(packet for packet in packets if packet.side == Side.CLIENT) if Side.CLIENT in states else None
        if client is not None:
            assert catalogue.ends(number - 1)[0] == (*client["saddr"], client["sport"])


def test_connections_of_one_tuple_are_told_apart(tmp_path: Path, large: Any) -> None:
    """The same file twice over, an hour later: the same addresses and ports, twice as many connections."""
    source = next(path for path in CAPTURES if path.stem == "half-close")
    one = open_capture(str(source))
    segments = np.concatenate([block.segments for block in one.blocks()])
    feed = large(source)
    later = segments.copy()
    later["time"] += 3600 * 10**9
    later["seq"] += 1_000_000
    later["ack"][later["ack"] > 0] += 1_000_000
    later["frame"] += len(segments)
    catalogue = Catalogue()
    catalogue.feed(segments)
    catalogue.feed(later)
    assert len(catalogue) == 2 * len(feed.catalogue)
    assert catalogue.blocks_of(0).tolist() == [0] and catalogue.blocks_of(len(feed.catalogue)).tolist() == [1]
    both = np.concatenate([segments, later])
    for number in (1, len(feed.catalogue) + 1):
        reread = Reread(catalogue, number, to_batch)
        reread.feed(both)
        assert reread.packets == catalogue.rows["packets"][number - 1]


@pytest.mark.parametrize("stem", ["old-duplicate", "time-wait-reuse", "simultaneous-close"])
@pytest.mark.parametrize("size", [1, 3])
def test_it_does_not_matter_where_blocks_end(stem: str, size: int) -> None:
    """Also where what ends a TIME_WAIT, the next connection's SYN, is in a block that is not read again."""
    file = next(path for path in CAPTURES if path.stem == stem)
    one = open_capture(str(file))
    segments = np.concatenate([block.segments for block in one.blocks()])
    catalogue = Catalogue()
    blocks = [segments[at : at + size] for at in range(0, len(segments), size)]
    for block in blocks:
        catalogue.feed(block)
    timeline = whole(file)
    for number in range(1, len(catalogue) + 1):
        reread, again = Reread(catalogue, number, to_batch), Timeline()
        for at in catalogue.blocks_of(number - 1).tolist():
            again.append(reread.feed(blocks[at]))
        again.append(reread.finish())
        before = [timeline[order] for order in timeline.indices("conn", number).tolist()]
        assert facts(list(again.events())) == facts(before)


def test_a_connection_of_very_many_packets_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch, large: Any) -> None:
    monkeypatch.setattr(cli_large, "MOST", 5)
    file = next(path for path in CAPTURES if path.stem == "half-close")
    events = bring(large(file), 1)
    assert events[-1].name == "trace:note" and events[-1]["text"].startswith("only the first")


def test_a_file_that_is_gone_is_said_and_what_was_read_stays(tmp_path: Path, large: Any) -> None:
    file = tmp_path / "gone.pcapng"
    shutil.copy(next(path for path in CAPTURES if path.stem == "half-close"), file)
    feed = large(file)
    shown = len(feed.timeline)
    feed._opened.clear()
    file.unlink()
    events = bring(feed, 1)
    assert len(feed.timeline) > shown and "not read" in events[-1]["text"]
    assert any("no such file" in note for note in feed.notes())
