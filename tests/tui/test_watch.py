"""The view: focus, playhead, cursor and marks as the keys change them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.tui.stories import C, Story, V, half_close, three
from tracer.segments import ACK, FIN
from tracer.states import State
from tracer.timeline import Timeline
from tui.connections import Connections
from tui.feed import StillFeed
from tui.player import Mode
from tui.screens.playing import STATE_KINDS
from tui.track import Track
from tui.watch import NOWHERE, Watch


def looking_at(timeline: Timeline, *, riding: bool = False, more: bool = False) -> Watch:
    watch = Watch(timeline, riding=riding)
    watch.refresh(0.0, more=more)
    return watch


@pytest.fixture
def watch() -> Watch:
    return looking_at(three())


def test_nothing_yet_is_a_view_too() -> None:
    watch = looking_at(Timeline(), riding=True, more=True)
    assert (watch.focus, watch.cursor, watch.place, watch.limit) == (0, NOWHERE, 0, 0)
    watch.step(1)
    watch.step(-1)
    watch.toggle(0.0)
    watch.mark()
    assert not watch.next_mark() and not watch.neighbour(1)
    assert watch.cursor == NOWHERE


def test_a_recording_opens_whole_with_the_cursor_on_its_first_event(watch: Watch) -> None:
    assert watch.focus == 1
    assert watch.track.row_of(watch.cursor)[0] == watch.track[0], "in the first row, on what it is about"
    assert watch.limit == len(watch.timeline)
    assert watch.player.mode is Mode.HOLD


def test_live_the_cursor_rides_the_tail_until_it_is_moved_by_hand() -> None:
    story = Story()
    half_close(story, 1)
    timeline = story.onto()
    watch = looking_at(timeline, riding=True, more=True)
    assert watch.track.row_of(watch.cursor)[1] == watch.track[len(watch.track) - 1]
    watch.point(watch.track[3])
    half_close(story, 1, 3000)
    story.onto(timeline)
    watch.refresh(1.0, more=True)
    assert watch.cursor == watch.track[3]
    assert watch.player.shown == len(watch.track), "the view goes on"
    watch.to_tail()
    assert watch.track.row_of(watch.cursor)[1] == watch.track[len(watch.track) - 1]


def test_pause_freezes_the_view_though_events_come() -> None:
    story = Story()
    half_close(story, 1)
    timeline = story.onto()
    watch = looking_at(timeline, riding=True, more=True)
    watch.toggle(0.0)
    limit, cursor = watch.limit, watch.cursor
    half_close(story, 2, 3000)
    story.onto(timeline)
    watch.refresh(1.0, more=True)
    assert (watch.limit, watch.cursor) == (limit, cursor)
    half_close(story, 1, 6000)
    story.onto(timeline)
    watch.refresh(2.0, more=True)
    assert watch.player.shown < watch.player.count
    assert watch.limit <= watch.track[watch.player.shown], "no later event of the connection may be drawn"
    watch.toggle(3.0)
    assert watch.limit == len(timeline)


def test_a_step_back_hides_what_lies_ahead(watch: Watch) -> None:
    watch.seek(5)
    assert watch.cursor == watch.track[4]
    assert watch.limit == watch.track[5]
    watch.step(-1)
    assert watch.cursor < watch.limit == watch.track[4], "a whole row back"
    watch.step(-100)
    assert watch.player.shown == 1, "the first event stays"


def test_a_link_is_followed_to_another_connection_and_beyond_the_playhead(watch: Watch) -> None:
    watch.seek(2)
    other = int(watch.timeline.indices("conn", 2)[7])
    assert watch.go(other)
    assert (watch.focus, watch.cursor) == (2, other)
    assert watch.limit > other
    assert not watch.go(len(watch.timeline)) and not watch.go(-1)


def test_neighbours_stop_at_the_ends_of_the_list(watch: Watch) -> None:
    assert not watch.neighbour(-1)
    assert watch.neighbour(1) and watch.focus == 2
    assert watch.neighbour(1) and watch.focus == 3
    assert not watch.neighbour(1)
    assert watch.player.shown == watch.player.count == len(watch.track), "what was shown whole is shown whole"


def test_marks_are_toggled_and_visited_in_turn(watch: Watch) -> None:
    for place in (8, 3):
        watch.point(watch.track[place])
        watch.mark()
    assert watch.mark_places == (4, 9)
    assert watch.next_mark() and watch.cursor == watch.track[8]
    assert watch.next_mark() and watch.cursor == watch.track[3], "from the last to the first"
    watch.mark()
    assert watch.mark_places == (9,)
    watch.neighbour(1)
    assert watch.mark_places == ()
    assert watch.next_mark() and watch.focus == 1, "a mark in another connection is visited too"


def test_the_next_change_of_state_is_also_an_orphans_fin() -> None:
    """It leads the small object from FIN_WAIT2 to TIME_WAIT, which no probe tells."""
    story, s = Story(), State
    story.state(1, 1, C, s.FIN_WAIT1, s.FIN_WAIT2)
    story.time_wait(3, 1, C, substate=s.FIN_WAIT2)
    story.packet(4, 1, C, FIN | ACK, 1)
    story.packet(5, 1, V, ACK, 1)
    story.packet(6, 1, V, FIN | ACK, 1)
    story.packet(7, 1, V, FIN | ACK, 1)
    story.time_wait(60_000, 1, C, "timewait:expired")
    timeline = story.onto()
    track = Track(timeline, 1)
    track.refresh()
    found, at = [], track.near(-1, 1, STATE_KINDS)
    while at is not None:
        found.append(timeline[at].name)
        at = track.near(at, 1, STATE_KINDS)
    assert found == ["socket:state", "packet:received", "timewait:expired"], "the object is born in the first row"


def test_a_connection_that_is_being_read_is_waited_for_until_it_is_there() -> None:
    class Part(StillFeed):
        """A large capture of which nothing has been read again."""

        listing, visited = Connections(three()), frozenset[int]()

        def want(self, number: int) -> None: ...

        def likely(self, text: str) -> NDArray[np.int64]:
            return np.zeros(0, np.int64)

    part = Part(Timeline())
    part.listing.refresh()
    watch = Watch(part.timeline, part=part)
    watch.refresh(0.0, more=True)
    assert watch.focus == 1 and watch.coming
    story = Story()
    half_close(story)
    story.onto(part.timeline)
    watch.refresh(0.1, more=True)
    assert not watch.coming
