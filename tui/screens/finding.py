"""Keys that look for something: the filter bar, matches, and what to focus on."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from tui.elsewhere import Elsewhere
from tui.feed import Partial
from tui.finder import Finder, meaning
from tui.ladder.widget import Ladder
from tui.screens.picture import Picture
from tui.watch import NOWHERE
from tui.widgets.filter_bar import FilterBar

if TYPE_CHECKING:
    from tui.screens.focus import Choice


TROUBLES: Final = {
    "analysis:retransmission": "a retransmission",
    "analysis:zero-window": "a zero window",
    "flag:rst": "a reset",
}
"""Filters that a large capture's table answers for all connections, and in words what they find."""
MOST_TRIED: Final = 100
"""Connections that `n` has read again, one after the other, before it asks whether to go on."""


class Finding(Picture):
    """The picture with the keys of filter and search."""

    hide = False
    """What does not match is hidden, not dimmed."""
    elsewhere: Elsewhere | None = None
    """Where else there may be matches; None where the timeline holds everything."""
    _floor = NOWHERE
    """While the next match is looked for in other connections: nothing up to here counts."""
    _tried = 0
    """Connections that were gone through for it."""
    _wanted = 0
    """Where the next match is to be looked for once it is found: 1 behind the cursor, -1 before it, 0 nowhere."""

    def action_find(self) -> None:
        """Open the filter bar."""
        self.query_one(FilterBar).open(self.finder.text if self.finder is not None else "")

    def takes(self, character: str) -> bool:
        """A character that was typed before the bar, which is open, has got the keys goes into it all the same."""
        bar = self.query_one(FilterBar)
        opening = bar.has_class("-on") and not bar.line.has_focus
        if opening:
            bar.line.insert_text_at_cursor(character)
        return opening

    def on_filter_bar_asked(self, message: FilterBar.Asked) -> None:
        """The user wants something looked for."""
        self._close_bar()
        self.look_for(message.text)

    def on_filter_bar_left(self) -> None:
        """The bar was left as it was opened."""
        self._close_bar()

    def _close_bar(self) -> None:
        self.query_one(FilterBar).close()
        self.query_one(Ladder).focus()

    def look_for(self, text: str) -> None:
        """Look for that from now on; for nothing where it is empty. Raises FilterError."""
        self.finder = Finder(self.timeline, text) if text.strip() else None
        part = self.feed if isinstance(self.feed, Partial) else None
        self.elsewhere = Elsewhere(part, meaning(text)) if part is not None and self.finder is not None else None
        self._wanted, self._floor = 0, NOWHERE
        self.view.among = self._among()
        self._tell_ladder()
        if self.finder is not None:
            self.finder.scan()
            focus_matches = self.view.focus in self.finder.conns or self.finder.among((max(self.view.cursor, 0),))
            if self.finder.conns and not focus_matches and len(self.timeline):
                self.view.focus_on(min(self.finder.conns))
            elif self.elsewhere is not None and not focus_matches:
                self._wanted, self._tried, self._floor = 1, 0, len(self.timeline) - 1
        self._overview_due = 0.0
        self.at_once()

    def _among(self) -> set[int] | None:
        """Connections to list while something is looked for."""
        if self.finder is None:
            return None
        return self.finder.conns if self.elsewhere is None else self.elsewhere.among(self.finder.conns)

    def _tell_ladder(self) -> None:
        self.query_one(Ladder).look_for(self.finder, self.hide)
        self._drawn = ()

    def action_hide(self) -> None:
        """Hide what does not match, or dim it again."""
        self.hide = not self.hide
        if self.finder is None:
            self.say("Nothing is looked for yet: / opens the filter.")
        else:
            self.say("rows without a match are " + ("hidden" if self.hide else "dimmed"))
        self._tell_ladder()
        self.at_once()

    def action_match(self, by: int) -> None:
        """To the next or the last match, in any connection."""
        if self.finder is None:
            self.say("Nothing is looked for yet: / opens the filter.")
            return
        self._wanted, self._tried, self._floor = by, 0, NOWHERE
        self._seek_match()
        self.at_once()

    def _seek_match(self) -> None:
        """Go to the match that is wanted, or say that there is none, as soon as that is known."""
        assert self.finder is not None
        finder, by, cursor = self.finder, self._wanted, self.view.cursor
        if by < 0 and finder.scanned < cursor and not finder.complete:
            return
        last = cursor
        if by > 0 and cursor != NOWHERE and self.view.track.row_of(cursor)[0] <= cursor:
            last = self.view.track.row_of(cursor)[1]  # a row is one match, however many of its events are
            last = max(last, cursor) if self.timeline[cursor].conn in (0, self.view.focus) else cursor
        if by < 0 and cursor != NOWHERE:
            last = min(self.view.track.row_of(cursor)[0], cursor)
        if by > 0 and self._floor != NOWHERE:
            last = self._floor
        order = finder.near(last, by)
        if order is not None:
            self._wanted = 0
            self.view.go(order)
            self._overview_due = 0.0
        elif finder.complete and not (by > 0 and self._go_elsewhere()):
            self._wanted, self._floor = 0, NOWHERE
            self.say(f"No {'later' if by > 0 else 'earlier'} match of {finder.text}.")

    def _go_elsewhere(self) -> bool:
        """On to the next connection that may have a match, once this one has come; False where there is none."""
        elsewhere, focus = self.elsewhere, self.view.focus
        if elsewhere is None:
            return False
        if focus and not elsewhere.there(focus):
            return True
        wanted = elsewhere.next(focus)
        if wanted is None:
            return False
        if self._tried >= MOST_TRIED:
            self._wanted, self._floor = 0, NOWHERE
            self.say(f"No match in {self._tried} more connections: n looks on.")
            return True
        self._tried += 1
        self._floor = len(self.timeline) - 1
        self.view.focus_on(wanted)
        self._overview_due = 0.0
        return True

    def _search(self) -> bool:
        busy = super()._search()
        if self.elsewhere is not None:
            self.elsewhere.refresh()
            self.view.among = self._among()
        if self._wanted:
            self._seek_match()
        return busy or bool(self._wanted)

    def _calm(self, now: float) -> bool:
        return super()._calm(now) and not self._wanted

    def _looked_for(self) -> str:
        told, elsewhere = super()._looked_for(), self.elsewhere
        if elsewhere is None or self.finder is None:
            return told
        return f"{self.finder.text} ({len(self.finder):,} in {elsewhere.looked_at():,}/{elsewhere.count:,} #)"

    def covers(self) -> str:
        part = self.feed
        if not isinstance(part, Partial):
            return ""
        counts = (f"{len(part.likely(text)):,} with {words} (/ {text})" for text, words in TROUBLES.items())
        total = len(part.listing)
        return f"Looked at: {len(part.visited):,} of {total:,} connections. Of all of them {', '.join(counts)}."

    def action_focus_on(self) -> None:
        """Choose a connection, a listener or a process from a list."""
        from tui.screens.focus import (  # not before it is asked for: the first paint counts
            FocusScreen,
            choices,
            searched,
        )

        listing, gate = self.view.connections, self.view.gate
        # In a lesson the list is of the moment: how it ends is what may be asked next.
        until = self.timeline[gate].time - 1 if gate is not None and gate < len(self.timeline) else None
        found = choices(self.timeline, listing, until)
        self.app.push_screen(FocusScreen(found, partial(searched, listing)), self._chosen)

    def _chosen(self, choice: Choice | None) -> None:
        if choice is None:
            return
        if choice.conn:
            self.view.focus_on(choice.conn)
            self._overview_due = 0.0
            self.at_once()
        else:
            self.look_for(choice.filter)
