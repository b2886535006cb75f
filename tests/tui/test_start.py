"""The start page: every section, key and click leads to the command that would have been typed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static

from scenarios import recordings, registry
from tests.tui.test_pictures import ENTRIES, RUN
from tui import memory
from tui.cli import synfin
from tui.cli_start import HERE, about, entries, lately
from tui.cli_start_live import live, rights
from tui.screens.start import ALL, SECTIONS, Command, Entry, StartScreen, matching
from tui.start import StartApp
from tui.widgets.story import StoryPane

NARROW, WIDE = (80, 24), (160, 48)


async def settled(pilot: Pilot[Any]) -> None:
    for _ in range(4):
        await pilot.pause()


def page(app: StartApp) -> StartScreen:
    screen = app.screen
    assert isinstance(screen, StartScreen)
    return screen


async def chosen(*keys: str, size: tuple[int, int] = NARROW) -> Command | None:
    app = StartApp(ENTRIES)
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        for key in keys:
            await pilot.press(key)
            await settled(pilot)
    return app.return_value


@pytest.mark.parametrize(
    ("keys", "command"),
    [
        (("enter",), ("run", "refused")),
        (("down", "enter"), RUN),
        (("down", "up", "enter"), ("run", "refused")),
        (("pagedown", "enter"), ("trace", "--port", "8080")),
        (("pagedown", "pageup", "enter"), ("run", "refused")),
        ((*"half", "enter"), RUN),
        ((*"half", "ctrl+l"), (*RUN, "--lesson")),
        ((*"half", "ctrl+s"), (*RUN, "--step")),
        ((*"tcpdump", "enter", "escape"), None),
        (("tab", "tab", "enter"), (*RUN, "--lesson")),
        (("shift+tab", "shift+tab", "enter"), ("trace", "--port", "8080")),
        (("escape",), None),
    ],
)
async def test_a_key_leads_to_a_command(keys: tuple[str, ...], command: Command | None) -> None:
    assert await chosen(*keys) == command


async def test_what_cannot_be_a_lesson_is_not_opened_as_one() -> None:
    assert await chosen(*"nginx", "ctrl+l", "ctrl+s", "escape") is None


async def test_the_mouse_chooses_sections_and_entries() -> None:
    app = StartApp(ENTRIES)
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        tabs = str(page(app).query_one("#start-tabs", Static).render())
        await pilot.click("#start-tabs", offset=(tabs.index("Captures") + 2, 0))
        await settled(pilot)
        assert page(app).section == "Captures"
        await pilot.click("#start-list", offset=(4, 1))
        await settled(pilot)
    assert app.return_value == ("replay", "./run.pcapng")


@pytest.mark.parametrize(("size", "beside"), [(NARROW, False), ((120, 40), True), (WIDE, True)])
async def test_the_story_stands_beside_the_list_or_below_it(size: tuple[int, int], beside: bool) -> None:
    app = StartApp(ENTRIES)
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        await pilot.press("down")
        await settled(pilot)
        story, listed = page(app).query_one(StoryPane), page(app).query_one(OptionList)
        assert "two streams" in story.text
        assert (story.region.x > 0) == beside and (story.region.y > listed.region.y) != beside
        assert "synfin run half-close" in str(page(app).query_one("#start-command", Static).render())


async def test_what_takes_asking_comes_later_and_leaves_the_highlight_where_it_was() -> None:
    late = Entry("Recent", "looked at lately", "late.pcapng", "1 KiB", ("replay", "late.pcapng"))
    app = StartApp(ENTRIES, more=lambda: [late], about=lambda entry: f"about {entry.name}")
    async with app.run_test(size=NARROW) as pilot:
        await pilot.press("down")
        await app.workers.wait_for_complete()
        await settled(pilot)
        highlighted = page(app).highlighted
        assert highlighted is not None and highlighted.name == "half-close"
        await pilot.press(*"late")
        await settled(pilot)
        await app.workers.wait_for_complete()
        await settled(pilot)
        assert "about late.pcapng" in page(app).query_one(StoryPane).text


async def test_a_search_in_the_wrong_section_tells_where_else_to_look() -> None:
    app = StartApp(ENTRIES)
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        page(app).action_choose_section("Live")
        await pilot.press(*"half")
        await settled(pilot)
        shown = str(page(app).query_one(OptionList).get_option_at_index(0).prompt)
        assert "1 in other sections" in shown


async def test_hostile_names_stay_text() -> None:
    bad = Entry("Captures", HERE, "[red]\x1b[2J\u202ename", "[/]", ("replay", "x\x07"), "[b]story\x1b")
    app = StartApp([bad])
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        drawn = app.export_screenshot()
        assert "\x1b" not in drawn and "\u202e" not in drawn and "\x07" not in drawn
        assert "[red]" in drawn.replace("&#x27;", "'") or "red]" in drawn


async def test_a_thousand_files_are_listed_and_searched() -> None:
    many = [Entry("Captures", HERE, f"run-{n:04}.pcapng", "1 KiB", ("replay", str(n))) for n in range(1000)]
    app = StartApp([*ENTRIES, *many])
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot)
        await pilot.press(*"0777")
        await settled(pilot)
        assert [entry.name for entry in page(app)._found] == ["run-0777.pcapng"]
        assert page(app).query_one(Input).value == "0777"


def test_every_scenario_is_there_under_its_topic_and_as_a_lesson() -> None:
    there = list(entries())
    names = registry.names()
    assert [entry.name for entry in matching(there, "", "Scenarios")] == names
    for entry in matching(there, "", "Scenarios"):
        topic = registry.find(entry.name).topic
        assert entry.group == f"{topic}: {registry.TOPICS[topic]}"
        assert entry.story and entry.line
    lessons = {entry.argv for entry in matching(there, "", "Lessons")}
    assert {("run", name, "--lesson") for name in names} <= lessons
    assert len([argv for argv in lessons if argv[0] == "replay"]) == len(recordings.names())


def test_every_command_is_one_of_the_command_line() -> None:
    for entry in [*entries(), *live()]:
        assert entry.section in SECTIONS and entry.section != ALL
        for argv in filter(None, (entry.argv, entry.lesson, entry.step)):
            command = synfin.commands[argv[0]]
            command.make_context(argv[0], list(argv[1:]))  # raises where it would not be understood


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "here").mkdir()
    with chdir(tmp_path / "here"):
        yield tmp_path / "here"


def test_captures_of_this_folder_and_what_was_looked_at_lately(home: Path) -> None:
    for name in ("a.pcap", "b.pcapng.gz", "c.txt"):
        (home / name).write_bytes(b"x" * 2048)
    here = [entry for entry in entries() if entry.group == HERE]
    assert [(entry.name, entry.argv[1]) for entry in here] == [("a.pcap", "./a.pcap"), ("b.pcapng.gz", "./b.pcapng.gz")]
    memory.note(str(home / "a.pcap"))
    memory.note(str(home / "missing.pcap"))
    memory.note(str(home / "b.pcapng.gz"))
    os.utime(next((home.parent / "state" / "synfin" / "recent").glob("*.json")))
    assert {entry.name for entry in lately()} == {"a.pcap", "b.pcapng.gz"}
    place = memory.place_for(str(home / "a.pcap"))
    assert place is not None
    memory.store(place, memory.Remembered(59, 1, 12, (3,), "", "flag:fin", "r"))
    story = next(entry.story for entry in lately() if entry.name == "a.pcap")
    assert "Left at event 13 of 59, 1 mark, filter flag:fin" in story
    (home / "b.pcapng.gz").unlink()
    assert [entry.name for entry in lately()] == ["a.pcap"], "what is gone is not offered"


def test_no_more_files_are_remembered_than_make_sense(home: Path) -> None:
    for n in range(memory.RECENT + 5):
        file = home / f"{n}.pcap"
        file.touch()
        memory.note(str(file))
        time.sleep(0.001)
    found = memory.recent()
    assert len(found) == memory.RECENT and found[0].name == f"{memory.RECENT + 4}.pcap"


def test_what_a_file_says_of_itself(home: Path) -> None:
    named = next(entry for entry in entries() if entry.section == "Captures" and entry.name == "half-close")
    assert about(named).startswith("A recording of half-close")
    bad = home / "bad.pcap"
    bad.write_bytes(b"nothing")
    entry = next(entry for entry in entries() if entry.group == HERE)
    assert "bad.pcap" in about(entry)
    assert about(ENTRIES[0]) == ""


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (0x1FF_FFFF_FFFF, "enough for kernel probes"),
        (1 << 38 | 1 << 39, "without CAP_SYSLOG"),
        (1 << 13, "CAP_BPF and CAP_PERFMON are missing"),
        (0, "With sudo"),
    ],
)
def test_what_rights_lack_is_said(tmp_path: Path, held: int, words: str) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "status").write_text(f"Name:\tx\nCapEff:\t{held:016x}\n")
    assert words in rights(tmp_path)


def test_ports_and_processes_are_offered(tmp_path: Path) -> None:
    net = tmp_path / "self" / "net"
    net.mkdir(parents=True)
    head = "  sl  local_address rem_address   st tx rx tr tm retrnsmt   uid  timeout inode\n"
    row = "   0: 0100007F:{port:04X} 00000000:0000 {st} 00000000:00000000 00:00000000 00000000 0 0 {inode} 1\n"
    listening, open_ = row.format(port=8080, st="0A", inode=77), row.format(port=8080, st="01", inode=78)
    (net / "tcp").write_text(head + listening + open_)
    fds = tmp_path / "4242" / "fd"
    fds.mkdir(parents=True)
    (tmp_path / "4242" / "comm").write_text("ngi\x1bnx\n")
    for fd, inode in ((3, 77), (4, 78)):
        (fds / str(fd)).symlink_to(f"socket:[{inode}]")
    found = {entry.name: entry for entry in live(tmp_path)}
    assert found["port 8080"].argv == ("trace", "--port", "8080")
    assert found["port 8080"].line == "ngi·nx listens; 1 connections"
    assert found["process 4242"].line == "ngi·nx, 2 TCP sockets"
    assert found["this machine"].argv == ("trace", "--all")
