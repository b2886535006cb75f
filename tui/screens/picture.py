"""What is painted of a trace: what is being looked at is a `Watch`, and `paint` shows it.

Only what changed is drawn anew. The keys (the classes beside this one) only change what is looked at; when it is
painted is tui.screens.pacing's affair.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from tracer.resources import Ledger
from tracer.timeline import Event
from tui.feed import Feed, Partial
from tui.finder import Finder
from tui.ladder.widget import Ladder
from tui.moment import Facts, Moment, Question, question
from tui.panes import PANES
from tui.player import Mode
from tui.problems import Problems
from tui.screens.pacing import FLOOD, TICK_SECONDS, Pacing
from tui.telling import queues, sentence, where
from tui.tools import Layer, Tools
from tui.watch import NOWHERE, Watch
from tui.widgets.header import Header, HeaderFacts
from tui.widgets.overview import Overview, Shown
from tui.widgets.pane import Pane
from tui.widgets.queues import Queues
from tui.widgets.scrubber import Scrubber, ScrubberFacts
from tui.widgets.sentence import Sentence
from tui.widgets.step_line import StepLine

RATE_SECONDS: Final = 1.0
"""Window of the events per second in the header."""
OVERVIEW_SECONDS: Final = 0.25
"""The overview is drawn anew at most that often."""
IDLE_SECONDS: Final = 2.0
"""The same while nothing happens but time: TIME_WAIT grows."""
CALM_SHARE: Final = 200
"""Drawing it then may take one part in so many."""
INSPECT_SECONDS: Final = 0.1
"""While the cursor rides a live tail, the inspector follows at most that often."""
PARTS: Final = 2
"""Parts of the timeline that are searched between two frames, ten milliseconds or so each."""
COMING_SECONDS: Final = 0.1
"""A connection of a large capture, read when it is looked at, takes some ms: an empty screen would only flicker."""
REMARK_SECONDS: Final = 4.0
"""A remark in the corner stays that long."""
LONG: Final = 1_000
"""Events to fold past which the answer is worked out in another thread: a key is to be answered in 100 ms."""
PATIENCE: Final = 20_000
"""The same where the answer is what was asked for: to go to a cause it must be known."""


def bar(part: float, cells: int = 10) -> str:
    """How far a file has been read: ▮▮▮▯▯▯▯▯▯▯ 32%."""
    full = round(part * cells)
    return f"{'▮' * full}{'▯' * (cells - full)} {part:.0%}"


class Picture(Pacing):
    """Painting. `clock` gives seconds, `wall` ns since the Unix epoch."""

    def __init__(
        self, feed: Feed, *, title: str, live: bool, clock: Callable[[], float], wall: Callable[[], int],
        tools: Tools | None = None,
    ) -> None:  # fmt: skip
        super().__init__(feed, live=live, clock=clock)
        self.tools = tools or Tools()
        part = feed if isinstance(feed, Partial) else None
        self.view = Watch(feed.timeline, riding=live, part=part)
        self.finder: Finder | None = None
        """What is looked for."""
        self.problems = Problems(feed.timeline)
        self._title, self._wall = title, wall
        self._moment = Moment(feed.timeline)
        self._ledger: Ledger | None = None
        self._dissecting = self._dissects = False
        self._rate: int | None = None
        self._counted = (clock(), feed.written)
        self._overview_due = self._overview_drawn = self._inspect_due = 0.0
        self._drawn: tuple[object, ...] = ()
        self._asked: Question | None = None
        self._inspected = 0
        """Events of the connection when it was asked last."""
        self._said = ("", 0.0)
        """The last remark, and until when it stands."""
        self._facts = Facts(question(self.view))
        self._focused = (0, clock())
        """The connection that was in focus last, and since when."""

    def on_mount(self) -> None:
        """Look at once, then at every frame."""
        self.query_one(Ladder).focus()
        self._arrange()
        self._frame()

    def ledger(self, conn: int) -> Ledger:
        """The resources of a connection, up to now."""
        if self._ledger is None or self._ledger.conn != conn:
            self._ledger = Ledger(self.timeline, conn)
        self._ledger.refresh()
        return self._ledger

    def covers(self) -> str:
        """What the list of problems is of, where the timeline does not hold everything."""
        raise NotImplementedError

    def output(self) -> Sequence[str] | None:
        """The last lines that the launched command has written; None where none was launched."""
        return self.tools.output() if self.tools.output is not None else None

    def dissect(self, event: Event) -> Sequence[Layer]:
        """The layers of a packet. Raises ValueError, one sentence, also while the library for it is being loaded."""
        if self.tools.dissect is None:
            return ()
        if not self._dissecting:
            self._dissecting = True
            self.run_worker(partial(self._load, event), thread=True, group="dissect")
        if not self._dissects:
            raise ValueError("Taking it apart …")
        return self.tools.dissect(event)

    def _load(self, event: Event) -> None:
        """In another thread: the first packet takes a third of a second, since the library is imported then."""
        assert self.tools.dissect is not None
        with contextlib.suppress(ValueError):
            self.tools.dissect(event)
        self._dissects = True
        self.app.call_from_thread(self._fit)

    def _fit(self) -> None:
        self._overview_due = self._inspect_due = 0.0
        self._drawn = self._seen = ()
        self._asked = None
        self.look()

    # What changed is painted

    def look(self) -> None:
        """Take in what has come and paint what changed."""
        now = self._clock()
        if self._still():
            return
        state, mode = self._state(), self.view.player.mode
        same, self._grown = state == self._seen[:-1], state[:1] != self._seen[:1]
        self._seen = (*state, int(now / TICK_SECONDS))
        finished = self.feed.finished  # asked first: what comes before the answer is taken in below
        news = self.view.refresh(now, more=not finished)
        if news:
            self._overview_due = min(self._overview_due, self._overview_drawn + OVERVIEW_SECONDS)
        found = self._search()
        self._count(now)
        self.query_one(StepLine).follow(self.feed.play)
        self.paint(now)
        # While the view is held only counts can change as events come: seldom is enough for that.
        held = mode is Mode.HOLD and len(self.timeline) != state[0]
        if not held and (not self._calm(now) or (mode is not Mode.HOLD and not same)):
            self._busy = now
        # With nothing to come and nothing moving only a key can change anything, and every key looks.
        moving = news or found or self._behind or self.view.player.mode is not Mode.HOLD
        self._over = finished and not moving

    @property
    def _behind(self) -> bool:
        """Not everything that is known has been read and merged into rows."""
        return self.view.behind or self.query_one(Ladder).behind or self._awaited(self._clock())

    def _calm(self, now: float) -> bool:
        """Nothing that the frames themselves have to carry on."""
        busy = self.view.player.mode is Mode.PLAY
        busy |= self.finder is not None and not self.finder.complete
        waiting = self._behind or (self._asked is None and now >= self._inspect_due)
        return not busy and not waiting

    def _search(self) -> bool:
        """Look for matches a while; True while there is more to look at."""
        if self.finder is None or self.finder.complete:
            return False
        if any(self.finder.scan() for _ in range(PARTS)):
            self._drawn = ()
            self._overview_due = 0.0
        return True

    def paint(self, now: float) -> None:
        """Show the view as it is."""
        view = self.view
        self._paint_header()
        if now >= self._overview_due:
            self._paint_overview()
            took = self._clock() - now  # thousands of connections take longer, and are drawn more seldom for it
            self._overview_drawn, self._overview_due = now, now + max(IDLE_SECONDS, took * CALM_SHARE)
        if view.focus != self._focused[0]:
            self._focused = view.focus, now
        if self._awaited(now):
            return
        riding = self.live and not self.feed.finished and view.player.mode is Mode.FOLLOW
        present = self._wall() if riding else None
        marks = frozenset(view.marks)
        drawn = (view.focus, view.player.shown, view.limit, view.cursor, present and present // 500_000_000, marks)
        ladder = self.query_one(Ladder)
        if drawn != self._drawn or ladder.behind:
            self._drawn = drawn
            ladder.show(view.focus, view.limit, view.cursor, present, marks, view.track.blocks)
        if now >= self._inspect_due or view.player.mode is not Mode.FOLLOW:
            self._inspect_due = now + INSPECT_SECONDS
            self._inspect()
        self._paint_scrubber()

    def _awaited(self, now: float) -> bool:
        """The events of the connection in focus are worth waiting for: till then what was there before stays."""
        return self.view.coming and now - self._focused[1] < COMING_SECONDS

    def _count(self, now: float) -> None:
        since, written = self._counted
        if now - since >= RATE_SECONDS:
            count = self.feed.written
            self._rate = round((count - written) / (now - since))
            self._counted = (now, count)

    def _mode(self) -> str:
        view, feed = self.view, self.feed
        if not self.live:
            return "REPLAY" if feed.progress is None else f"READING {bar(feed.progress)}"
        if view.player.mode is Mode.HOLD and (not feed.finished or view.player.shown < view.player.count):
            return "PAUSED"
        if view.player.mode is Mode.PLAY:
            return "PLAYING"
        return "ENDED" if feed.finished else "LIVE"

    def _paint_header(self) -> None:
        view, feed = self.view, self.feed
        connection, mode, looked_for = view.connection, self._mode(), self._looked_for()
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
                filter=looked_for,
                probes=tuple(feed.probes),
            )
        )

    def _looked_for(self) -> str:
        """What the header says of the filter."""
        finder = self.finder
        if finder is None:
            return self.feed.filter if self.feed.filter != self._title else ""  # who is traced may be the title already
        more = "" if finder.complete else f" … {finder.scanned / max(len(self.timeline), 1):.0%}"
        return f"{finder.text} ({len(finder):,} found{more})"

    def _paint_overview(self) -> None:
        view = self.view
        stop = view.connections.last_time
        until = stop
        if view.player.shown < view.player.count and view.player.shown:
            until = self.timeline[view.track[view.player.shown - 1]].time
        elif self.live and not self.feed.finished and view.player.mode is Mode.FOLLOW and view.connections.alive:
            until = stop = max(stop, self._wall())  # an ended scene stands still
        lines = self.size.height - 4 if self.has_class("-overview") else 11 if self.size.height >= 40 else 3
        shown = Shown(view.connections, view.numbers, view.focus, until, stop, lines)
        self.query_one(Overview).show(shown)

    def _inspect(self) -> None:
        """Ask about the cursor's event; what would take long to answer is answered later, or not while it rushes by."""
        asked = question(self.view)
        if self._asked is not None and asked._replace(total=0) == self._asked._replace(total=0):
            if asked != self._asked and self._facts.asked == self._asked:  # more have come, and nothing else is new
                self._asked = asked
                self._tell(replace(self._facts, asked=asked))
            return
        cost = self._moment.cost(asked)
        news, self._inspected = asked.total - self._inspected, asked.total
        if self.view.player.mode is Mode.FOLLOW and self.view.riding and news > FLOOD:
            self._asked = None  # once it is calmer, it is asked again
            self._tell(self._moment.glance(asked))
            return
        self._asked = asked
        if cost > LONG or self._moment.busy:
            self._tell(self._moment.glance(asked))
            self.run_worker(partial(self._think, asked), thread=True, group="inspect")
        else:
            self._tell(self._moment.look(asked))

    def _think(self, asked: Question) -> None:
        """In another thread."""
        if asked == self._asked:
            facts = self._moment.look(asked, lambda: asked == self._asked)
            if asked == self._asked:
                self.app.call_from_thread(self._tell, facts)

    def _tell(self, facts: Facts) -> None:
        self._facts = facts
        self.query_one(Sentence).show(where(facts), sentence(facts))
        for row in PANES:
            pane = self.query_one(f"#{row.name}", Pane)
            if pane.display:
                pane.show(row.tell(facts, self))
        strip = self.query_one(Queues)
        if strip.display:
            strip.show(*queues(facts))

    def _paint_scrubber(self) -> None:
        view = self.view
        player, track = view.player, view.track
        start = self.timeline[track[0]].time if len(track) else 0
        span = self.timeline[track[len(track) - 1]].time - start if len(track) else 0
        at = self.timeline[view.cursor].time - start if view.cursor != NOWHERE else 0
        shown_at = self.timeline[track[player.shown - 1]].time - start if player.shown else 0
        moving = player.mode is not Mode.HOLD
        facts = ScrubberFacts(
            moving, player.speed, view.place, player.shown, player.count, at, span, view.mark_places,
            player.by_time, shown_at,
            tuple(self.timeline[track[place - 1]].time - start for place in view.mark_places),
        )  # fmt: skip
        self.query_one(Scrubber).show(facts)

    # Used by the keys

    def at_once(self) -> None:
        """A key has changed the view: show it without waiting for the next frame, once for all keys that wait."""
        self._inspect_due = 0.0
        super().at_once()

    def fresh(self) -> Facts:
        """The facts of where the cursor is now: keys may come faster than frames."""
        asked = question(self.view)
        if asked != self._facts.asked and self._moment.cost(asked) <= PATIENCE:
            self._asked = asked
            self._tell(self._moment.look(asked))
        return self._facts

    def say(self, words: str) -> None:
        """A remark in the corner for some seconds, in place of the one before; never markup, and not twice at once."""
        said, until = self._said
        if words != said or self._clock() >= until:
            self._said = words, self._clock() + REMARK_SECONDS
            self.app.clear_notifications()
            self.notify(words, timeout=REMARK_SECONDS, markup=False)
