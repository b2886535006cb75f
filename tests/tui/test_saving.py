"""What leaves the screen: recordings, pictures, copies; and what is remembered of a file."""

from __future__ import annotations

import errno
import json
import resource
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tui.conftest import MakeApp
from tests.tui.stories import three
from tests.tui.test_screen import NARROW, WIDE, settled
from tracer.recording.source import RecordingSource
from tracer.session import Session
from tui.app import SynfinApp
from tui.cli_tools import dissect, tools
from tui.feed import StillFeed
from tui.memory import Remembered, load, place_for, store
from tui.screens.export import EXPORTS
from tui.tools import Tools
from tui.widgets.inspector import Inspector

STATE = Remembered(3, 1, 2, (1, 2), "states", "flag:fin", "d")


def noted(app: SynfinApp) -> str:
    return " ".join(note.message for note in app._notifications)


async def test_everything_in_the_export_list_is_saved_or_copied(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app()
    app.trace.tools = replace(tools(), folder=tmp_path)
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        app.trace.view.go(3)
        for row in EXPORTS:
            await pilot.press("x", row.key)
            await settled(pilot)
            assert app.screen is app.trace
        copied = json.loads(app.clipboard)
        assert (copied["order"], copied["event"]) == (3, "packet:received")
        by_ending = {path.suffix: path for path in tmp_path.iterdir()}
        assert set(by_ending) == {".pcapng", ".svg", ".json"}
        assert json.loads(by_ending[".json"].read_text())["order"] == 3
        assert by_ending[".svg"].read_text().startswith('<svg xml:space="preserve" ')
        source = RecordingSource(by_ending[".pcapng"].open("rb"))
        session = Session([source])
        while not source.finished:
            session.pump(final=True)
        session.stop()
        assert [event.name for event in session.timeline.events()] == [event.name for event in three().events()]
        await pilot.press("x", "s")
        await settled(pilot)
        assert len(list(tmp_path.glob("*.svg"))) == 2, "nothing is written over"


async def test_what_cannot_be_saved_is_said_in_a_sentence(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app()
    app.trace.tools = replace(tools(), folder=tmp_path / "not there")
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        for key in ("r", "s", "f"):
            await pilot.press("x", key)
            await settled(pilot)
            assert "was not saved" in noted(app)
        app.trace.tools = Tools()
        await pilot.press("x", "r")
        await settled(pilot)
        assert "Nothing can be saved from here" in noted(app)


async def test_a_full_disk_leaves_no_half_of_a_picture(make_app: MakeApp, tmp_path: Path) -> None:
    """RLIMIT_FSIZE stands in for it: write(2) fails half way in both."""
    app = make_app()
    app.trace.tools = replace(tools(), folder=tmp_path)
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
        try:
            app.trace.action_screenshot()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        await settled(pilot)
        assert "The picture was not saved" in noted(app)
    assert not list(tmp_path.iterdir())


async def test_a_folder_that_may_not_be_entered_is_said_in_a_sentence(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Path.exists() has it; for root there is no such folder."""

    def refuse(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    app = make_app()
    app.trace.tools = tools()
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        for save in (app.trace.action_save_recording, app.trace.action_screenshot, app.trace.action_save_event):
            with monkeypatch.context() as patched:
                patched.setattr(Path, "exists", refuse)
                save()
            await settled(pilot)
            assert "was not saved: Permission denied" in noted(app)


async def test_a_packet_is_taken_apart_once_it_is_looked_at(make_app: MakeApp) -> None:
    source = three()
    app = make_app(source)
    app.trace.tools = tools()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        app.trace.view.go(2)
        app.trace.at_once()
        await app.workers.wait_for_complete()
        await settled(pilot)
        told = " ".join(app.screen.query_one(Inspector).text.split())
        assert "are no IP packet" in told, "the story's bytes are made up"


def test_layers_are_those_of_the_header_bytes() -> None:
    from scenarios import recordings

    folder = recordings.folder()
    assert folder is not None
    source = RecordingSource((folder / "half-close.pcapng").open("rb"))
    session = Session([source])
    while not source.finished:
        session.pump(final=True)
    session.stop()
    event = next(event for event in session.timeline.events() if event.name == "packet:sent")
    layers = dissect(event)
    assert [layer.name for layer in layers] == ["IP", "TCP"]
    ip, tcp = (dict(layer.fields) for layer in layers)
    assert ip["src"] == event.ip("saddr") and int(ip["ttl"]) == event["ttl"]
    assert int(tcp["seq"]) == event["seq"] and tcp["flags"] == "S"


async def test_a_file_opens_as_it_was_left(tmp_path: Path) -> None:
    place = tmp_path / "state" / "view.json"

    def opened() -> SynfinApp:
        return SynfinApp(StillFeed(three()), mode="replay", clock=lambda: 100.0, tools=Tools(memory=place))

    first = opened()
    async with first.run_test(size=NARROW) as pilot:
        await settled(pilot)
        await pilot.press("right_square_bracket", "j", "j", "m", "S", "t")
        first.trace.look_for("flag:fin")
        await settled(pilot)
        left = first.trace.remembered()
    assert left.marks and left.focus == 2 and left.clock == "d"
    again = opened()
    async with again.run_test(size=NARROW) as pilot:
        await settled(pilot)
        assert again.trace.remembered() == left
        assert again.trace.arrangement().shown == ("states",)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"count": 1}', json.dumps(STATE.__dict__ | {"clock": "x"})])
async def test_a_memory_that_makes_no_sense_is_forgotten(tmp_path: Path, text: str) -> None:
    place = tmp_path / "view.json"
    place.write_text(text)
    assert load(place) is None
    app = SynfinApp(StillFeed(three()), mode="replay", clock=lambda: 100.0, tools=Tools(memory=place))
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        assert app.trace.view.focus == 1


def test_what_is_remembered_comes_back_and_an_unwritable_place_is_no_failure(tmp_path: Path) -> None:
    store(tmp_path / "a" / "b.json", STATE)
    assert load(tmp_path / "a" / "b.json") == STATE
    (tmp_path / "file").write_text("")
    store(tmp_path / "file" / "b.json", STATE)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.json"], "no half-written file is left"


def test_another_file_of_the_same_name_is_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    file = tmp_path / "run.pcapng"
    file.write_bytes(b"1")
    first = place_for(str(file))
    assert first is not None and first == place_for(str(file)) and tmp_path / "state" in first.parents
    file.write_bytes(b"12")
    assert place_for(str(file)) != first
    assert place_for("-") is None and place_for("/dev/null") is None
