"""Models side by side: a column for each, in it the same plots on the same scale, so that heights may be compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from textual.widgets import Static

from scenarios.load.report import Moment
from scenarios.load.table import count, size
from tui.load_feed import LoadFeed, busy, rates, standing
from tui.plain import plain
from tui.plot import plot

Series = Callable[[Sequence[Moment]], list[float]]
PLOTS: Final[tuple[tuple[str, Series, Callable[[float], str]], ...]] = (
    ("connections", standing, count),
    ("messages/s", lambda moments: rates(moments, "messages"), count),
    ("processors", busy, lambda value: f"{value:.2f}"),
    ("memory", lambda moments: [float(moment.used.memory) for moment in moments], size),
    ("threads", lambda moments: [float(moment.used.threads) for moment in moments], count),
    ("accept queue", lambda moments: [float(moment.accept_queue) for moment in moments], count),
)
"""Name, how it is had from the moments, how its numbers are written."""
NARROWEST: Final = 22
"""Cells of a column; where there are more models than fit, the latest are shown."""
GAP: Final = 2


class LoadPlots(Static):
    """The plots; `show` draws them anew."""

    def __init__(self) -> None:
        super().__init__(id="load-plots", markup=False)

    def show(self, feed: LoadFeed, height: int) -> None:
        """As things stand; `height`: lines of one plot."""
        self.update("\n".join(drawn(feed, max(self.size.width, NARROWEST), height)))


def drawn(feed: LoadFeed, width: int, height: int) -> list[str]:
    """The plots as lines of text."""
    room = max(1, (width + GAP) // (NARROWEST + GAP))
    begun = [label for label in feed.labels if feed.moments.get(label)]
    at = begun.index(feed.now) + 1 if feed.now in begun else len(begun)
    first = max(0, min(at, len(begun)) - room)
    shown = begun[first : first + room]
    if not shown:
        return ["starting the first server ..."]
    wide = (width + GAP) // len(shown) - GAP
    lines = [_row([f"{'▶ ' if label == feed.now and not feed.over else ''}{plain(label)}" for label in shown], wide)]
    for name, series, text in PLOTS:
        values = {label: series(list(feed.moments[label])) for label in shown}
        top = max((max(each, default=0.0) for each in values.values()), default=0.0)
        heads, plots = [], []
        for label in shown:
            now, most = (values[label][-1], max(values[label])) if values[label] else (0.0, 0.0)
            heads.append(f"{name} {text(now)}" + (f" (most {text(most)})" if most > now else ""))
            plots.append(plot(values[label], wide, height, top))
        lines.append(_row(heads, wide))
        lines += [_row([each[line] for each in plots], wide) for line in range(height)]
    return lines


def _row(cells: Sequence[str], wide: int) -> str:
    return (" " * GAP).join(f"{cell[:wide]:<{wide}}" for cell in cells)
