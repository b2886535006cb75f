"""The trace screen: everything about one timeline, with one connection in focus.

The screen is a loop that looks: a timer asks the timeline's count, and only what changed is drawn anew, so that an idle
trace costs next to nothing and a flood of a hundred thousand events a second no more than a few repaints. Sources
never call into it. What is being looked at is a `Watch`; the keys only change that, and `paint` shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.geometry import Size
from textual.screen import Screen
from textual.widgets import Static

from tracer.causes import Link
from tracer.timeline import Timeline
from tracer.words import duration
from tui.connections import Connection
from tui.feed import Feed
from tui.keys import KEYS
from tui.ladder.widget import Ladder
from tui.moment import Facts, Moment, Question, question
from tui.player import Mode
from tui.telling import queues, sections, sentence, where
from tui.watch import NOWHERE, Watch
from tui.widgets.footer import KeyFooter
from tui.widgets.header import Header, HeaderFacts
from tui.widgets.inspector import Inspector, Sentence
from tui.widgets.overview import Overview
from tui.widgets.queues import Queues
from tui.widgets.scrubber import Scrubber, ScrubberFacts
from tui.widgets.step_line import StepLine

FRAMES_PER_SECOND: Final = 20
RATE_SECONDS: Final = 1.0
"""Window of the events per second in the header."""
OVERVIEW_SECONDS: Final = 0.25
"""The overview is drawn anew at most that often."""
IDLE_SECONDS: Final = 1.0
"""The same while nothing happens but time: TIME_WAIT grows."""
INSPECT_SECONDS: Final = 0.1
"""While the cursor rides a live tail, the inspector follows at most that often."""
FLOOD: Final = 1_000
"""Events since the last look past which a riding inspector tells of the event alone."""
LONG: Final = 20_000
"""Events to fold past which the answer is worked out in another thread (some tenths of a second)."""


def bar(part: float, cells: int = 10) -> str:
    """How far a file has been read: ▮▮▮▯▯▯▯▯▯▯ 32%."""
    full = round(part * cells)
    return f"{'▮' * full}{'▯' * (cells - full)} {part:.0%}"


class TraceScreen(Screen[None]):
    """The main screen. `clock` gives seconds, `wall` ns since the Unix epoch."""

    BINDINGS: ClassVar = [
        Binding(bound.key, bound.action, bound.command or key.help, show=False) for key in KEYS for bound in key.bound
    ]

    def __init__(
        self, feed: Feed, *, title: str, live: bool, clock: Callable[[], float],
        wall: Callable[[], int],
    ) -> None:  # fmt: skip
        super().__init__()
        self.feed, self.live = feed, live
        self.view = Watch(feed.timeline, riding=live)
        self._title, self._clock, self._wall = title, clock, wall
        self._moment = Moment(feed.timeline)
        self._rate: int | None = None
        self._counted = (clock(), feed.written)
        self._overview_due = self._overview_drawn = self._inspect_due = 0.0
        self._drawn: tuple[object, ...] = ()
        self._asked: Question | None = None
        self._fitted = Size(0, 0)
        self._facts = Facts(question(self.view))

    @property
    def timeline(self) -> Timeline:
        """What is shown."""
        return self.feed.timeline

    def compose(self) -> ComposeResult:
        with Vertical(id="all"):
            yield Header()
            yield Overview()
            with Horizontal(id="main"):
                with Vertical(id="left"):
                    yield Ladder(self.feed.timeline)
                    yield Queues(id="queues")
                yield Inspector(id="inspector")
            yield Sentence(id="sentence")
            yield StepLine()
            yield Scrubber()
            yield KeyFooter()
        yield Static("", id="toosmall", markup=False)

    def on_mount(self) -> None:
        """Look at once, then at every frame."""
        self.query_one(Ladder).focus()
        self._frames = self.set_interval(1 / FRAMES_PER_SECOND, self.look)
        self.look()

    def on_resize(self) -> None:
        """Say that it is too small (where it is), and fit everything to the new size."""
        if self.size == self._fitted:
            return
        self._fitted = self.size
        wanted = f"The terminal is {self.size.width}x{self.size.height}: too small. synfin needs 40x10."
        self.query_one("#toosmall", Static).update(wanted)
        self.call_after_refresh(self._fit)

    def _fit(self) -> None:
        self._overview_due = self._inspect_due = 0.0
        self._drawn = ()
        self._asked = None
        self.look()

    # What changed is painted

    def look(self) -> None:
        """Take in what has come and paint what changed."""
        now = self._clock()
        finished = self.feed.finished  # asked first: what comes before the answer is taken in below
        news = self.view.refresh(now, more=not finished)
        if news:
            self._overview_due = min(self._overview_due, self._overview_drawn + OVERVIEW_SECONDS)
        self._count(now)
        self.query_one(StepLine).follow(self.feed.play)
        self.paint(now)
        if finished and not news and self.view.player.mode is Mode.HOLD:
            self._frames.pause()  # nothing can change but by a key, and every key looks

    def paint(self, now: float) -> None:
        """Show the view as it is."""
        view = self.view
        self._paint_header()
        if now >= self._overview_due:
            self._overview_drawn, self._overview_due = now, now + IDLE_SECONDS
            self._paint_overview()
        riding = self.live and not self.feed.finished and view.player.mode is Mode.FOLLOW
        present = self._wall() if riding else None
        drawn = (view.focus, view.player.shown, view.limit, view.cursor, present and present // 500_000_000)
        if drawn != self._drawn:
            self._drawn = drawn
            self.query_one(Ladder).show(view.focus, view.limit, view.cursor, present)
        if now >= self._inspect_due or view.player.mode is not Mode.FOLLOW:
            self._inspect_due = now + INSPECT_SECONDS
            self._inspect()
        self._paint_scrubber()

    def _count(self, now: float) -> None:
        since, written = self._counted
        if now - since >= RATE_SECONDS:
            count = self.feed.written
            self._rate = round((count - written) / (now - since))
            self._counted = (now, count)

    def _paint_header(self) -> None:
        view, feed = self.view, self.feed
        connection = view.connection
        if not self.live:
            mode = "REPLAY" if feed.progress is None else f"READING {bar(feed.progress)}"
        elif view.player.mode is Mode.HOLD and (not feed.finished or view.player.shown < view.player.count):
            mode = "PAUSED"
        elif view.player.mode is Mode.PLAY:
            mode = "PLAYING"
        else:
            mode = "ENDED" if feed.finished else "LIVE"
        self.set_class(feed.lost > 0, "-lost")
        self.query_one(Header).show(
            HeaderFacts(
                title=self._title,
                mode=mode,
                held=mode != "ENDED" and view.player.mode is Mode.HOLD,
                recording=feed.recording is not None,
                rate=self._rate if self.live else None,
                lost=feed.lost,
                connection=view.focus,
                ends=connection.ends(arrow="→") if connection else "",
                ends_short=connection.ends(short=True, arrow="→") if connection else "",
                filter=feed.filter,
                probes=tuple(feed.probes),
            )
        )

    def _paint_overview(self) -> None:
        view = self.view
        overview = self.query_one(Overview)
        high = self.size.height >= 40
        rows = 10 if high else 3
        numbers = view.connections.numbers
        at = numbers.index(view.focus) if view.focus in numbers else 0
        first = max(0, min(at - rows // 2, len(numbers) - rows))
        chosen: Sequence[Connection] = [view.connections[number] for number in numbers[first : first + rows]]
        stop = view.connections.last_time
        until = stop
        if view.player.shown < view.player.count and view.player.shown:
            until = self.timeline[view.track[view.player.shown - 1]].time
        elif self.live and not self.feed.finished and view.player.mode is Mode.FOLLOW and stop:
            until = stop = max(stop, self._wall())
        heading = ""
        if high and chosen:
            span = duration(stop - min(connection.start for connection in chosen))
            heading = f" Overview  {len(chosen)} of {len(numbers):,} connections  {span}"
        overview.show(chosen, view.focus, stop, until, heading)

    def _inspect(self) -> None:
        """Ask about the cursor's event; what would take long to answer is answered later, or not while it rushes by."""
        asked = question(self.view)
        if asked == self._asked:
            return
        cost = self._moment.cost(asked)
        if self.view.player.mode is Mode.FOLLOW and self.view.riding and cost > FLOOD:
            self._asked = None  # once it is calmer, it is asked again
            self._tell(self._moment.glance(asked))
            return
        self._asked = asked
        if cost > LONG:
            self._tell(self._moment.glance(asked))
            self.run_worker(partial(self._think, asked), thread=True, group="inspect")
        else:
            self._tell(self._moment.look(asked))

    def _think(self, asked: Question) -> None:
        """In another thread."""
        if asked == self._asked:
            facts = self._moment.look(asked)
            if asked == self._asked:
                self.app.call_from_thread(self._tell, facts)

    def _tell(self, facts: Facts) -> None:
        self._facts = facts
        self.query_one(Inspector).show(sections(facts, self.timeline))
        self.query_one(Sentence).show(where(facts), sentence(facts))
        pane = self.query_one(Queues)
        if pane.display:
            pane.show(*queues(facts))

    def _paint_scrubber(self) -> None:
        view = self.view
        player, track = view.player, view.track
        at = span = 0
        if len(track):
            start = self.timeline[track[0]].time
            span = self.timeline[track[len(track) - 1]].time - start
            at = self.timeline[view.cursor].time - start if view.cursor != NOWHERE else 0
        moving = player.mode is not Mode.HOLD
        facts = ScrubberFacts(moving, player.speed, view.place, player.shown, player.count, at, span, view.mark_places)
        self.query_one(Scrubber).show(facts)

    # Keys: what they change, the next look shows

    def _at_once(self) -> None:
        self._inspect_due = 0.0
        self._frames.resume()
        self.look()

    def action_toggle_play(self) -> None:
        """Hold the view or let it go on."""
        self.view.toggle(self._clock())
        self._at_once()

    def action_step(self, by: int) -> None:
        """Move the playhead."""
        self.view.step(by)
        self._at_once()

    def action_speed(self, by: int) -> None:
        """Slower or faster."""
        self.view.player.faster(by)
        self._at_once()

    def action_to_start(self) -> None:
        """Hold at the first event."""
        self.view.seek(1)
        self._at_once()

    def action_to_tail(self) -> None:
        """Follow what comes."""
        self.view.to_tail()
        self._at_once()

    def action_connection(self, by: int) -> None:
        """Focus the next or previous connection."""
        self.view.neighbour(by)
        self._overview_due = 0.0
        self._at_once()

    def action_cursor(self, by: int) -> None:
        """Move the cursor by rows."""
        self.query_one(Ladder).move(by)

    def action_page(self, by: int) -> None:
        """Move the cursor by screenfuls; where the inspector has taken the ladder's place, scroll that."""
        if not self.query_one("#left").display:
            inspector = self.query_one(Inspector)
            inspector.scroll_relative(y=by * max(inspector.size.height - 1, 1), animate=False)
            return
        rows = self.query_one(Ladder)
        rows.move(by * rows.page)

    def action_first(self) -> None:
        """The cursor to the first row."""
        self.query_one(Ladder).move(-(1 << 60))

    def action_last(self) -> None:
        """The cursor to the last row shown."""
        self.query_one(Ladder).move(1 << 60)

    def action_cause(self) -> None:
        """To the event that led to this one."""
        self._follow(self._fresh().cause, "No cause is known: the evidence does not say what led to this event.")

    def action_effect(self) -> None:
        """To the first event that this one led to."""
        self._follow(next(iter(self._fresh().effects), None), "No effect is known among the events shown.")

    def _fresh(self) -> Facts:
        """The facts of where the cursor is now: keys may come faster than frames."""
        asked = question(self.view)
        if asked != self._facts.asked and self._moment.cost(asked) <= LONG:
            self._asked = asked
            self._tell(self._moment.look(asked))
        return self._facts

    def _follow(self, link: Link | None, otherwise: str) -> None:
        if link is None or not self.view.go(link.order):
            self.notify(otherwise, timeout=3, markup=False)
        self._at_once()

    def action_mark(self) -> None:
        """Mark the event under the cursor."""
        self.view.mark()
        self._at_once()

    def action_next_mark(self) -> None:
        """To the next mark."""
        if not self.view.next_mark():
            self.notify("No marks: m sets one.", timeout=3, markup=False)
        self._at_once()

    def action_inspector(self) -> None:
        """The inspector instead of the ladder where there is no room for both; away where there is."""
        self.toggle_class("-inspect")
        self.call_after_refresh(self._fit)

    def action_queues(self) -> None:
        """The queues at the cursor, shown or hidden."""
        shown = self.query_one(Queues).display
        self.set_class(not shown, "-queues")
        self.set_class(shown, "-no-queues")
        self.call_after_refresh(self._fit)

    def action_maximise(self) -> None:
        """The ladder alone, or everything."""
        self.toggle_class("-zoom")

    def action_help(self) -> None:
        """The table of keys."""
        from tui.screens.help import HelpScreen

        self.app.push_screen(HelpScreen(tuple(self.feed.probes)))

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

    def on_ladder_moved(self, message: Ladder.Moved) -> None:
        """The cursor was moved by hand."""
        self.view.point(message.order)
        self._at_once()

    def on_scrubber_sought(self, message: Scrubber.Sought) -> None:
        """The user points at a place of the scrubber."""
        self.view.seek(message.position)
        self._at_once()

    def on_overview_chosen(self, message: Overview.Chosen) -> None:
        """The user points at a connection."""
        self.view.focus_on(message.number)
        self._overview_due = 0.0
        self._at_once()
