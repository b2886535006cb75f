"""A million events on one ladder: how long until the first picture, and how long a viewport takes to draw.

    python bench/ladder.py [EVENTS]         default: 1,000,000

The timeline is synthetic (a connection that talks for ever: calls, segments leaving and arriving, queues), the widget
is the real one in a headless app of 160x48. Printed: filling the timeline, the first picture of the ladder at the tail
(all its rows known), then medians over random places of a whole viewport drawn anew (nothing cached), and of a page
scrolled. Beside each the same with a thousand events, which are merged into rows: the ratio says what size costs.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Final

import numpy as np
from textual.app import App, ComposeResult

from tracer.batch import Batch
from tracer.events import HEAD, NUMBER, PAYLOAD
from tracer.kinds import Evidence, Side, Source
from tracer.segments import ACK, PSH
from tracer.timeline import Timeline
from tui.ladder.widget import Ladder
from tui.themes import NAMES, themes

ROUND: Final = ("syscall:enter", "packet:sent", "packet:received", "socket:readable", "syscall:exit")
PER_BATCH: Final = 10_000
VIEWPORTS: Final = 200


def talk(events: int) -> Timeline:
    """A timeline of ``events`` events of connection 1."""
    timeline = Timeline()
    for first in range(0, events, PER_BATCH):
        timeline.append(batch(first, min(PER_BATCH, events - first)))
    return timeline


def batch(first: int, count: int) -> Batch:
    """Events first..first+count of the talk."""
    at = np.arange(first, first + count)
    numbers = np.array([NUMBER[name] for name in ROUND], np.uint16)
    heads = np.zeros(count, HEAD)
    heads["time"], heads["kind"] = 1_000_000_000 + at * 1_000, numbers[at % len(ROUND)]
    heads["conn"], heads["sock"], heads["pid"], heads["tid"] = 1, 1, 7, 7
    heads["side"], heads["source"], heads["evidence"] = Side.CLIENT, Source.KERNEL, Evidence.OBSERVED
    tables = {}
    for number in numbers.tolist():
        mine = heads["kind"] == number
        heads["row"][mine] = np.arange(mine.sum())
        tables[number] = np.zeros(int(mine.sum()), PAYLOAD[number])
        for name, values in (("call", 13), ("flags", PSH | ACK), ("length", 100), ("seq", at[mine] * 20)):
            if name in (PAYLOAD[number].names or ()):
                tables[number][name] = values
    return Batch(heads, tables)


class OnlyLadder(App[None]):
    """Nothing but the ladder."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        for theme in themes():
            self.register_theme(theme)
        self.theme = NAMES[0]
        self.ladder = Ladder(timeline)

    def compose(self) -> ComposeResult:
        yield self.ladder


def timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e3


async def measure(events: int) -> dict[str, float]:
    """All figures, in ms."""
    found = {}
    began = time.perf_counter()
    timeline = talk(events)
    found["fill the timeline"] = (time.perf_counter() - began) * 1e3
    app = OnlyLadder(timeline)
    async with app.run_test(size=(160, 48)) as pilot:
        ladder = app.ladder
        found["first picture, at the tail"] = timed(lambda: picture(ladder, len(timeline), len(timeline) - 1))
        await pilot.pause()
        anew, page = [], []
        for _ in range(VIEWPORTS):
            place = random.randrange(len(timeline))
            ladder.forget()
            anew.append(timed(lambda place=place: picture(ladder, len(timeline), place)))  # type: ignore[misc]
            page.append(timed(lambda: scroll(ladder)))
        found["a viewport drawn anew"] = statistics.median(anew)
        found["a page scrolled"] = statistics.median(page)
    return found


def picture(ladder: Ladder, limit: int, cursor: int) -> None:
    """Put the cursor somewhere and draw all lines in sight."""
    ladder.show(1, limit, cursor)
    for y in range(ladder.size.height):
        ladder.render_line(y)


def scroll(ladder: Ladder) -> None:
    """One page down, and all lines in sight."""
    ladder.scroll_to(y=ladder.scroll_offset.y + ladder.page, animate=False, immediate=True)
    for y in range(ladder.size.height):
        ladder.render_line(y)


def main() -> None:
    """Measure both sizes and print them side by side."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    large, small = asyncio.run(measure(events)), asyncio.run(measure(1_000))
    print(f"{'ms':<28}{events:>12,}{1_000:>12,}{'ratio':>9}")
    for name, value in large.items():
        print(f"{name:<28}{value:>12.2f}{small[name]:>12.2f}{value / max(small[name], 1e-9):>9.1f}")


if __name__ == "__main__":
    main()
