"""Keys that move in time and along the ladder: play, step, speed, jumps, marks, the script of a scenario."""

from __future__ import annotations

from functools import partial
from typing import Final

from tracer.causes import Link
from tracer.events import NUMBER
from tui.ladder.draw import CLOCKS
from tui.ladder.widget import Ladder
from tui.player import Mode
from tui.screens.picture import Picture
from tui.widgets.overview import Overview
from tui.widgets.pane import Pane
from tui.widgets.scrubber import Scrubber

CLOCK_WORDS: Final = {"r": "since the first event", "d": "since the row above", "a": "UTC", "e": "since the Unix epoch"}
STATE_KINDS: Final = tuple(
    NUMBER[name]
    for name in (
        "socket:state", "request:born", "timewait:born", "timewait:expired", "timewait:cancelled",
    )
)  # fmt: skip
"""Kinds of event that change a state."""


class Playing(Picture):
    """The picture with the player's keys."""

    clock_letter = "r"
    """How times are written (tui.ladder.draw.CLOCKS)."""

    def action_toggle_play(self) -> None:
        """Hold the view or let it go on."""
        self.view.toggle(self._clock())
        self.at_once()

    def action_step(self, by: int) -> None:
        """Move the playhead."""
        self.view.step(by)
        self.at_once()

    def action_speed(self, by: int) -> None:
        """Slower or faster."""
        self.view.player.faster(by)
        self.at_once()

    def action_by_time(self) -> None:
        """Play by the events' own times, or by rows again."""
        self.view.player.by_time = not self.view.player.by_time
        self.at_once()

    def action_to_start(self) -> None:
        """Hold at the first event."""
        self.view.seek(1)
        self.at_once()

    def action_to_tail(self) -> None:
        """Follow what comes."""
        self.view.to_tail()
        self.at_once()

    def action_times(self) -> None:
        """Another way to write times."""
        self.write_times(CLOCKS[(CLOCKS.index(self.clock_letter) + 1) % len(CLOCKS)])
        self.say(f"times {CLOCK_WORDS[self.clock_letter]}")

    def write_times(self, clock: str) -> None:
        """Write them that way from now on."""
        self.clock_letter = clock
        self.query_one(Ladder).write_times(clock)
        self._drawn = ()
        self.at_once()

    # Along the ladder

    def action_connection(self, by: int) -> None:
        """Focus the next or previous connection."""
        self.view.neighbour(by)
        self._overview_due = 0.0
        self.hop()
        self.at_once()

    def action_cursor(self, by: int) -> None:
        """Move the cursor by rows; in the list of problems by problems; in another pane over the ladder, scroll."""
        pane = self._pane_over()
        if pane is None:
            self._move(by)
        elif pane.id == "lints":
            self.action_problem(by)
        else:
            pane.scroll_relative(y=by, animate=False)

    def action_page(self, by: int) -> None:
        """Move the cursor by screenfuls; where a pane has taken the ladder's place, scroll that."""
        pane = self._pane_over()
        if pane is not None:
            pane.scroll_relative(y=by * max(pane.size.height - 1, 1), animate=False)
            return
        self._move(by * self.query_one(Ladder).page)

    def _move(self, by: int) -> None:
        """The cursor by so many rows of the ladder: at once, for the next key may ask what is under it."""
        order = self.query_one(Ladder).move(by)
        if order is not None:
            self.view.point(order)
            self.at_once()

    def _pane_over(self) -> Pane | None:
        """The pane that has taken the ladder's place."""
        wanted = self.arrangement()
        return self.query_one(f"#{wanted.shown[0]}", Pane) if wanted.over else None

    def action_first(self) -> None:
        """The cursor to the first row."""
        self._move(-(1 << 60))

    def action_last(self) -> None:
        """The cursor to the last row shown."""
        self._move(1 << 60)

    # Jumps

    def action_cause(self) -> None:
        """To the event that led to this one."""
        self._follow(self.fresh().cause, "No cause is known: the evidence does not say what led to this event.")

    def action_effect(self) -> None:
        """To the first event that this one led to."""
        self._follow(next(iter(self.fresh().effects), None), "No effect is known among the events shown.")

    def _follow(self, link: Link | None, otherwise: str) -> None:
        self._jump(link.order if link else None, otherwise)

    def action_go(self, order: int) -> None:
        """To any event: a link was clicked."""
        self._jump(order, "That event is not there any more.")

    def _jump(self, order: int | None, otherwise: str) -> None:
        if order is None or not self.view.go(order):
            self.say(otherwise)
        self._overview_due = 0.0
        self.at_once()

    def action_state_change(self, by: int) -> None:
        """To the next or last change of a state of this connection."""
        order = self.view.track.near(self.view.cursor, by, STATE_KINDS)
        self._jump(order, f"No {'later' if by > 0 else 'earlier'} change of state in this connection.")

    def action_problem(self, by: int) -> None:
        """To the next or last problem, in any connection."""
        if self.problems.stale and self.problems.long:
            self.say("The timeline is being searched for problems; ask again in a moment.")
            self.run_worker(partial(self._find_problems, by), thread=True, exclusive=True, group="problems")
            return
        self.problems.refresh()
        self._to_problem(by)

    def _find_problems(self, by: int) -> None:
        """In another thread; `by` 0: nothing is to be jumped to."""
        self.problems.refresh()
        self.app.call_from_thread(self._to_problem, by)

    def _to_problem(self, by: int) -> None:
        problem = self.problems.near(self.view.cursor, by) if by else None
        self._asked = None
        if problem is not None:
            self._jump(problem.order, "")
        elif by:
            self.say(f"No {'later' if by > 0 else 'earlier'} problem was found.")
        self.at_once()

    def action_mark(self) -> None:
        """Mark the event under the cursor."""
        self.view.mark()
        self.at_once()

    def action_next_mark(self) -> None:
        """To the next mark."""
        if not self.view.next_mark():
            self.say("No marks: m sets one.")
        self.at_once()

    # The script of a scenario

    def action_next_step(self) -> None:
        """Let the real actor take the next step of the script."""
        if self.feed.play is not None:
            self.feed.play.next_step()

    def action_run_script(self) -> None:
        """Let the script run by itself, or hold it."""
        play = self.feed.play
        if play is not None:
            if play.state == "playing":
                play.hold()
            else:
                play.run()

    # The mouse

    def on_ladder_moved(self, message: Ladder.Moved) -> None:
        """A row was clicked."""
        self.view.point(message.order)
        self.at_once()

    def on_scrubber_sought(self, message: Scrubber.Sought) -> None:
        """The user points at a place of the scrubber."""
        track, place = self.view.track, message.position
        if self.view.player.by_time and len(track):
            place = track.place_at(self.timeline[track[0]].time + message.position - 1)
        if self.view.player.mode is Mode.PLAY:
            self.view.toggle(self._clock())
        self.view.seek(place)
        self.at_once()

    def on_overview_chosen(self, message: Overview.Chosen) -> None:
        """The user points at a connection; at the one in focus: at a moment of it."""
        view = self.view
        if view.focus_on(message.number) or message.moment is None or not len(view.track):
            self._overview_due = 0.0
            self.at_once()
        else:
            self.action_go(view.track[view.track.place_at(message.moment) - 1])
